"""How long a group is without somebody: until its writer flushes at a new primary, and until another worker has taken a
killed one's place."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import tidelog
from benchmarks import ours
from benchmarks.arithmetic import Row, at_most, bounded
from benchmarks.child import Child, tell
from benchmarks.limits import SILENCE
from benchmarks.servers import PRIMARY, SECONDARY, Bench, Servers
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.errors import Fenced, NotFound
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.stack import stack_toml

# Where it is set, each start of the command compiles all of tidelog anew, which an installed one does not.
INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_WITHIN = 2.0  # seconds
_BLOCK = b"x" * 4096
_TRIES = 6
RATE = 50  # writes a second


def promote(bench: Bench) -> list[Row]:
    """From the start of the command, Python's own start-up included, to the return of the first flush of an application
    that opens its group again as soon as it is told to; to and fro between two sites. With a writer that leaves these
    two cores room, and with one that leaves none: broker, workers, writer and command share them."""
    return [
        _promoted(bench, RATE, f"one writer that flushes each of {RATE} writes/s"),
        _promoted(bench, 0, "one writer that flushes each write, as fast as it can"),
    ]


def _promoted(bench: Bench, rate: int, load: str) -> Row:
    group = bench.new_group()
    bench.empty_redis()
    took: list[float] = []
    without: list[float] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as children:
        command = _command(bench.servers, Path(folder))
        workers = [Child(ours.serve, bench.servers, group, site) for site in (PRIMARY, SECONDARY)]
        writer = Child(write_on, bench.servers, group, rate)
        for child in (*workers, writer):
            children.enter_context(child)
        assert writer.hear()[0] == PRIMARY
        for worker in workers:
            worker.hear()
        for turn in range(bench.pairs + 1):
            site = (SECONDARY, PRIMARY)[turn % 2]
            time.sleep(0.5)  # under load for a while
            begun = time.monotonic()
            promote = [*command, "site", "promote", site, "--group", group]
            subprocess.run(promote, check=True, env=INSTALLED, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            where, at, last = writer.hear()
            assert where == site
            if turn:
                took.append(at - begun)
                without.append(at - last)
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    note = f"{load}; between two flushes of it {1000 * median(without):.0f} ms"
    name = "promote, command to first flush at the new primary" + ("" if rate else ", no core free")
    return bounded(name, "s", took, _WITHIN, at_most(1), note)


def write_on(servers: Servers, group: str, rate: int) -> None:
    """In a child, until it is killed: writes and flushes, ``rate`` times a second (0: without a pause), and opens
    the group again when it is fenced. Tells of each opening the site, and when the first flush of it and the last one
    before it returned (monotonic)."""
    last = time.monotonic()
    while True:
        opened = tidelog.open_group(group, servers.config())
        volume = opened.create_volume(ours.VOLUME, 1 << 20)
        try:
            volume.write(0, _BLOCK)
            opened.flush()
            tell((opened.read_side.site, time.monotonic(), last))
            while True:
                volume.write(0, _BLOCK)
                opened.flush()
                last = time.monotonic()
                if rate:
                    time.sleep(1 / rate)
        except Fenced:
            opened.abandon()


def failover(bench: Bench) -> list[Row]:
    """From the SIGKILL of the worker that serves a group to the first event that another worker of the site has
    applied, beside what Kafka takes to notice at least: the session timeout, at its default."""
    group = bench.new_group()
    bench.empty_redis()
    config = bench.servers.config()
    timeout = config.worker.session_timeout
    with (
        tempfile.TemporaryDirectory() as folder,
        ExitStack() as processes,
        tidelog.open_group(group, config) as opened,
    ):
        command = _command(bench.servers, Path(folder))

        def start() -> "subprocess.Popen[bytes]":
            launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
            worker = subprocess.Popen([*launcher, *command, "site", "run", SECONDARY], stderr=subprocess.DEVNULL)
            processes.callback(worker.wait)
            processes.callback(worker.kill)
            return worker

        workers = [start(), start()]
        volume = opened.create_volume(ours.VOLUME, 1 << 20)
        took: list[float] = []
        for _ in range(_TRIES):
            volume.write(0, _BLOCK)
            opened.flush()
            _applied(bench.servers, group, opened.session.confirmed.sequence)
            time.sleep(2 * config.worker.heartbeat_interval)  # both are members, and have said so
            owner = _owner(bench.servers, group, workers)
            owner.kill()
            begun = time.monotonic()
            volume.write(0, _BLOCK)
            opened.flush()
            lasted = _applied(bench.servers, group, opened.session.confirmed.sequence) - begun
            # Kafka notices no sooner than this after the last heartbeat: else the group had moved before the kill.
            if lasted > timeout - 2 * config.worker.heartbeat_interval:
                took.append(lasted)
            if len(took) == min(bench.pairs, 3):
                break
            workers.remove(owner)
            workers.append(start())
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    note = f"Kafka's session timeout of {timeout:g} s is part of both"
    return [bounded("failover, worker killed to first event applied", "s", took, timeout + _WITHIN, at_most(1), note)]


def _applied(servers: Servers, group: str, sequence: int) -> float:
    """When (monotonic) the secondary had applied that much."""
    deployment = RealDeployment(servers.config())
    deadline = time.monotonic() + SILENCE
    try:
        while time.monotonic() < deadline:
            try:
                store = open_store(deployment, SECONDARY, group)
            except NotFound:
                time.sleep(0.05)
                continue
            try:
                while time.monotonic() < deadline:
                    if store.position().head.sequence >= sequence:
                        return time.monotonic()
                    time.sleep(0.005)
            finally:
                store.close()
    finally:
        deployment.close()
    raise TimeoutError(f"no worker of {SECONDARY} came to sequence {sequence}")


def _owner(servers: Servers, group: str, workers: "list[subprocess.Popen[bytes]]") -> "subprocess.Popen[bytes]":
    """The worker that serves the group, by what it reports."""
    deployment = RealDeployment(servers.config())
    try:
        status = deployment.cluster.control.snapshot()[status_key(group, SECONDARY)]
    finally:
        deployment.close()
    assert isinstance(status, SiteStatus)
    return next(worker for worker in workers if status.worker.endswith(f":{worker.pid}"))


def _command(servers: Servers, folder: Path) -> list[str]:
    """`tidelog`, for these servers."""
    config = folder / "tidelog.toml"
    config.write_text(stack_toml(servers.kafka, servers.redis_urls))
    return [sys.executable, "-m", "tidelog", "-c", str(config)]
