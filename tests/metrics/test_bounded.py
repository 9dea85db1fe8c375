"""What answers a worker's scraper: clients that say nothing keep nobody out, hold no threads, and are ended."""

import contextlib
import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app

from tidelog.gateways.metrics import bounded
from tidelog.gateways.metrics.bounded import CONNECTIONS, BoundedServer
from tidelog.testing.readiness import wait_until

PATIENCE_S = 60


@pytest.fixture
def server() -> Iterator[BoundedServer]:
    """On a thread, at a port of its own."""
    made = BoundedServer("127.0.0.1", 0, make_wsgi_app(CollectorRegistry()))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join(PATIENCE_S)


@pytest.fixture
def silent(server: BoundedServer) -> Iterator[list[socket.socket]]:
    """Connections that say nothing, three times as many as there may be."""
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", server.server_port)
        yield [
            stack.enter_context(socket.create_connection(address, timeout=PATIENCE_S)) for _ in range(3 * CONNECTIONS)
        ]


def scrape(server: BoundedServer) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=PATIENCE_S) as answer:
        return int(answer.status)


def ended(connection: socket.socket) -> bool:
    """Waits for the server to end it."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_silent_connections_keep_nobody_out(
    server: BoundedServer, silent: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The eldest give way, so there are never more than may be, of connections and of threads."""
    monkeypatch.setattr(bounded, "CONNECTION_SECONDS", 1e9)  # by the bound alone
    assert scrape(server) == 200
    assert all(ended(connection) for connection in silent[: 2 * CONNECTIONS])
    assert server.connections <= CONNECTIONS
    assert sum("process_request_thread" in thread.name for thread in threading.enumerate()) <= CONNECTIONS
    assert scrape(server) == 200


def test_a_connection_ends_in_time(server: BoundedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that says a little, and then a little more."""
    monkeypatch.setattr(bounded, "CONNECTION_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"GET /metr")
        assert ended(connection)
    assert wait_until(lambda: server.connections == 0, PATIENCE_S)
    monkeypatch.undo()
    assert scrape(server) == 200


def test_closing_ends_the_connections() -> None:
    """Whoever hangs on one does not see a server that has gone as one that is slow."""
    made = BoundedServer("127.0.0.1", 0, make_wsgi_app(CollectorRegistry()))
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    with socket.create_connection(("127.0.0.1", made.server_port), timeout=PATIENCE_S) as connection:
        assert wait_until(lambda: made.connections == 1, PATIENCE_S)
        made.shutdown()
        made.server_close()
        assert ended(connection)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
