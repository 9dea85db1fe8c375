"""One change by a process that is not the applier: planned beside a key that is watched, and tried until it holds."""

from collections.abc import Callable

from tidelog.errors import StoreUnavailable
from tidelog.stores.keyspace import Command, Keyspace, PositionMoved

# The position moves with every transaction of a busy worker.
TRIES = 1000


def change_beside(
    keyspace: Keyspace, key: bytes, plan: Callable[[bytes | None], list[Command] | None], failed: StoreUnavailable
) -> bool:
    """One EXEC of what ``plan`` says beside the value of ``key``, conditional on that value; asked anew whenever it
    changes meanwhile. False, and nothing is sent, if ``plan`` gives None. Raises ``failed`` after bounded tries, and
    what ``plan`` raises."""
    session = keyspace.session(key)
    try:
        for _ in range(TRIES):
            commands = plan(session.begin())
            if commands is None:
                return False
            session.submit(commands)
            try:
                session.settle()
            except PositionMoved:
                continue
            return True
    finally:
        session.close()
    raise failed
