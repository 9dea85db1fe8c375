"""Connections that come in and say nothing are bounded, and cost the others neither their place nor their answer."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.web.scenes import Client, config_of, eventually, scene, served
from tests.web.test_slow_clients import SHOWN, raw, rest
from tidelog.gateways.web import connection, door, guard
from tidelog.gateways.web.server import HttpServer

CONNECTIONS_MAX = 8
TOKEN = "0123456789abcdef"


@contextmanager
def behind_tls(certificate: tuple[Path, Path]) -> Iterator[tuple[HttpServer, Client]]:
    """A server with a token and TLS."""
    cert, key = certificate
    http = {"token": TOKEN, "tls_certfile": cert, "tls_keyfile": key}
    with scene(config_of(http=http)) as made, served(made) as server:
        yield server, Client(server, ssl.create_default_context(cafile=cert))


def test_a_handshake_is_not_waited_for_long(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of who says nothing, and of who stops within it."""
    monkeypatch.setattr(door, "HANDSHAKE_SECONDS", 1.0)
    with behind_tls(certificate) as (server, client):
        silent = [raw(server, sent) for sent in (b"", b"\x16\x03\x01\x02\x00\x01")]
        assert client.status("/healthz") == 200
        for one in silent:
            assert rest(one) == b""
        assert client.status("/healthz") == 200


def test_silence_locks_nobody_out(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Many more than there may be, that begin no TLS: each other client is served, and those who came first have to go,
    though their time is not over."""
    monkeypatch.setattr(door, "CONNECTIONS_MAX", CONNECTIONS_MAX)
    monkeypatch.setattr(door, "HANDSHAKE_SECONDS", 1000.0)
    with behind_tls(certificate) as (server, client):
        stream = client.stream(**SHOWN)
        silent = []
        for _ in range(10):
            silent += [raw(server) for _ in range(CONNECTIONS_MAX)]
            assert client.status("/healthz") == client.status("/api/v1/status", **SHOWN) == 200
        for one in silent[: -2 * CONNECTIONS_MAX]:
            assert rest(one) == b""
        stream.until(lambda look: look["look"]["answers"])
        stream.close()
        for one in silent:
            one.close()


def test_who_is_answered_is_not_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits is, whether he has sent half a head or had an answer; if there is nobody, the newcomer."""
    monkeypatch.setattr(door, "CONNECTIONS_MAX", 2)
    monkeypatch.setattr(connection, "HEAD_SECONDS", 1000.0)
    with scene(config_of()) as made, served(made) as server:
        client = Client(server)
        one = client.stream()
        half = raw(server, b"GET / HTTP/1.1\r\nHost: loc")
        kept = raw(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert rest(half) == b"" and b"200 OK" in kept.recv(65536)
        other = client.stream()
        assert b"200 OK" not in rest(kept)
        assert rest(raw(server)) == b""
        for stream in (one, other):
            stream.until(lambda look: look["look"]["answers"])
            stream.close()


def test_it_is_said_to_live_however_much_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 for all else, until one of those who are answered has gone."""
    monkeypatch.setattr(guard, "REQUESTS_MAX", 2)
    with scene(config_of()) as made, served(made) as server:
        client = Client(server)
        streams = [client.stream() for _ in range(2)]
        answer, body = client("/api/v1/status")
        assert answer.status == 503 and answer.getheader("retry-after") and b"at once" in body
        assert client.status("/readyz") == 503 and client.status("/healthz") == 200
        for stream in streams:
            stream.close()
        eventually(lambda: client.status("/api/v1/status") == 200, "room again")
