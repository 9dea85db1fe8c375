"""The local stack by hand, `python infra/stack.py up|down|status`: a Kafka, and a Redis each for tokyo, osaka, london.

Local processes on fixed ports that outlive the command; data, logs, process numbers and a ready `tidelog.toml` are in
`.cache/stack/`. Data stay over `down`. Settings by environment:

    STACK_KAFKA_PORT    9092, and the next one for the controller
    STACK_REDIS_PORT    6381, and the next ones for the other sites
    STACK_DIR           .cache/stack in the repository

An endpoint in the environment wins over a server of our own: `TIDELOG_KAFKA__BOOTSTRAP_SERVERS` and
`TIDELOG_SITES__<SITE>__REDIS__URL`. Exit codes: 0 all is as asked, 1 it is not, 2 wrong usage, 130 interrupted.
"""

import contextlib
import fcntl
import json
import os
import select
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypedDict

from tidelog.termination import interrupt_on_sigterm
from tidelog.testing.existing import ExistingKafka, ExistingRedis, ExistingServer
from tidelog.testing.identity import process_identity
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.servers import ServerError
from tidelog.testing.stack import SITES, given_kafka, given_redis, stack_toml

KAFKA_PORT = int(os.environ.get("STACK_KAFKA_PORT", "9092"))
REDIS_PORT = int(os.environ.get("STACK_REDIS_PORT", "6381"))
FOLDER = Path(os.environ.get("STACK_DIR") or Path(__file__).parents[1] / ".cache" / "stack").absolute()
RECORDS = FOLDER / "servers.json"
CONFIG = FOLDER / "tidelog.toml"
MADE = FOLDER / "tidelog.toml.made"  # as this command wrote it, to tell one that was edited
TIDELOG = Path(sys.executable).with_name("tidelog")
NEXT = """\
next:
  export TIDELOG_CONFIG={config}
  {tidelog} group create bank
  for site in {sites}; do {tidelog} site run $site & done
  {tidelog} volume create notes --group bank --size 1MiB
  echo hello | {tidelog} volume write notes --group bank
  {tidelog} pitc create first --group bank --wait && {tidelog} pitc list --group bank
Python code finds the configuration by TIDELOG_CONFIG too: tidelog.open_group("bank")"""
STOP_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0

OwnServer = KafkaServer | RedisServer


class Record(TypedDict):
    """A process that `up` started: its identity, since numbers are used again, and where it answers."""

    pid: int
    identity: str
    address: str


def main(arguments: list[str]) -> int:
    """Runs one command; returns its exit code."""
    commands = {"up": up, "down": down, "status": status}
    if len(arguments) != 1 or arguments[0] not in commands:
        print("usage: python infra/stack.py up|down|status", file=sys.stderr)
        return 2
    try:
        with interrupt_on_sigterm(), _only_one_command():
            return commands[arguments[0]]()
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def up() -> int:
    """Starts what does not run yet, all at once; on failure everything that this call started is ended."""
    for given in _given_servers().values():
        given.start()
    records = _living(_read_records())
    missing = {name: server for name, server in _own_servers().items() if name not in records}
    for server in missing.values():
        server.require_ports()
    with ExitStack() as exit_stack:
        for name, server in missing.items():
            exit_stack.callback(_forget, name)
            exit_stack.callback(server.close)
            server.launch()
            # Before it answers: if this command is killed now, `down` still finds the process.
            records[name] = _record(server)
            _write_records(records)
        for server in missing.values():
            server.wait_ready()
        exit_stack.pop_all()
        for server in missing.values():
            server.release()
    kept = _edited()
    if not kept:
        for file in (CONFIG, MADE):
            file.write_text(stack_toml(_bootstrap_servers(), _redis_urls()))
    print("the stack is up" if missing else "the stack is already up")
    _print_servers(records)
    print(f"  configuration: {CONFIG}{' (edited, and kept as it is)' if kept else ''}")
    names = {"config": CONFIG, "tidelog": TIDELOG}
    print(NEXT.format(sites=" ".join(SITES), **{name: shlex.quote(str(path)) for name, path in names.items()}))
    return 0


def down() -> int:
    """Ends exactly the processes that `up` started."""
    records = _living(_read_records())
    for name in sorted(records, reverse=True):  # sites first, so that their last lines are not about a lost Kafka
        _end(name, records[name])
        _forget(name)
    kept = _edited()
    if not kept:
        CONFIG.unlink(missing_ok=True)
        MADE.unlink(missing_ok=True)
    print("the stack is down" if records else "the stack was not up")
    if kept:
        print(f"its configuration was edited, and is kept: {CONFIG}")
    workers = _workers()
    if workers:
        print(f"workers of it still run, and wait for it; they end with: kill {' '.join(map(str, workers))}")
    return 0


def _edited() -> bool:
    """Whether somebody has changed the configuration since `up` wrote it."""
    return CONFIG.exists() and (not MADE.exists() or CONFIG.read_text() != MADE.read_text())


def status() -> int:
    """Prints what runs; 0 if that is the whole stack."""
    records = _living(_read_records())
    _print_servers(records)
    return 0 if set(_own_servers()) <= set(records) else 1


def _own_servers() -> dict[str, OwnServer]:
    """Those that no endpoint is given for."""
    servers: dict[str, OwnServer] = {}
    given = _given_servers()
    if "kafka" not in given:
        servers["kafka"] = KafkaServer(
            port=KAFKA_PORT,
            controller_port=KAFKA_PORT + 1,
            data_dir=FOLDER / "kafka" / "data",
            runtime_dir=FOLDER / "kafka",
            outlives_parent=True,
        )
    for index, site in enumerate(SITES):
        if site not in given:
            servers[site] = RedisServer(
                name=f"redis-{site}",
                port=REDIS_PORT + index,
                appendonly="everysec",
                data_dir=FOLDER / site / "data",
                runtime_dir=FOLDER / site,
                outlives_parent=True,
            )
    return servers


def _given_servers() -> dict[str, ExistingServer]:
    servers: dict[str, ExistingServer] = {}
    kafka = given_kafka()
    if kafka:
        servers["kafka"] = ExistingKafka(kafka)
    for site in SITES:
        url = given_redis(site)
        if url:
            servers[site] = ExistingRedis(url)
    return servers


def _bootstrap_servers() -> str:
    return given_kafka() or f"127.0.0.1:{KAFKA_PORT}"


def _redis_urls() -> dict[str, str]:
    return {site: given_redis(site) or f"redis://127.0.0.1:{REDIS_PORT + i}/0" for i, site in enumerate(SITES)}


def _print_servers(records: dict[str, Record]) -> None:
    given = _given_servers()
    for name in ("kafka", *SITES):
        if name in given:
            state = f"{given[name].description}, given by the environment"
        elif name in records:
            state = f"{records[name]['address']}, pid {records[name]['pid']}"
        else:
            state = "does not run"
        print(f"  {name:<8}{state}")


def _workers() -> list[int]:
    """The processes of this user that run a site's worker with the stack's configuration."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or another user's
            command = process.joinpath("cmdline").read_bytes()
            said = (command + process.joinpath("environ").read_bytes()).split(b"\0")
            if b"\0site\0run\0" in command and {os.fsencode(CONFIG), b"TIDELOG_CONFIG=" + os.fsencode(CONFIG)} & {
                *said
            }:
                found.append(int(process.name))
    return sorted(found)


def _record(server: OwnServer) -> Record:
    pid = server.pid
    identity = process_identity(pid) if pid is not None else None
    if pid is None or identity is None:
        server.wait_ready()  # it has ended already; this says why
        raise ServerError(f"{server.name} ended while starting")
    address = server.bootstrap_servers if isinstance(server, KafkaServer) else server.url
    return {"pid": pid, "identity": identity, "address": address}


def _end(name: str, record: Record) -> None:
    """SIGTERM, then SIGKILL after a bound; by a handle on the process, so that a number used again is not signalled."""
    try:
        handle = os.pidfd_open(record["pid"])
    except ProcessLookupError:
        return
    try:
        if process_identity(record["pid"]) != record["identity"]:
            return
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            signal.pidfd_send_signal(handle, signal.SIGCONT)
            if not gone.poll(STOP_TIMEOUT_S * 1000):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                if not gone.poll(KILL_TIMEOUT_S * 1000):
                    raise ServerError(f"{name} (pid {record['pid']}) does not end")
    finally:
        os.close(handle)


def _living(records: dict[str, Record]) -> dict[str, Record]:
    return {name: record for name, record in records.items() if process_identity(record["pid"]) == record["identity"]}


def _read_records() -> dict[str, Record]:
    if not RECORDS.exists():
        return {}
    records: dict[str, Record] = json.loads(RECORDS.read_text())
    return records


def _write_records(records: dict[str, Record]) -> None:
    new = RECORDS.with_suffix(".new")
    new.write_text(json.dumps(records, indent=2) + "\n")
    new.rename(RECORDS)


def _forget(name: str) -> None:
    _write_records({other: record for other, record in _read_records().items() if other != name})


@contextmanager
def _only_one_command() -> Iterator[None]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError("another stack command runs at this moment; wait for it to end") from None
        yield


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
