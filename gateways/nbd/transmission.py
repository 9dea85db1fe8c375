"""The second phase of a connection: commands, several at a time, answered as they are done.

A command is carried out once all of it has come: of a write that a client leaves in the middle nothing is done.
"""

import asyncio
from collections.abc import Callable

from tidelog.errors import Fenced, OutOfBounds, SessionClosed, TidelogError
from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.channel import STALL_TIMEOUT, Channel, Gone
from tidelog.gateways.nbd.commands import refusal
from tidelog.gateways.nbd.negotiation import Agreed
from tidelog.gateways.nbd.threads import Threads
from tidelog.gateways.nbd.wire import (
    PAYLOAD_BYTES_MAX,
    REQUEST,
    Command,
    CommandFlag,
    Error,
    ProtocolError,
    ReplyType,
    Request,
    chunk,
    data_chunk,
    error_chunk,
    simple_reply,
    status_chunk,
    unpack_request,
)

# What one connection may have in flight: commands, and bytes of their data.
COMMANDS_MAX = 128
CONNECTION_BYTES_MAX = 2 * PAYLOAD_BYTES_MAX


class Transmission:
    """Serves one client of one export. ``total`` bounds the bytes in flight of all connections together; ``say`` is
    told of what should not be."""

    def __init__(
        self, channel: Channel, agreed: Agreed, threads: Threads, total: Budget, say: Callable[[str], None]
    ) -> None:
        self._channel, self._threads, self._total, self._say = channel, threads, total, say
        self.export, self._terms = agreed.export, agreed.terms
        self._own = Budget(CONNECTION_BYTES_MAX)
        self._slots = asyncio.Semaphore(COMMANDS_MAX)
        self._running: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Task[None] | None = None
        self._gone: Gone | None = None

    async def run(self) -> None:
        """Until the client has left, or `stop`; every command that has come is carried out and answered then. Raises
        `Gone`, `ProtocolError`."""
        self._reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait([self._reading])
        finally:
            self._reading.cancel()
            while self._running:
                await asyncio.wait(self._running)
        if self._gone is not None:
            raise self._gone
        if not self._reading.cancelled():
            self._reading.result()

    def stop(self) -> None:
        """Takes no more commands."""
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self) -> None:
        while True:
            request = unpack_request(await self._channel.read(REQUEST.size))
            if request.command == Command.DISC:
                return
            payload = request.length if request.command == Command.WRITE else 0
            if payload > PAYLOAD_BYTES_MAX:
                raise ProtocolError(f"a write of {payload} bytes")
            refused = refusal(request, self._terms)
            size = payload if refused is not None else _bytes_of(request)
            await self._take(size)
            try:
                data = await self._channel.read(payload, STALL_TIMEOUT) if payload else b""
            except BaseException:
                self._give(size)
                raise
            reply = self._at_once(request, data) if refused is None else self._error(request, *refused)
            if reply is not None and self._channel.send_now(*reply):
                self._give(size)
            else:
                task = asyncio.ensure_future(self._serve(request, data, reply, size))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    async def _take(self, size: int) -> None:
        await self._slots.acquire()
        await self._own.take(size)
        await self._total.take(size)

    def _give(self, size: int) -> None:
        self._total.give(size)
        self._own.give(size)
        self._slots.release()

    async def _serve(self, request: Request, data: bytes, reply: tuple[bytes, ...] | None, size: int) -> None:
        try:
            await self._channel.send(*reply or await self._reply(request, data))
        except Gone as gone:
            self._gone = self._gone or gone
            self.stop()
        finally:
            self._give(size)

    def _at_once(self, request: Request, data: bytes) -> tuple[bytes, ...] | None:
        """The reply to a write that nothing has to be waited for; None, and nothing was done, of all else."""
        if request.command != Command.WRITE or not data or request.flags & CommandFlag.FUA:
            return None
        try:
            return self._done(request) if self.export.write_at_once(request.offset, data) else None
        except TidelogError as error:
            return self._error(request, error_of(error, request), str(error))

    async def _reply(self, request: Request, data: bytes) -> tuple[bytes, ...]:
        try:
            return await self._carried_out(request, data)
        except TidelogError as error:
            return self._error(request, error_of(error, request), str(error))
        except Exception as error:  # the server and its other clients live on
            self._say(f"unexpected {type(error).__name__} at {request}: {error}")
            return self._error(request, Error.EIO, "see what the server says")

    async def _carried_out(self, request: Request, data: bytes) -> tuple[bytes, ...]:
        export, offset, length = self.export, request.offset, request.length
        if request.command == Command.READ:
            found = await self._threads.run(export.read, offset, length) if length else b""
            if not self._terms.structured:
                return simple_reply(request.cookie), found
            return (data_chunk(request.cookie, offset, length), found) if length else self._done(request)
        if request.command == Command.BLOCK_STATUS:
            extents = await self._threads.run(export.extents, offset, length)
            return (status_chunk(request.cookie, extents[:1] if request.flags & CommandFlag.REQ_ONE else extents),)
        if request.command == Command.FLUSH:
            await self._threads.run(export.flush)
        elif length:
            await self._threads.run(self._change, request, data)
        return self._done(request)

    def _change(self, request: Request, data: bytes) -> None:
        """On a thread: a write, or zeros; durable before it is answered if the client wants that."""
        if request.command == Command.WRITE:
            self.export.write(request.offset, data)
        else:
            self.export.zero(request.offset, request.length)
        if request.flags & CommandFlag.FUA:
            self.export.flush()

    def _done(self, request: Request) -> tuple[bytes, ...]:
        if self._terms.structured and request.command == Command.READ:
            return (chunk(request.cookie, ReplyType.NONE, 0),)
        return (simple_reply(request.cookie),)

    def _error(self, request: Request, error: Error, why: str) -> tuple[bytes, ...]:
        if self._terms.structured:
            return (error_chunk(request.cookie, error, why),)
        return (simple_reply(request.cookie, error),)


def _bytes_of(request: Request) -> int:
    """What a command takes of the budget."""
    return request.length if request.command in (Command.READ, Command.WRITE) else 0


def error_of(error: TidelogError, request: Request) -> Error:
    """Which of the protocol's errors says what went wrong."""
    if isinstance(error, Fenced | SessionClosed):
        return Error.ESHUTDOWN
    if isinstance(error, OutOfBounds):  # the volume was made smaller since
        return Error.ENOSPC if request.command in (Command.WRITE, Command.WRITE_ZEROES) else Error.EINVAL
    return Error.EIO
