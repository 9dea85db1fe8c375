"""The second phase of a connection: commands, several at a time, answered as they are done.

A command is carried out once all of it has come: of a write that a client leaves in the middle nothing is done.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from tidelog.errors import Fenced, OutOfBounds, SessionClosed, TidelogError
from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.channel import Channel, Gone
from tidelog.gateways.nbd.commands import Refusal, refusal
from tidelog.gateways.nbd.discards import EVENTS_MAX
from tidelog.gateways.nbd.flushes import Flushes
from tidelog.gateways.nbd.intake import Incoming, Intake
from tidelog.gateways.nbd.negotiation import Agreed
from tidelog.gateways.nbd.reads import Reads
from tidelog.gateways.nbd.share import Share
from tidelog.gateways.nbd.threads import Threads
from tidelog.gateways.nbd.wire import (
    EXTENTS_MAX,
    Command,
    CommandFlag,
    Error,
    ReplyType,
    Request,
    chunk,
    data_chunk,
    error_chunk,
    simple_reply,
    status_chunk,
)

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
    """Serves one client of one export; ``say`` is told of what should not be. What needs no waiting, as most writes, is
    done and answered where its last byte comes in; all else is a task."""

    def __init__(self, channel: Channel, agreed: Agreed, means: Means, say: Callable[[str], None]) -> None:
        self._channel, self._means, self._say = channel, means, say
        self.export, self._terms = agreed.export, agreed.terms
        self.share = Share(means.total)
        self._intake = Intake(channel, self.share, self._refused, self._bytes_of, self._carry_out)
        self._flushes = Flushes(agreed.export, lambda: means.change.run(agreed.export.flush))
        self._reads = Reads(lambda offset, length: means.read.run(agreed.export.read, offset, length))
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the client has left, or `stop`; every command that was taken is carried out and answered then. Raises
        `Gone`, `ProtocolError`."""
        await self._intake.run()

    def stop(self) -> None:
        """Takes no more commands."""
        self._intake.stop()

    def _refused(self, request: Request) -> Refusal | None:
        return refusal(request, self._terms)

    def _carry_out(self, command: Incoming, data: bytes) -> None:
        """Begins; what needs no waiting is done and answered when it returns."""
        request = command.request
        if command.refused is not None:
            self._answer(command, self._error(request, *command.refused))
        elif request.command == Command.FLUSH:
            self._flush(command)
        elif request.command == Command.READ and request.length:
            self._reads.read(request.offset, request.length, partial(self._read, command))
        elif not (data and self._written_at_once(command, data)):
            self._start(self._serve(command, data))

    def _read(self, command: Incoming, found: bytes | BaseException) -> None:
        request = command.request
        if isinstance(found, BaseException):
            self._answer(command, self._failed(request, found))
        elif self._terms.structured:
            self._answer(command, (data_chunk(request.cookie, request.offset, request.length), found))
        else:
            self._answer(command, (simple_reply(request.cookie), found))

    def _written_at_once(self, command: Incoming, data: bytes) -> bool:
        """Whether nothing had to be waited for; False, and nothing was done, if something has."""
        request = command.request
        try:
            if not self.export.write_at_once(request.offset, data):
                return False
        except Exception as error:
            self._answer(command, self._failed(request, error))
            return True
        self._changed(command)
        return True

    def _changed(self, command: Incoming) -> None:
        """What was to be changed is, if not for good."""
        if command.request.flags & CommandFlag.FUA and command.request.length:
            self._flush(command)
        else:
            self._answer(command, self._done(command.request))

    def _flush(self, command: Incoming) -> None:
        def flushed(error: Exception | None) -> None:
            request = command.request
            self._answer(command, self._done(request) if error is None else self._failed(request, error))

        self._flushes.flush(flushed)

    def _answer(self, command: Incoming, reply: tuple[bytes, ...]) -> None:
        if self._channel.send_now(*reply):
            self._intake.ended(command)
        else:
            self._start(self._send(command, reply))

    async def _send(self, command: Incoming, reply: tuple[bytes, ...]) -> None:
        try:
            await self._channel.send(*reply, pressed=self.share.pressed)
        except Gone as gone:
            self._intake.stop(gone)
        finally:
            self._intake.ended(command)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, command: Incoming, data: bytes) -> None:
        request = command.request
        try:
            reply = await self._carried_out(request, data)
        except Exception as error:
            reply = self._failed(request, error)
        if reply is None:
            self._changed(command)
        else:
            self._answer(command, reply)

    def _failed(self, request: Request, error: BaseException) -> tuple[bytes, ...]:
        if isinstance(error, TidelogError):
            return self._error(request, error_of(error, request), str(error))
        # The server and its other clients live on.
        self._say(f"unexpected {type(error).__name__} at {request}: {error}")
        return self._error(request, Error.EIO, "see what the server says")

    async def _carried_out(self, request: Request, data: bytes) -> tuple[bytes, ...] | None:
        """The reply to what is no read with bytes; None to a change, which may have to be flushed."""
        export, offset, length = self.export, request.offset, request.length
        if request.command == Command.BLOCK_STATUS:
            extents = await self._means.read.run(export.extents, offset, length)
            return (status_chunk(request.cookie, extents[: self._extents_of(request)]),)
        if length:
            await self._change(request, data)
        return None

    async def _change(self, request: Request, data: bytes) -> None:
        """A write, or zeros."""
        if request.command == Command.WRITE_ZEROES:
            await self._means.change.run(self.export.zero, request.offset, request.length)
        elif request.command == Command.TRIM:
            await self._means.change.run(
                await self._means.read.run(self.export.trimming, request.offset, request.length)
            )
        else:
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
