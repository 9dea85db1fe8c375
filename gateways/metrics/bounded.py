"""An HTTP server whose threads have a bound, and whose connections have a time limit, whatever clients do."""

import socket
import sys
import threading
import time
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

CONNECTIONS = 16  # of which each has a thread
CONNECTION_SECONDS = 10.0
_MAKES_ROOM = 1.0


class Quiet(WSGIRequestHandler):
    """Says nothing of each request on stderr."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


class BoundedServer(ThreadingMixIn, WSGIServer):
    """A connection ends `CONNECTION_SECONDS` after it began: silent, slow to ask or slow to read. One beyond
    `CONNECTIONS` ends the oldest, so that those that say nothing keep nobody out.

    Raises OSError and OverflowError if the address cannot be had.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, app: Any) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        self._open: dict[socket.socket, float] = {}  # oldest first, since when
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(CONNECTIONS)
        super().__init__((host, port), Quiet)
        self.set_app(app)

    @property
    def connections(self) -> int:
        """Those that are open now."""
        return len(self._open)

    def service_actions(self) -> None:
        """Called twice a second while it serves."""
        self._end_those_before(time.monotonic() - CONNECTION_SECONDS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """On a thread of its own, once there is room for it; without room the client is turned away."""
        if not self._slots.acquire(blocking=False):
            with self._lock:
                oldest = next(iter(self._open.values()), 0.0)
            self._end_those_before(oldest)
            if not self._slots.acquire(timeout=_MAKES_ROOM):
                self.shutdown_request(request)
                return
        with self._lock:
            self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # there is no thread to be had
            self._ended(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Gives its room back at the end, whatever that is."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone, or was ended, is nobody's error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Ends the connections, too."""
        super().server_close()
        self._end_those_before(float("inf"))

    def _ended(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)
        self._slots.release()

    def _end_those_before(self, limit: float) -> None:
        """Those that began then or before: what they wait for comes to an end, and so do their threads."""
        with self._lock:
            for request, since in self._open.items():
                if since > limit:
                    break
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it has ended by itself
