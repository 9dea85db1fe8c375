"""A link passes, loses, delays and heals, on real sockets."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tidelog.testing.network import HOST, Link, Network
from tidelog.testing.readiness import wait_until
from tidelog.testing.servers import ServerError


class Echo:
    """A server that sends back what it hears, on any number of connections."""

    def __init__(self) -> None:
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.closed = False
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more connections; `shutdown` ends the `accept` that waits."""
        if not self.closed:
            self.closed = True
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                connection.sendall(data)
        except OSError:
            pass
        connection.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    there = Echo()
    yield there
    there.close()


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    with Network() as network:
        link = network.link("echo")
        link.lead_to(echo.port)
        yield link


def connected(link: Link) -> socket.socket:
    return socket.create_connection((HOST, link.port), timeout=30)


def heard(client: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length and (more := client.recv(65536)):
        data += more
    return data


def nothing_comes(client: socket.socket, seconds: float = 0.3) -> bool:
    client.settimeout(seconds)
    try:
        client.recv(1)
    except TimeoutError:
        client.settimeout(30)
        return True
    return False


def test_all_passes_and_so_does_the_end(link: Link, echo: Echo) -> None:
    """A mebibyte there and back, unchanged; who closes is heard at the other end."""
    data = bytes(range(256)) * 4096
    with connected(link) as client:
        threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
        assert heard(client, len(data)) == data
    assert wait_until(lambda: echo.connections[0].fileno() == -1, timeout_s=30)


def test_cut_nothing_passes_and_nothing_is_lost(link: Link, echo: Echo) -> None:
    """An open connection stays open and hears nothing; a new one is made and hears nothing; healed, all arrives."""
    with connected(link) as client:
        client.sendall(b"before")
        assert heard(client, 6) == b"before"
        link.cut()
        client.sendall(b"during")
        with connected(link) as late:
            late.sendall(b"late")
            assert nothing_comes(client) and nothing_comes(late) and link.is_cut
            link.heal()
            assert (heard(client, 6), heard(late, 4), link.is_cut) == (b"during", b"late", False)
    link.cut()
    with connected(link) as client:
        client.sendall(b"x")
        assert nothing_comes(client)
    assert len(echo.connections) == 3 and link.is_cut


def test_delay_is_waited_in_each_direction_and_not_for_each_piece(link: Link) -> None:
    """A round trip takes twice the delay; many pieces in a row take no longer than one."""
    link.delay(0.2)
    with connected(link) as client:
        start = time.monotonic()
        for _ in range(20):
            client.sendall(b"x" * 100)
        assert heard(client, 2000) == b"x" * 2000
        took = time.monotonic() - start
    assert 0.4 <= took < 20 * 0.4
    link.heal()
    with connected(link) as client:
        client.sendall(b"quick")
        assert heard(client, 5) == b"quick"
    with pytest.raises(ValueError, match="delay"):
        link.delay(-1)


def test_a_server_that_is_down_is_down_through_the_link(link: Link, echo: Echo) -> None:
    """A connection is closed at once; and so it is while the link leads nowhere."""
    echo.close()
    with connected(link) as client:
        assert client.recv(1) == b""
    with Network() as network, connected(network.link("nowhere")) as client:
        assert client.recv(1) == b""


def test_names_are_used_once_and_closing_ends_connections(echo: Echo) -> None:
    network = Network()
    link = network.link("one")
    link.lead_to(echo.port)
    with pytest.raises(ServerError):
        network.link("one")
    with connected(link) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        network.close()
        assert client.recv(1) == b""
    network.close()
    with pytest.raises(OSError):
        connected(link)
