"""What a client sends in the second phase, taken as commands, each when all of it has come and there is room."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.channel import IN_THE_MIDDLE, Channel, Gone
from tidelog.gateways.nbd.commands import Refusal
from tidelog.gateways.nbd.share import Share
from tidelog.gateways.nbd.watch import Watch
from tidelog.gateways.nbd.wire import PAYLOAD_BYTES_MAX, REQUEST, Command, ProtocolError, Request, unpack_request

# What one connection may have in flight: commands; of their bytes see `Share`.
COMMANDS_MAX = 128


@dataclass(slots=True, eq=False)
class Incoming:
    """A command that has come, or is coming. ``size`` is what it takes of the share, ``room`` where that was found."""

    request: Request
    refused: Refusal | None
    size: int
    payload: int
    room: Budget | None = None


class Intake:
    """One client's. ``carry_out`` is called with each command and its data, does not wait, and raises, or sees to it
    that `ended` is called once; ``refused`` says why one is none, ``size`` what another one takes of the share."""

    def __init__(
        self,
        channel: Channel,
        share: Share,
        refused: Callable[[Request], Refusal | None],
        size: Callable[[Request], int],
        carry_out: Callable[[Incoming, bytes], None],
    ) -> None:
        self._channel, self._share = channel, share
        self._refused, self._size, self._carry_out = refused, size, carry_out
        self._coming: Incoming | None = None  # its payload, or room for it, is waited for
        self._watch = Watch(lambda: channel.untaken, share.pressed, channel.abort)
        self._room: asyncio.Task[None] | None = None
        self._running = 0
        self._advancing = False
        self._stopped, self._idle = asyncio.Event(), asyncio.Event()
        self._why: Exception | None = None

    async def run(self) -> None:
        """Until the client has left, or `stop`; every command that was taken has ended then. Raises `Gone`,
        `ProtocolError`, what ``carry_out`` does, and what `stop` was given."""
        self._channel.listen(self._advance)
        self._advance()
        try:
            await self._stopped.wait()
        finally:
            self.stop()
            while self._running:
                self._idle.clear()
                await self._idle.wait()
        if self._why is not None:
            raise self._why

    def stop(self, why: Exception | None = None) -> None:
        """Takes no more commands, and forgets the one that has not come whole."""
        if why is not None and not str(self._why or ""):  # who stood still is gone, too, and that says less
            self._why = why
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._channel.listen(None)
        self._watch.end()
        if self._room is not None:
            self._room.cancel()
        self._channel.forget()
        if self._coming is not None and self._coming.room is not None:
            self._share.give(self._coming.size, self._coming.room)

    def ended(self, command: Incoming) -> None:
        """It was answered, or nobody is there who could be."""
        assert command.room is not None
        self._share.give(command.size, command.room)
        self._running -= 1
        if not self._running:
            self._idle.set()
        if self._running == COMMANDS_MAX - 1:
            self._advance()

    def _advance(self) -> None:
        """Takes the commands that have come, as far as there is room for them."""
        if self._advancing:  # one has ended at once
            return
        self._advancing = True
        try:
            for _ in range(COMMANDS_MAX):
                if self._running == COMMANDS_MAX or self._stopped.is_set() or not self._take():
                    return
            asyncio.get_running_loop().call_soon(self._advance)  # others have their turn
        except Exception as error:
            self.stop(error)
        finally:
            self._advancing = False

    def _take(self) -> bool:
        """One command; False if something is waited for, or nothing more will be."""
        coming = self._coming
        if coming is None:
            if (head := self._channel.take(REQUEST.size)) is None:
                return False
            request = unpack_request(head)
            if request.command == Command.DISC:
                self.stop()
                return False
            coming = self._coming = self._weighed(request)
            coming.room = self._share.take_now(coming.size)
        if coming.room is None:
            if self._channel.lacks(coming.payload):
                raise Gone(IN_THE_MIDDLE)
            if self._room is None:
                self._room = asyncio.ensure_future(self._wait_for_room(coming))
            return False
        if (data := self._payload(coming.payload) if coming.payload else b"") is None:
            return False
        self._coming = None
        self._running += 1
        try:
            self._carry_out(coming, data)
        except BaseException:
            self.ended(coming)
            raise
        return True

    def _weighed(self, request: Request) -> Incoming:
        payload = request.length if request.command == Command.WRITE else 0
        if payload > PAYLOAD_BYTES_MAX:
            raise ProtocolError(f"a write of {payload} bytes")
        refused = self._refused(request)
        return Incoming(request, refused, payload if refused is not None else self._size(request), payload)

    async def _wait_for_room(self, coming: Incoming) -> None:
        coming.room = await self._share.take(coming.size)
        self._room = None
        self._advance()

    def _payload(self, count: int) -> bytes | None:
        """It was announced, and has to keep coming: see `Watch`."""
        try:
            data = self._channel.take(count)
        except Gone:
            over = self._watch.over
            raise Gone(f"nothing to speak of came for {over:g} s" if over else IN_THE_MIDDLE) from None
        if data is None:
            self._watch.begin()
        else:
            self._watch.end()
        return data
