"""Who reads slowly is left to it; who does not read is cut off, over TLS, too."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.web.scenes import PATIENCE_S, config_of, eventually, scene, served
from tidelog.gateways.web import connection
from tidelog.gateways.web.connection import UNREAD_SECONDS, PatientConnection

TOKEN = "0123456789abcdef"
ANSWER_BYTES = 4_000_000


class Loop:
    """An event loop's clock, that a test moves."""

    def __init__(self) -> None:
        self.now, self.timers = 0.0, list[Any]()

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, action: Callable[..., None], *arguments: Any) -> Any:
        timer = Timer(self, self.now + seconds, lambda: action(*arguments))
        self.timers.append(timer)
        return timer

    def wait(self, seconds: float) -> None:
        """Does what is due until then."""
        ends = self.now + seconds
        while due := [timer for timer in self.timers if timer.at <= ends]:
            first = min(due, key=lambda timer: timer.at)
            self.timers.remove(first)
            self.now = first.at
            first.action()
        self.now = ends


class Timer:
    def __init__(self, loop: Loop, at: float, action: Callable[[], None]) -> None:
        self.loop, self.at, self.action = loop, at, action

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class Transport:
    """Keeps so many bytes as a test says."""

    def __init__(self) -> None:
        self.kept_bytes, self.aborted = 0, False

    def get_write_buffer_size(self) -> int:
        return self.kept_bytes

    def get_extra_info(self, _: str) -> None:
        return None

    def abort(self) -> None:
        self.aborted = True


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def transport(loop: Loop) -> Transport:
    """Of a connection that has much to read and was asked nothing more."""
    made = Transport()
    config = uvicorn.Config(lambda: None, ws="none", log_config=None)
    patient = PatientConnection(config, ServerState(), {}, _loop=loop)
    patient.connection_made(made)
    patient._head_is_here()
    made.kept_bytes = 1_000_000
    patient.pause_writing()
    return made


def test_who_reads_slowly_is_left_to_it(loop: Loop, transport: Transport) -> None:
    """Ten times as long as one may read nothing; then he stops, and is cut off."""
    for _ in range(10):
        loop.wait(0.9 * UNREAD_SECONDS)
        transport.kept_bytes -= 1
        loop.wait(0.1 * UNREAD_SECONDS)
        assert not transport.aborted
    loop.wait(1.1 * UNREAD_SECONDS)
    assert transport.aborted


def test_who_has_read_all_may_stay(loop: Loop, transport: Transport) -> None:
    """Nothing is left to be read."""
    loop.wait(0.5 * UNREAD_SECONDS)
    transport.kept_bytes = 0
    loop.wait(100 * UNREAD_SECONDS)
    assert not transport.aborted


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_an_answer_that_is_not_read(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tls: bool) -> None:
    """Larger than what the kernel keeps: it does not stay in memory, though all of it was written at once."""
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 0.5)
    cert, key = certificate
    http = {"token": TOKEN, "interval": "1m"} | ({"tls_certfile": cert, "tls_keyfile": key} if tls else {})
    with scene(config_of(http=http)) as made, served(made) as server:
        server.board.status = {"long": "x" * ANSWER_BYTES}
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(PATIENCE_S)
        deaf.connect(("127.0.0.1", server.port))
        if tls:
            deaf = ssl.create_default_context(cafile=cert).wrap_socket(deaf, server_hostname="localhost")
        deaf.sendall(
            f"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        assert deaf.recv(15) == b"HTTP/1.1 200 OK"
        eventually(lambda: not server.connections, "he is cut off")
        deaf.close()
