"""`tidelog serve nbd` as a process: its end, who may write, and what it is refused."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.operating import Command, Operator
from tests.names import fresh
from tests.nbd.client import ESHUTDOWN, FLUSH, WRITE, Client
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


def test_the_default_socket(operator: Operator, bank_of_its_own: str, tmp_path: Path) -> None:
    """Without --socket and --address: in the user's own folder; where it is, is said."""
    path = tmp_path / "tidelog" / f"{bank_of_its_own}-tokyo.nbd"
    environment = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    with foreground(operator, "-g", bank_of_its_own, "--read-only", says=str(path), env=environment) as server:
        assert path.is_socket()
        assert b"volumes, copies" not in server.err
    assert not path.exists()
