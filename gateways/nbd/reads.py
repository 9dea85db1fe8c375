"""Reads that adjoin are read as one: clients that read on ask for many small parts at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

# So many are carried out at a time, and more only behind such as wait for a store that is far, not for each other
# (seconds): threads that work at the same time take the interpreter from each other.
AT_ONCE, PATIENCE = 1, 0.001
# What is read as one; 256 KiB cost twice what 64 KiB cost.
TOGETHER_BYTES_MAX = 256 << 10

Answer = Callable[[bytes | BaseException], None]
# The bytes at an offset and of a length, when they are there.
Start = Callable[[int, int], "asyncio.Future[bytes]"]


class _Read(NamedTuple):
    offset: int
    length: int
    answer: Answer
    came: float


class Reads:
    """Of one connection. For one event loop."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._waiting: deque[_Read] = deque()
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None

    def read(self, offset: int, length: int, answer: Answer) -> None:
        """``answer`` is called with the bytes, or with what hindered it."""
        self._waiting.append(_Read(offset, length, answer, asyncio.get_running_loop().time()))
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and self._running < AT_ONCE:
            self._begin(self._adjoining())
        if self._waiting and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._waiting[0].came + PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        self._timer = None
        before = asyncio.get_running_loop().time() - PATIENCE
        while self._waiting and self._waiting[0].came <= before:
            self._begin(self._adjoining())
        self._go_on()

    def _adjoining(self) -> list[_Read]:
        """The first one, and those behind it that go on where it ends."""
        together = [self._waiting.popleft()]
        end, length = together[0].offset + together[0].length, together[0].length
        while self._waiting and self._waiting[0].offset == end:
            length += self._waiting[0].length
            if length > TOGETHER_BYTES_MAX:
                break
            together.append(self._waiting.popleft())
            end += together[-1].length
        return together

    def _begin(self, together: list[_Read]) -> None:
        self._running += 1
        try:
            started = self._start(together[0].offset, sum(read.length for read in together))
        except Exception as error:  # the server ends, and its threads take nothing more
            self._running -= 1
            for read in together:
                read.answer(error)
        else:
            started.add_done_callback(partial(self._ended, together))

    def _ended(self, together: list[_Read], done: asyncio.Future[bytes]) -> None:
        self._running -= 1
        error = done.exception()
        if error is not None and len(together) > 1:  # of one of them, maybe
            for read in together:
                self._begin([read])
        elif error is not None:
            together[0].answer(error)
        else:
            found, at = done.result(), 0
            for read in together:
                read.answer(found[at : at + read.length])
                at += read.length
        self._go_on()
