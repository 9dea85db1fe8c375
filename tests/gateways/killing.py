"""Death at the nth call that SQLite makes to change or confirm a file of a database on volumes.

The wrapping is done here, so that the product carries no test hooks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tidelog.gateways import sqlite_vfs

# Before each of these SQLite may die; xClose is none of its steps, but a dead process makes no call at all.
CALLS: tuple[tuple[type, str], ...] = (
    (sqlite_vfs.File, "xWrite"),
    (sqlite_vfs.File, "xSync"),
    (sqlite_vfs.File, "xTruncate"),
    (sqlite_vfs.Vfs, "xDelete"),
)


class Killed(BaseException):
    """What stands for SIGKILL in one process."""


@dataclass
class Death:
    """Which calls were carried out, and whether death has come."""

    made: list[str] = field(default_factory=list)
    come: bool = False


@contextmanager
def dying(nth: int, die: Callable[[], None]) -> Iterator[Death]:
    """Calls ``die`` in place of call ``nth`` (from 1) of `CALLS`. None is carried out from then on, and no file's
    closing hands anything over."""
    death = Death()

    def instead(original: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            death.come = death.come or len(death.made) + 1 == nth
            if death.come:
                die()
                return None
            death.made.append(name)
            return original(*arguments)

        return call

    def close(file: sqlite_vfs.File) -> None:
        if not death.come:
            closed(file)

    closed = sqlite_vfs.File.xClose
    before = [(owner, name, getattr(owner, name)) for owner, name in CALLS]
    for owner, name, original in before:
        setattr(owner, name, instead(original, name))
    sqlite_vfs.File.xClose = close  # type: ignore[method-assign]
    try:
        yield death
    finally:
        for owner, name, original in before:
            setattr(owner, name, original)
        sqlite_vfs.File.xClose = closed  # type: ignore[method-assign]
