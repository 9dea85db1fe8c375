"""Where what waits for servers is carried out, so that the loop which serves all clients never does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


class Threads:
    """So many; more calls than that wait for their turn."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=f"tidelog-nbd-{name}")

    def start(
        self,
        done: "Callable[[Future[_Result]], None]",
        call: Callable[_Arguments, _Result],
        *arguments: _Arguments.args,
        **named: _Arguments.kwargs,
    ) -> None:
        """Has ``done`` called by the event loop with what the call gives back, or raises."""
        loop = asyncio.get_running_loop()

        def ended(future: "Future[_Result]") -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(done, future)

        self._pool.submit(call, *arguments, **named).add_done_callback(ended)

    async def run(
        self, call: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        """What the call gives back, or raises."""
        assert not named  # an executor takes none
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)

    def close(self) -> None:
        """Takes no more calls. Those that are being carried out end by themselves."""
        self._pool.shutdown(wait=False)
