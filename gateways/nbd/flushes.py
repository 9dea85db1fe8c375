"""Flushes that share one: clients that keep many commands in flight send one behind nearly every write."""

import asyncio
from collections.abc import Awaitable, Callable


class Flushes:
    """Of one connection: those that come while one is being carried out are answered by the next, which begins after
    all of them have come, and so covers what each of them has to. For one event loop."""

    def __init__(self, flush: Callable[[], Awaitable[None]]) -> None:
        self._flush = flush
        self._running: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None

    async def flush(self) -> None:
        """Returns when everything before this call is durable; raises what hindered it."""
        if self._running is None or self._running.done():
            self._running = task = asyncio.ensure_future(self._flush())
        else:
            task = self._next = self._next or asyncio.ensure_future(self._behind(self._running))
        await asyncio.shield(task)  # who goes away takes it from nobody

    async def _behind(self, running: asyncio.Task[None]) -> None:
        await asyncio.wait([running])
        self._running, self._next = self._next, None
        await self._flush()
