"""What one connection may have in flight: of the room that all share, and of a little that nobody can take from it."""

import asyncio

from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.wire import PAYLOAD_BYTES_MAX

# Bytes of one connection's commands.
CONNECTION_BYTES_MAX = 2 * PAYLOAD_BYTES_MAX
# A command of at most so many bytes goes by the connection's own reserve while there is room in it.
SMALL_BYTES_MAX, RESERVE_BYTES = 256 << 10, 512 << 10


class Share:
    """One connection's, of a ``total``. Whatever others hold, a few small commands of its own never wait for them. One
    caller takes at a time."""

    def __init__(self, total: Budget) -> None:
        self._total = total
        self._own, self._reserve = Budget(CONNECTION_BYTES_MAX), Budget(RESERVE_BYTES)
        self._of_total = 0
        self._waits = False

    @property
    def reserved(self) -> int:
        """Bytes taken beside the total."""
        return self._reserve.most - self._reserve.left

    def pressed(self) -> bool:
        """Whether other connections wait while this one holds some of the total."""
        return self._of_total > 0 and self._total.waiting > self._waits

    def take_now(self, size: int) -> Budget | None:
        """As `take` if that needs no waiting; None, and nothing was taken, if it does."""
        if not self._own.take_now(size):
            return None
        if (found := self._found_now(size)) is None:
            self._own.give(size)
        elif found is self._total:
            self._of_total += size
        return found

    async def take(self, size: int) -> Budget:
        """Waits until there is room; where it was found, for `give`."""
        await self._own.take(size)
        self._waits = True
        try:
            found = self._found_now(size) or await _first(size, *self._where(size))
        except BaseException:
            self._own.give(size)
            raise
        finally:
            self._waits = False
        if found is self._total:
            self._of_total += size
        return found

    def give(self, size: int, taken: Budget) -> None:
        """Gives back what was taken."""
        if taken is self._total:
            self._of_total -= size
        taken.give(size)
        self._own.give(size)

    def _found_now(self, size: int) -> Budget | None:
        return next((budget for budget in self._where(size) if budget.take_now(size)), None)

    def _where(self, size: int) -> tuple[Budget, ...]:
        """Who is asked for so many bytes."""
        return (self._total,) if size > SMALL_BYTES_MAX else (self._reserve, self._total)


async def _first(size: int, *budgets: Budget) -> Budget:
    """Which of them has room first."""
    turns = {asyncio.ensure_future(budget.take(size)): budget for budget in budgets}
    found: list[Budget] = []
    try:
        await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
        found = [budget for turn, budget in turns.items() if turn.done()]
        return found[0]
    finally:  # the first one's is kept, unless the caller is gone
        for turn, budget in turns.items():
            if not turn.done():
                turn.cancel()
            elif not found or budget is not found[0]:
                budget.give(size)
