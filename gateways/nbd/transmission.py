"""The second phase of a connection: commands, several at a time, answered as they are done.

A command is carried out once all of it has come: of a write that a client leaves in the middle nothing is done.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tidelog.errors import Fenced, OutOfBounds, SessionClosed, TidelogError
from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.channel import Channel, Gone
from tidelog.gateways.nbd.commands import refusal
from tidelog.gateways.nbd.discards import EVENTS_MAX
from tidelog.gateways.nbd.flushes import Flushes
from tidelog.gateways.nbd.negotiation import Agreed
from tidelog.gateways.nbd.share import Share
from tidelog.gateways.nbd.threads import Threads
from tidelog.gateways.nbd.wire import (
    EXTENTS_MAX,
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

# What one connection may have in flight: commands; of their bytes see `Share`.
COMMANDS_MAX = 128
# A chunk of a block status: its head, and each extent.
_STATUS_BYTES, _EXTENT_BYTES = 64, 8
# What is known of an extent that is to be trimmed, while it waits for the log.
_TRIM_BYTES = 128 * EVENTS_MAX


@dataclass(frozen=True, slots=True)
class Means:
    """What the connections to one kind of export have in common: threads that ``read``, threads that do all else, and
    the ``total`` of bytes in flight."""

    read: Threads
    change: Threads
    total: Budget


class Transmission:
    """Serves one client of one export; ``say`` is told of what should not be."""

    def __init__(self, channel: Channel, agreed: Agreed, means: Means, say: Callable[[str], None]) -> None:
        self._channel, self._means, self._say = channel, means, say
        self.export, self._terms = agreed.export, agreed.terms
        self.share = Share(means.total)
        self._flushes = Flushes(lambda: means.change.run(agreed.export.flush))
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
            size = payload if refused is not None else self._bytes_of(request)
            await self._slots.acquire()
            taken = await self.share.take(size)
            try:
                data = await self._channel.payload(payload, self.share.pressed) if payload else b""
                reply = self._at_once(request, data) if refused is None else self._error(request, *refused)
                sent = reply is not None and self._channel.send_now(*reply)
            except BaseException:
                self._give(size, taken)
                raise
            if sent:
                self._give(size, taken)
            else:
                task = asyncio.ensure_future(self._serve(request, data, reply, size, taken))
                self._running.add(task)
                task.add_done_callback(self._running.discard)

    def _give(self, size: int, taken: Budget) -> None:
        self.share.give(size, taken)
        self._slots.release()

    async def _serve(
        self, request: Request, data: bytes, reply: tuple[bytes, ...] | None, size: int, taken: Budget
    ) -> None:
        try:
            parts = reply or await self._reply(request, data)
            await self._channel.send(*parts, pressed=self.share.pressed)
        except Gone as gone:
            self._gone = self._gone or gone
            self.stop()
        finally:
            self._give(size, taken)

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
            found = await self._means.read.run(export.read, offset, length) if length else b""
            if not self._terms.structured:
                return simple_reply(request.cookie), found
            return (data_chunk(request.cookie, offset, length), found) if length else self._done(request)
        if request.command == Command.BLOCK_STATUS:
            extents = await self._means.read.run(export.extents, offset, length)
            return (status_chunk(request.cookie, extents[: self._extents_of(request)]),)
        if length:
            await self._change(request, data)
        if request.command == Command.FLUSH or (length and request.flags & CommandFlag.FUA):
            await self._flushes.flush()
        return self._done(request)

    async def _change(self, request: Request, data: bytes) -> None:
        """A write, or zeros."""
        if request.command == Command.WRITE_ZEROES:
            await self._means.change.run(self.export.zero, request.offset, request.length)
        elif request.command == Command.TRIM:
            await self._means.change.run(
                await self._means.read.run(self.export.trimming, request.offset, request.length)
            )
        elif not self.export.write_at_once(request.offset, data):
            await self._means.change.run(self.export.write, request.offset, data)

    def _done(self, request: Request) -> tuple[bytes, ...]:
        if self._terms.structured and request.command == Command.READ:
            return (chunk(request.cookie, ReplyType.NONE, 0),)
        return (simple_reply(request.cookie),)

    def _error(self, request: Request, error: Error, why: str) -> tuple[bytes, ...]:
        if self._terms.structured:
            return (error_chunk(request.cookie, error, why),)
        return (simple_reply(request.cookie, error),)

    def _bytes_of(self, request: Request) -> int:
        """What a command takes of the budget: its data, those of its answer at most."""
        if request.command == Command.TRIM:
            return _TRIM_BYTES
        if request.command == Command.BLOCK_STATUS:
            return _STATUS_BYTES + _EXTENT_BYTES * self._extents_of(request)
        return request.length if request.command in (Command.READ, Command.WRITE) else 0

    def _extents_of(self, request: Request) -> int:
        """How many extents the answer to a block status has at most."""
        if request.flags & CommandFlag.REQ_ONE:
            return 1
        return min(EXTENTS_MAX, request.length // self.export.info.block_size + 2)


def error_of(error: TidelogError, request: Request) -> Error:
    """Which of the protocol's errors says what went wrong."""
    if isinstance(error, Fenced | SessionClosed):
        return Error.ESHUTDOWN
    if isinstance(error, OutOfBounds):  # the volume was made smaller since
        return Error.ENOSPC if request.command in (Command.WRITE, Command.WRITE_ZEROES) else Error.EINVAL
    return Error.EIO
