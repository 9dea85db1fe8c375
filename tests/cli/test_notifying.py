"""What a service manager hears of `tidelog site run`: by a socket as systemd's, from a real worker process."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.operating import Command, Operator
from tidelog.gateways.cli.notifying import WorkerNotices, notify


@pytest.fixture(params=["path", "abstract"])
def supervisor(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Its socket, and the value of NOTIFY_SOCKET."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@tidelog-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name.replace("@", "\0"))
        bound.settimeout(60)
        yield bound, name


def test_lines_are_sent_to_the_socket_that_is_named(supervisor: tuple[socket.socket, str]) -> None:
    """And to nothing else: without one, with one that is gone, or another kind of address, nothing happens."""
    bound, name = supervisor
    assert notify("READY=1", "STATUS=well", environ={"NOTIFY_SOCKET": name})
    assert bound.recv(1000) == b"READY=1\nSTATUS=well"
    for nobody in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/nowhere/socket"}):
        assert not notify("READY=1", environ=nobody)


class Told:
    """What stands in for a worker: its rounds and why the last one was not through."""

    turns, unreachable = 0, None


def test_ready_is_said_once_and_alive_only_while_rounds_go_on() -> None:
    """A Kafka that is away makes nothing ready, and is no reason to be killed."""
    worker, sent = Told(), []
    send: Callable[..., bool] = lambda *lines: bool(sent.append(lines))  # noqa: E731
    notices = WorkerNotices(worker, send)  # type: ignore[arg-type]
    notices.look()
    assert sent == []
    worker.turns, worker.unreachable = 1, Exception("away")
    notices.look()
    notices.look()
    assert sent == [("WATCHDOG=1",)]
    worker.turns, worker.unreachable = 2, None
    notices.look()
    worker.turns = 3
    notices.look()
    notices.look()
    assert sent[1:] == [("READY=1", "WATCHDOG=1"), ("WATCHDOG=1",)]


@pytest.mark.servers
def test_a_worker_of_a_real_site_tells_its_supervisor(operator: Operator, tmp_path: Path) -> None:
    """Ready once Kafka has answered; its state; and that it stops on purpose."""
    path = tmp_path / "supervisor"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(path))
        bound.settimeout(60)
        assert operator("group", "create", "bank").returncode == 0
        worker = Command(operator.line("site", "run", "osaka"), env=os.environ | {"NOTIFY_SOCKET": str(path)})
        try:
            heard: list[str] = []
            while not (any("READY=1" in one for one in heard) and any("STREAMING" in one for one in heard)):
                heard.append(bound.recv(10_000).decode())
            assert heard[0].startswith("STATUS=worker of site osaka starts")
        finally:
            worker.popen.send_signal(signal.SIGTERM)
        while "STOPPING=1" not in heard[-1]:
            heard.append(bound.recv(10_000).decode())
        assert worker.popen.wait(60) == 0
