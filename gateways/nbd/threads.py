"""Where what waits for servers is carried out, so that the loop which serves all clients never does."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

_Result = TypeVar("_Result")
_Arguments = ParamSpec("_Arguments")


class Threads:
    """So many; more calls than that wait for their turn."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=f"tidelog-nbd-{name}")

    def run(
        self, call: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> "asyncio.Future[_Result]":
        """Has what the call gives back, or raises, when that is known. Raises `RuntimeError` once they are closed."""
        return asyncio.get_running_loop().run_in_executor(self._pool, partial(call, *arguments, **named))

    def close(self) -> None:
        """Takes no more calls. Those that are being carried out end by themselves."""
        self._pool.shutdown(wait=False)
