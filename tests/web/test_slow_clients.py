"""Clients that are slow, too many, or send nonsense cost the others nothing."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.web.scenes import PATIENCE_S, Client, config_of, eventually, scene, served
from tidelog.gateways.web import connection, login
from tidelog.gateways.web.server import HttpServer

CLIENTS_MAX = 3


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connection, "UNREAD_SECONDS", 1.0)
    monkeypatch.setattr(login, "BODY_SECONDS", 1.0)
    with scene(config_of(http={"token": "0123456789abcdef", "interval": "100ms"})) as made:
        for number in range(12):
            made.deployment.cluster.create_group(f"group-{number}-{'x' * 40}")
        with served(made, clients_max=CLIENTS_MAX) as server:
            yield server


@pytest.fixture
def client(server: HttpServer) -> Client:
    return Client(server)


SHOWN = {"authorization": "Bearer 0123456789abcdef"}


def raw(server: HttpServer, sent: bytes = b"") -> socket.socket:
    """A connection that has sent that."""
    made = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)
    made.sendall(sent)
    return made


def rest(connected: socket.socket) -> bytes:
    """All that comes until the server closes; a reset is an end, too."""
    found = b""
    try:
        while part := connected.recv(65536):
            found += part
    except ConnectionResetError:
        return found
    finally:
        connected.close()
    return found


def test_half_a_head_is_not_waited_for_long_and_stops_nobody(server: HttpServer, client: Client) -> None:
    """Fifty that send a byte now and then: others are answered meanwhile, and each of the fifty is cut off."""
    slow = [raw(server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-") for _ in range(50)]
    for _ in range(10):
        for one in slow:
            with suppress(OSError):  # it may be cut off already
                one.sendall(b"a")
        assert client.status("/api/v1/status", **SHOWN) == 200
    for one in slow:
        assert rest(one) == b""


def test_a_second_head_on_a_connection_that_is_kept(server: HttpServer) -> None:
    """The same limit holds for it."""
    kept = raw(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in kept.recv(65536)
    kept.sendall(b"GET /heal")
    assert b"200 OK" not in rest(kept)


def test_a_form_that_never_ends(server: HttpServer) -> None:
    """408, and the end of the connection."""
    slow = raw(server, b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken=")
    assert rest(slow).startswith(b"HTTP/1.1 408")


def test_who_does_not_read_is_cut_off(server: HttpServer, client: Client) -> None:
    """Nothing is kept for him beyond what the sockets hold; another page goes on, and his place is free again."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", server.port))
    deaf.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n")
    eventually(lambda: server.events.clients == 1, "he is there")
    stream = client.stream(**SHOWN)
    times = [stream.until(lambda look: look["look"]["answers"])["look"]["time"]]
    eventually(lambda: times.append(stream.event()[1][:200]) or server.events.clients == 1, "he is gone")
    assert len(set(times)) > 3
    stream.close()
    eventually(lambda: server.events.clients == 0, "all are gone")
    deaf.close()


def test_so_many_pages_and_no_more(client: Client) -> None:
    """503 over the limit, with word of when to come again; one that goes makes room."""
    streams = [client.stream(**SHOWN) for _ in range(CLIENTS_MAX)]
    for stream in streams:
        stream.until(lambda look: look["look"]["answers"])
    answer, body = client("/api/v1/events", **SHOWN)
    assert answer.status == 503 and answer.getheader("retry-after") and b"open already" in body
    assert client.status("/api/v1/events", "HEAD", **SHOWN) == 503
    assert client.status("/api/v1/status", **SHOWN) == 200
    streams.pop().close()
    eventually(lambda: client.status("/api/v1/events", "HEAD", **SHOWN) == 200, "room for another")
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"NBDMAGICIHAVEOPT\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ],
    ids=["large-header", "long-path", "tls", "no-host", "nbd", "wrong-length", "two-hosts"],
)
def test_nonsense_is_refused(server: HttpServer, client: Client, sent: bytes) -> None:
    """400 or 431, and the connection is closed; the server goes on."""
    assert rest(raw(server, sent)).startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert client.status("/healthz") == 200


def test_the_end_ends_every_stream(server: HttpServer, client: Client) -> None:
    """Pages that are open do not hold the server up."""
    streams = [client.stream(**SHOWN) for _ in range(CLIENTS_MAX)]
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 30 and not server.running
    for stream in streams:
        while stream.event() != ("", ""):
            pass
    with pytest.raises((OSError, ssl.SSLError)):
        client.status("/healthz")
