"""How long a client may stand still: by what it has moved, not by how long the whole takes."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

# A client that takes none of what it has asked for, or sends none of what it has announced, is left (seconds).
STALL_TIMEOUT = 60.0
# Sooner while others wait for the room that it holds: if it moves fewer bytes in that time (seconds).
PRESSED_TIMEOUT, PRESSED_BYTES = 10.0, 64 << 10
_LOOKS = 4  # in the shorter of the two times


def never() -> bool:
    """Nobody waits for what this client holds."""
    return False


class Watch:
    """A context, or the time from `begin` to `end`, in which a client has to get on: ``moved`` tells of bytes and only
    grows, ``pressed`` whether others wait. Of one that stands still `over` says for how long, and ``abort`` ends what
    is waited for. For one event loop."""

    def __init__(self, moved: Callable[[], int], pressed: Callable[[], bool], abort: Callable[[], None]) -> None:
        self._moved, self._pressed, self._abort = moved, pressed, abort
        self._loop = asyncio.get_running_loop()
        self._every = min(STALL_TIMEOUT, PRESSED_TIMEOUT) / _LOOKS
        self._timer: asyncio.TimerHandle | None = None
        self.over: float | None = None

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def begin(self) -> None:
        """It has to get on from here; nothing if it has to already."""
        if self._timer is not None:
            return
        now, moved = self._loop.time(), self._moved()
        self._last = self._first = (now, moved)  # when something moved, and where a time of being pressed began
        self._timer = self._loop.call_later(self._every, self._look)

    def end(self) -> None:
        """It need not any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now, moved = self._loop.time(), self._moved()
        if moved != self._last[1]:
            self._last = (now, moved)
        if not self._pressed() or moved - self._first[1] >= PRESSED_BYTES:
            self._first = (now, moved)
        for limit, since in ((STALL_TIMEOUT, self._last[0]), (PRESSED_TIMEOUT, self._first[0])):
            if now - since >= limit:
                self.over = limit
                self._abort()
                return
        self._timer = self._loop.call_later(self._every, self._look)
