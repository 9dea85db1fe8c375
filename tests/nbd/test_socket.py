"""A unix socket whose name somebody else has, had, or wants."""

import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidelog.errors import UsageError
from tidelog.gateways.nbd.address import Listening, UnixAddress
from tidelog.testing.readiness import wait_until


@pytest.fixture
def address(tmp_path: Path) -> UnixAddress:
    return UnixAddress(tmp_path / "nbd.sock")


@pytest.fixture
def dead(address: UnixAddress) -> UnixAddress:
    """As a killed server leaves it."""
    address.listen().socket.close()
    return address


@pytest.fixture
def full(address: UnixAddress) -> Iterator[Listening]:
    """A server that takes no client, with as many that wait as may."""
    listening, waiting = address.listen(), []
    found = 0
    while found == 0:
        waiting.append(socket.socket(socket.AF_UNIX))
        waiting[-1].setblocking(False)
        found = waiting[-1].connect_ex(str(address.path))
    assert found == errno.EAGAIN
    yield listening
    for one in waiting:
        one.close()
    listening.close()


@pytest.mark.usefixtures("full")
def test_a_server_that_stands_still(address: UnixAddress) -> None:
    """It listens, and is not waited for."""
    said: list[str] = []

    def listen() -> None:
        with pytest.raises(UsageError, match="a server listens") as refused:
            address.listen()
        said.append(str(refused.value))

    asking = threading.Thread(target=listen, daemon=True)
    asking.start()
    asking.join(60)
    assert said and address.path.is_socket()


def test_two_that_find_a_dead_socket(dead: UnixAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is let in at a time: the second one finds that the first one listens."""
    inside, goes_on, unlink = threading.Event(), threading.Event(), Path.unlink
    listening: list[Listening] = []
    refused: list[UsageError] = []

    def slow(path: Path, missing_ok: bool = False) -> None:
        if not inside.is_set():
            inside.set()
            goes_on.wait(60)
        unlink(path, missing_ok)

    def listen() -> None:
        try:
            listening.append(dead.listen())
        except UsageError as error:
            refused.append(error)

    asked, flock = list[int](), fcntl.flock

    def counted(file: int, operation: int) -> None:
        asked.append(file)
        flock(file, operation)

    monkeypatch.setattr(Path, "unlink", slow)
    monkeypatch.setattr(fcntl, "flock", counted)
    first, second = (threading.Thread(target=listen) for _ in range(2))
    first.start()
    assert inside.wait(60)
    second.start()
    assert wait_until(lambda: bool(listening) or len(asked) == 2, 60)
    goes_on.set()
    for one in (first, second):
        one.join(60)
    assert len(listening) == len(refused) == 1
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(dead.path))
    listening[0].close()
    assert not dead.path.exists()


def test_a_socket_that_may_not_be_asked(dead: UnixAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    """What speaks against it is said, and it stays."""
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EACCES)
    with pytest.raises(UsageError, match=os.strerror(errno.EACCES)):
        dead.listen()
    assert dead.path.is_socket()
