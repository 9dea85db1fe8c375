"""Flushes that share one: clients that keep many commands in flight send one behind nearly every write."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

# The log mostly confirms within milliseconds. Behind that it is waited for on a thread, which knows what may hinder it
# (seconds).
SOON = 0.1

Answer = Callable[[Exception | None], None]


class Flushed(Protocol):
    """What is flushed."""

    def flush_soon(self, tell: Callable[[bool], None]) -> bool:
        """Begins a flush if that needs no waiting; ``tell`` is called from any thread: whether it has succeeded. False,
        and nothing was begun, if it does."""


class Flushes:
    """Of one connection: those that come while one is being carried out are answered by the next, which begins after
    all of them have come, and so covers what each of them has to. For one event loop. ``wait`` is a flush that says
    what hinders it."""

    def __init__(self, flushed: Flushed, wait: Callable[[], Awaitable[None]]) -> None:
        self._flushed, self._wait = flushed, wait
        self._waiting: list[Answer] = []
        self._running: asyncio.Task[None] | None = None

    def flush(self, answer: Answer) -> None:
        """``answer`` is called when everything before this call is durable, or with what hindered it."""
        self._waiting.append(answer)
        if self._running is None:
            self._running = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        while self._waiting:
            answers, self._waiting = self._waiting, []
            error = await self._once()
            for answer in answers:
                answer(error)
        self._running = None

    async def _once(self) -> Exception | None:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def ended(well: bool) -> None:
            if not done.done():  # else it is waited for on a thread
                done.set_result(well)

        def tell(well: bool) -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it whoever would have been answered
                loop.call_soon_threadsafe(ended, well)

        try:
            if self._flushed.flush_soon(tell):
                with suppress(TimeoutError):
                    async with asyncio.timeout(SOON):
                        if await done:
                            return None
            await self._wait()
        except Exception as error:
            return error
        return None
