"""Bytes in flight: so many at a time, and whoever wants more waits for its turn."""

import asyncio
from collections import deque


class Budget:
    """Of ``most`` bytes. For one event loop."""

    def __init__(self, most: int) -> None:
        self.most = self._left = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def left(self) -> int:
        """Bytes that nobody has."""
        return self._left

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(not turn.done() for _, turn in self._waiting)

    def take_now(self, count: int) -> bool:
        """Takes ``count`` bytes if that needs no waiting; False, and nothing was taken, if it does."""
        if self._waiting or count > self._left:
            return False
        self._left -= count
        return True

    async def take(self, count: int) -> None:
        """Waits until ``count`` bytes, at most ``most``, are free and everybody before has had theirs."""
        assert count <= self.most
        if self.take_now(count):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give(count)  # it was had in the same moment
            self._serve()  # what stands behind may fit
            raise

    def give(self, count: int) -> None:
        """Gives back what was taken."""
        self._left += count
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            count, turn = self._waiting[0]
            if not turn.done() and count > self._left:
                return
            self._waiting.popleft()
            if not turn.done():  # else it was given up
                self._left -= count
                turn.set_result(None)
