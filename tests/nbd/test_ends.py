"""Clients that leave in part, and what breaks in the middle of a command: who is there yet is answered, nothing is held
for who is not, and a connection comes to its end."""

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.nbd.client import ACK, EIO, FLUSH, OPTION_MAGIC, READ, STARTTLS, STRUCTURED, WRITE, Client
from tests.nbd.conftest import Bank
from tests.nbd.test_tls import context, keys  # noqa: F401 (a fixture)
from tidelog.errors import LogUnavailable
from tidelog.gateways.nbd import security
from tidelog.gateways.nbd.channel import AT_ONCE_BYTES_MAX, READ_AHEAD
from tidelog.gateways.nbd.exports import LiveExport
from tidelog.gateways.nbd.intake import COMMANDS_MAX
from tidelog.producers.session import WriterSession
from tidelog.producers.volume import Volume
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.readiness import wait_until

PAYLOAD = 32 << 20


def request(command: int, cookie: int, offset: int, length: int) -> bytes:
    """The head of a command, as it goes over the wire."""
    return struct.pack(">IHHQQI", 0x25609513, 0, command, cookie, offset, length)


def test_a_session_that_ends_inside_a_flush(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """After it was found to be well, and before the flush began: the client is told, and the server ends soon."""
    began = WriterSession._begin_flush

    def fails(session: WriterSession) -> int:
        if threading.current_thread().name == "tidelog-nbd":
            monkeypatch.setattr(WriterSession, "_begin_flush", began)
            session._confirmations.fail(LogUnavailable("just now"))
        return began(session)

    monkeypatch.setattr(WriterSession, "_begin_flush", fails)
    with bank.opened() as client:
        client.write(0, b"x")
        assert [client.call(FLUSH).error for _ in range(3)] == [EIO] * 3


def test_nobody_hears_what_the_server_says(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that fails unforeseen is answered all the same, and the client goes on."""

    def say(text: str) -> None:
        raise BrokenPipeError(text)

    def write(*_: object) -> None:
        raise ZeroDivisionError

    with RunningNbd(bank.running.deployment, "bank", "tokyo", bank.group, say=say) as server:
        with Client(server.uri("ledger")).go() as client:
            with monkeypatch.context() as broken:
                broken.setattr(Volume, "write", write)
                assert client.call(WRITE, 0, 1, b"x").error == EIO
            assert client.call(WRITE, 0, 1, b"x").error == 0
            assert client.read(0, 1) == b"x"
        assert wait_until(lambda: server.in_flight == 0, 60)


def test_what_is_sent_behind_the_end_is_not_kept(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server ends while a write is half there and a read takes long: no more of the write is taken in."""
    bank.group.create_volume("large", "64MiB")
    go, read = threading.Event(), Volume.read

    def waits(volume: Volume, offset: int, length: int) -> bytes:
        go.wait(60)
        return read(volume, offset, length)

    monkeypatch.setattr(Volume, "read", waits)
    server, client = bank.server, bank.opened("large")
    try:
        client.request(READ, 0, 4096)
        client.socket.sendall(request(WRITE, 9, 0, PAYLOAD) + b"x" * 1000)
        assert wait_until(lambda: server.in_flight > PAYLOAD, 60)
        (connection,) = server._server._connections
        server._loop.call_soon_threadsafe(server._server.stop)
        assert wait_until(lambda: server.in_flight < PAYLOAD, 60)
        client.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.socket.sendall(b"y" * PAYLOAD)
        assert connection._channel.untaken <= 2 * READ_AHEAD
    finally:
        go.set()
    client.socket.settimeout(60)
    assert client.answer().error == 0
    client.socket.close()


def test_who_sends_no_more_is_answered(bank: Bank) -> None:
    """In full, though the kernel takes only a part of it at once."""
    with bank.opened() as client:
        client.request(READ, 0, AT_ONCE_BYTES_MAX - 100)
        client.socket.shutdown(socket.SHUT_WR)
        (connection,) = bank.server._server._connections
        assert wait_until(lambda: bank.server.in_flight == 0 and bool(connection._channel._unsent), 60)
        time.sleep(0.2)  # it would have left by now
        assert len(client.answer().data) >= AT_ONCE_BYTES_MAX - 100
        assert client.left()


def test_a_write_that_cannot_come_whole_does_not_wait_for_room(bank: Bank) -> None:
    """Nor does it stand in the way of who does: whoever has the room keeps it for as long as it moves."""
    bank.group.create_volume("large", "64MiB")
    with RunningNbd(bank.running.deployment, "bank", "tokyo", bank.group, total_bytes=PAYLOAD) as server:
        with Client(server.uri("large")).go() as hog:
            hog.request(WRITE, 0, PAYLOAD)
            assert wait_until(lambda: server.in_flight == PAYLOAD, 60)
            total = server._server._means[0].total
            with Client(server.uri("large")).go() as gone:
                gone.request(WRITE, 0, PAYLOAD)
                assert wait_until(lambda: total.waiting == 1, 60)
            assert wait_until(lambda: total.waiting == 0 and len(server._server._connections) == 1, 60)
        assert wait_until(lambda: server.in_flight == 0, 60)


def test_much_that_comes_with_the_end_of_the_handshake(bank: Bank, keys: Path) -> None:  # noqa: F811
    """More than is read ahead, decrypted before anybody asks for it: all of it is answered."""
    options = 20_000
    tls = security.certified(keys / "server")
    with RunningNbd(bank.running.deployment, "bank", "tokyo", bank.group, tls=tls) as server:
        client = Client(server.uri("ledger"))
        assert client.option(STARTTLS) == [(ACK, b"")]
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        encrypted = context(keys).wrap_bio(coming, going, server_hostname="localhost")
        while True:
            try:
                encrypted.do_handshake()
                break
            except ssl.SSLWantReadError:
                client.socket.sendall(going.read())
                coming.write(client.socket.recv(1 << 16))
        encrypted.write((OPTION_MAGIC + struct.pack(">II", STRUCTURED, 0)) * options)
        held = threading.Event()
        server._loop.call_soon_threadsafe(held.wait, 60)  # so that all of it lies there when the loop looks
        sending = threading.Thread(target=client.socket.sendall, args=(going.read(),), daemon=True)
        sending.start()
        time.sleep(0.2)
        held.set()
        answered = 0
        while answered < 20 * options:
            try:
                answered += len(encrypted.read(1 << 16))
            except ssl.SSLWantReadError:
                part = client.socket.recv(1 << 16)
                assert part, f"it has left behind {answered} bytes"
                coming.write(part)
        sending.join()
        client.socket.close()


def test_a_lump_of_commands_does_not_hold_the_loop(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others have their turn behind so many."""
    turns, turn, write = Counter[int](), [0], LiveExport.write_at_once
    loop, ended = bank.server._loop, threading.Event()

    def counted(export: LiveExport, offset: int, data: bytes) -> bool:
        turns[turn[0]] += 1
        return write(export, offset, data)

    async def count() -> None:
        while not ended.is_set():
            turn[0] += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(LiveExport, "write_at_once", counted)
    with bank.opened() as client:
        counting = asyncio.run_coroutine_threadsafe(count(), loop)
        held = threading.Event()
        loop.call_soon_threadsafe(held.wait, 60)
        lump = b"".join(request(WRITE, number, 0, 1) + b"x" for number in range(2000))
        client.socket.sendall(lump)
        held.set()
        assert len(client.receive(2000 * 16)) == 2000 * 16
        ended.set()
        counting.result(60)
    assert max(turns.values()) == COMMANDS_MAX and turns.total() >= 2000
