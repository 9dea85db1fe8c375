"""`tidelog serve nbd` as a process: its end, who may write, and what it is refused."""

import json
import os
import random
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.operating import Command, Operator
from tests.names import fresh
from tests.nbd.certificates import authority, certified
from tests.nbd.client import EPERM, ESHUTDOWN, FLUSH, GO, INFO, LIST, TLS_REQD, WRITE, Client, chosen_data
from tests.nbd.conftest import Serve
from tests.tools import tool

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_in_order(serve: Serve, number: signal.Signals, code: int) -> None:
    """What was written and never flushed by its client is in the log, the socket is gone, and the next one starts at
    once, since the session was closed."""
    server = serve().ready()
    with server.opened() as client:
        client.write(0, b"not flushed")
        assert server.end(number) == code
        assert client.left()
    assert "stopped" in server.said and not server.path.exists()
    assert server.command.out == b""
    with serve().ready().opened() as client:
        assert client.read(0, 11) == b"not flushed"


def test_a_second_one_is_refused_and_says_by_whom(serve: Serve) -> None:
    """While the writer is alive: exit code 13 and its process. With --take-over it goes ahead: the first one's client
    is told, and the first one ends with 13, naming the process that took over."""
    first = serve(name="first").ready()
    with first.opened() as client:
        client.write(0, b"flushed")
        client.flush()
        second = serve(name="first")  # also where the socket is the same
        assert second.ends() == 13
        assert f":{first.pid})" in second.said and "--take-over" in second.said, second.said
        third = serve("--take-over", name="third").ready()
        assert client.call(WRITE, 0, 7, b"refused").error in (0, ESHUTDOWN)
        assert client.call(FLUSH).error == ESHUTDOWN
        assert first.ends() == 13
        assert re.search(rf"fenced by \S+:{third.pid}\b", first.said), first.said
        with third.opened() as other:
            assert other.read(0, 7) == b"flushed"


def test_a_promotion_ends_it(operator: Operator, serve: Serve, bank_of_its_own: str) -> None:
    """The group has another primary: what was flushed is there, where the next one is started."""
    server = serve().ready()
    with server.opened() as client:
        client.write(0, b"before")
        client.flush()
        operator.ok("site", "promote", "osaka", "-g", bank_of_its_own)
        assert server.ends() == 13
    there = serve(name="there").ready()
    assert "at osaka" in there.said
    with there.opened() as client:
        assert client.read(0, 6) == b"before"
        client.write(0, b"behind", flags=1)
        assert client.read(0, 6) == b"behind"


def test_at_another_site_there_is_no_session(operator: Operator, serve: Serve, bank_of_its_own: str) -> None:
    """Two servers of one group side by side: live volumes at the primary, its copies at both."""
    tokyo, osaka = serve().ready(), serve("--site", "osaka", name="osaka").ready()
    with tokyo.opened() as client:
        client.write(4096, b"here")
        client.flush()
    noon = fresh("noon")
    operator.ok("pitc", "create", noon, "-g", bank_of_its_own, "--in", "200ms", "--wait")
    for server in (tokyo, osaka):
        with server.opened(f"ledger@{noon}") as client:
            assert client.read(4096, 4) == b"here"
    with Client(osaka.uri("ledger")) as client, pytest.raises(LookupError):
        client.go()
    assert (tokyo.end(), osaka.end()) == (0, 0)


def test_read_only(operator: Operator, serve: Serve, bank_of_its_own: str) -> None:
    """At the primary, beside its writer: clones are not to be written to, and there is no live volume."""
    writer = serve(name="writer").ready()
    noon = fresh("noon")
    operator.ok("pitc", "create", noon, "-g", bank_of_its_own, "--in", "200ms", "--wait")
    operator.ok("pitc", "clone", noon, "drill", "-g", bank_of_its_own, "--site", "tokyo")
    server = serve("--read-only", name="read-only").ready()
    with server.opened("ledger@clone:drill") as client:
        assert client.call(WRITE, 0, 1, b"x").error == EPERM
        assert client.read(0, 1) == b"\0"
    with Client(server.uri("ledger")) as client, pytest.raises(LookupError):
        client.go()
    said = subprocess.check_output([tool("nbdinfo"), "--json", "--list", server.uri("")], timeout=60)
    told = {one["export-name"]: one["is_read_only"] for one in json.loads(said)["exports"]}
    assert told == {f"ledger@{noon}": True, "ledger@clone:drill": True}
    with writer.opened() as client:
        client.write(0, b"x", flags=1)
    assert (server.end(), writer.end()) == (0, 0)


@contextmanager
def foreground(operator: Operator, *options: str, says: str, env: dict[str, str] | None = None) -> Iterator[Command]:
    """A server that is ended by SIGTERM, as it must be."""
    server = Command(operator.line("serve", "nbd", *options), env=env)
    try:
        server.reaches(lambda: says in server.err.decode(), says)
        yield server
        server.popen.send_signal(signal.SIGTERM)
        assert server.popen.wait(60) == 0
    finally:
        server.kill()


def test_on_a_port_of_this_machine(operator: Operator, bank_of_its_own: str) -> None:
    """``--address 127.0.0.1:0`` takes any, and says which."""
    options = ("-g", bank_of_its_own, "--address", "127.0.0.1:0")
    with foreground(operator, *options, says="nbd://127.0.0.1:") as server:
        (uri,) = re.findall(r"nbd://127\.0\.0\.1:\d+/", server.err.decode())
        assert subprocess.check_output([tool("nbdinfo"), "--size", uri + "ledger"], timeout=60) == b"16777216\n"
        with Client(uri + "ledger").go() as client:
            client.write(1, b"x", flags=1)


def test_beyond_this_machine_over_tls(operator: Operator, bank_of_its_own: str, tmp_path: Path) -> None:
    """By ``--tls-certificates``: who has one of the same authority writes and reads, who comes without TLS is told
    nothing."""
    issuer, data = authority(tmp_path / "authority"), random.Random(1).randbytes(100_000)
    theirs, ours = (certified(issuer, tmp_path / who, who) for who in ("server", "client"))
    source, back = tmp_path / "source.img", tmp_path / "back.img"
    source.write_bytes(data)
    options = ("-g", bank_of_its_own, "--address", "0.0.0.0:0", "--tls-certificates", str(theirs))
    with foreground(operator, *options, says="nbds://0.0.0.0:") as server:
        (port,) = re.findall(r"nbds://0\.0\.0\.0:(\d+)/", server.err.decode())
        uri = f"nbds://localhost:{port}/ledger?tls-certificates={ours}"
        said = subprocess.check_output([tool("nbdinfo"), uri], timeout=60)
        assert b"with TLS" in said and b"export-size: 16777216" in said, said
        for pair in ((source, uri), (uri, back)):
            subprocess.check_call([tool("nbdcopy"), "--flush", *map(str, pair)], timeout=60)
        assert back.read_bytes()[: len(data)] == data
        with Client(f"nbd://127.0.0.1:{port}/ledger") as stranger:
            for option, wanted in ((LIST, b""), (INFO, chosen_data("ledger")), (GO, chosen_data("ledger"))):
                ((kind, _),) = stranger.option(option, wanted)
                assert kind == TLS_REQD


def test_the_default_socket(operator: Operator, bank_of_its_own: str, tmp_path: Path) -> None:
    """Without --socket and --address: in the user's own folder; where it is, is said."""
    path = tmp_path / "tidelog" / f"{bank_of_its_own}-tokyo.nbd"
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    with foreground(operator, "-g", bank_of_its_own, "--read-only", says=str(path), env=environment) as server:
        assert path.is_socket()
        assert b"volumes, copies" not in server.err
    assert not path.exists()
