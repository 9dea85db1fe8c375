"""Where connections come in: so many in all, and room for one more as long as somebody only waits.

uvicorn leaves accepting to asyncio, which neither counts connections that have not finished TLS nor lets one say how
long that may take (a minute). So the connections are accepted here, and handed to uvicorn's protocol.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection
from contextlib import suppress

import uvicorn

from tidelog.gateways.web.connection import PatientConnection

CONNECTIONS_MAX = 256
HANDSHAKE_SECONDS = 10.0
# After accepting has failed, as it does for want of file descriptors.
PAUSE_SECONDS = 0.1


class Door:
    """Accepts from `open` to `close`, in one event loop. At `CONNECTIONS_MAX`, TLS or not, the one that has waited
    longest in vain for its TLS, a request or a reader gives way to the newcomer, so that silence locks nobody out; if
    all are being answered the newcomer is closed."""

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        made: Callable[[], PatientConnection],
        connections: Collection[object],
    ) -> None:
        self._listening, self._tls, self._made = listening, tls, made
        self._connections = connections
        self._entering: dict[asyncio.Task[None], float] = {}  # since when, oldest first
        self._accepting: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins, at a socket that listens."""
        self._listening.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Takes in nobody any more; who is inside stays."""
        for task in (self._accepting, *self._entering):
            if task is not None:
                task.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(self._listening)
            except OSError:
                self._make_room()
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if len(self._entering) + len(self._inside()) >= CONNECTIONS_MAX and not self._make_room():
                accepted.close()
            else:
                task = loop.create_task(self._enter(accepted))
                self._entering[task] = loop.time()
                task.add_done_callback(self._entering.pop)
            await asyncio.sleep(0)  # accepting what waits already does not let others run

    async def _enter(self, accepted: socket.socket) -> None:
        limit = HANDSHAKE_SECONDS if self._tls is not None else None
        loop = asyncio.get_running_loop()
        # What speaks no TLS, or too slowly, or has gone, was closed by asyncio.
        with suppress(OSError):
            await loop.connect_accepted_socket(self._made, accepted, ssl=self._tls, ssl_handshake_timeout=limit)

    def _inside(self) -> list[PatientConnection]:
        return [one for one in self._connections if isinstance(one, PatientConnection) and not one.aborted]

    def _make_room(self) -> bool:
        """Whether one was found that waits. Who is still reading an answer goes last."""
        waits: list[tuple[bool, float, Callable[[], object]]] = [
            (one.unread_bytes > 0, one.since, one.abort) for one in self._inside() if not one.asked
        ]
        waits += [(False, since, task.cancel) for task, since in self._entering.items() if not task.cancelling()]
        if not waits:
            return False
        min(waits, key=lambda one: one[:2])[2]()
        return True


class Server(uvicorn.Server):
    """uvicorn's, with that door. ``listening`` is set before it serves."""

    listening: socket.socket

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Without listening itself."""
        await super().startup(sockets=[])
        self._door = Door(self.listening, self.config.ssl, self._connection, self.server_state.connections)
        self._door.open()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """The door first."""
        self._door.close()
        await super().shutdown(sockets=[])

    def _connection(self) -> PatientConnection:
        return PatientConnection(self.config, self.server_state, self.lifespan.state)
