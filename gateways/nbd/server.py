"""Listening, limits, and the end."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tidelog.errors import LogUnavailable, TidelogError
from tidelog.gateways.nbd.address import Listening
from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.catalogue import Catalogue
from tidelog.gateways.nbd.channel import Channel
from tidelog.gateways.nbd.connection import Connection, Shared
from tidelog.gateways.nbd.exports import LiveExport
from tidelog.gateways.nbd.threads import Threads
from tidelog.gateways.nbd.transmission import Means
from tidelog.gateways.nbd.wire import PAYLOAD_BYTES_MAX

CONNECTIONS_MAX = 128
# Of live volumes, and as many of copies and clones: with what 128 clients have in reserve 256 MiB. Beside that each has
# 128 KiB for the kernel to fill, at most 256 KiB that has come and is not taken, and at most 256 KiB of answers that
# are on their way: 80 MiB of 128 clients, 336 MiB with the above. asyncio's TLS takes another 256 KiB of each.
TOTAL_BYTES_MAX = 3 * PAYLOAD_BYTES_MAX
# Reads of live volumes wait for the site's store, and flushes for the log: the one holds up no thread of the other.
LIVE_THREADS, READ_THREADS, STORED_THREADS, OPENING_THREADS = 16, 16, 8, 8
# The session is looked at so often, and a log that is away is tried again after so long (seconds).
LOOK_EVERY, TRY_AGAIN = 0.1, 1.0


class NbdServer:
    """Serves a catalogue's exports on a socket that listens. Clients beyond ``connections_max`` are left at once;
    of all to live volumes at most ``total_bytes`` (of a largest payload at least) are in flight, as many of all others,
    and of each its reserve (`Share`); ``patience`` is how long the
    end waits for commands that are being carried out (seconds)."""

    def __init__(
        self,
        catalogue: Catalogue,
        listening: Listening,
        *,
        tls: ssl.SSLContext | None = None,
        say: Callable[[str], None] = lambda _: None,
        connections_max: int = CONNECTIONS_MAX,
        total_bytes: int = TOTAL_BYTES_MAX,
        patience: float = 60.0,
    ) -> None:
        self._catalogue, self._listening, self._say = catalogue, listening, partial(_say, say)
        self._connections_max, self._patience = connections_max, patience
        stored, self._opening = Threads("stored", STORED_THREADS), Threads("opening", OPENING_THREADS)
        self._again = Threads("again", 1)
        live = Means(Threads("reads", READ_THREADS), Threads("live", LIVE_THREADS), Budget(total_bytes))
        self._means = (live, Means(stored, stored, Budget(total_bytes)))
        self._shared = Shared(catalogue, *self._means, self._opening, tls, self._say)
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._error: TidelogError | None = None

    @property
    def in_flight(self) -> int:
        """Bytes that all connections hold together."""
        reserved = sum(connection.reserved for connection in tuple(self._connections))
        return reserved + sum(means.total.most - means.total.left for means in self._means)

    async def run(self) -> None:
        """Serves until `stop`, or until the writer session has ended for good: then raises what has ended it. Either
        way every command that was taken is answered, and all that was written is flushed."""
        listening, loop = self._listening.socket, asyncio.get_running_loop()
        create = loop.create_unix_server if listening.family == socket.AF_UNIX else loop.create_server
        server = await create(lambda: Channel(self._accept), sock=listening)
        watching = asyncio.ensure_future(self._watch())
        try:
            await self._stopping.wait()
        finally:
            self._listening.leave()
            server.close()
            watching.cancel()
            await self._end()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Ends in order."""
        self._stopping.set()

    def _accept(self, channel: Channel) -> None:
        if len(self._connections) >= self._connections_max or self._stopping.is_set():
            channel.abort()
            return
        connection = Connection(channel, self._shared)
        task = asyncio.ensure_future(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection, None))

    async def _watch(self) -> None:
        """Notices what ends the writer session, and opens it again if the log was away."""
        writer = self._catalogue.writer
        while writer is not None:
            await asyncio.sleep(LOOK_EVERY)
            self._leave_former()
            if (error := writer.error) is None:
                continue
            if not writer.can_reopen:
                self._fail(error)
                return
            self._say(f"writes and flushes fail: {error}")
            if not await self._reopened():
                return
            self._say("the log is back; clients of live volumes have to connect again")

    async def _reopened(self) -> bool:
        """Tries until it is; False, and the server ends, if it must not be."""
        writer = self._catalogue.writer
        assert writer is not None
        while True:
            try:
                await self._again.run(writer.reopen)
                return True
            except LogUnavailable:
                await asyncio.sleep(TRY_AGAIN)
            except TidelogError as error:
                self._fail(error)
                return False

    def _leave_former(self) -> None:
        """Whoever wrote to a session that has ended must not take a later session's flush for its own."""
        writer = self._catalogue.writer
        for connection in tuple(self._connections):
            export = connection.export
            if isinstance(export, LiveExport) and writer is not None and not writer.has(export.group):
                connection.stop()

    def _fail(self, error: TidelogError) -> None:
        self._error = error
        self.stop()

    async def _end(self) -> None:
        for connection in tuple(self._connections):
            connection.stop()
        if self._connections:
            await asyncio.wait(tuple(self._connections.values()), timeout=self._patience)
        for connection, task in tuple(self._connections.items()):
            connection.abort()
            task.cancel()
        for means in self._means:
            means.read.close()
            means.change.close()
        self._opening.close()
        self._again.close()


def _say(say: Callable[[str], None], text: str) -> None:
    with suppress(OSError, ValueError):  # nobody listens any more, which ends no connection
        say(text)
