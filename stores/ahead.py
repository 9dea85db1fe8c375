"""An iterator run ahead of whoever takes from it, on a thread: reading goes on while what was read is worked on."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
# Parts that may be ready and waiting; of a MiB each, as a rule.
_DEPTH = 2


def ahead(items: Iterable[Item]) -> Generator[Item, None, None]:
    """The same items in the same order; an error of ``items`` is raised where its item would be. When the taker leaves
    early, at most the parts that were begun are finished."""
    source = iter(items)
    end: list[Item] = []  # a value that no item is

    def following() -> Item | list[Item]:
        return next(source, end)

    with ThreadPoolExecutor(1, "tidelog-ahead") as thread:
        waiting: deque[Future[Item | list[Item]]] = deque(thread.submit(following) for _ in range(_DEPTH))
        try:
            while (found := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(following))
                yield found  # type: ignore[misc]  # it is not the end
        finally:
            for future in waiting:
                future.cancel()
