"""Copies that are locked, kept and dropped in the simulated world, past every check of a writer's library."""

from contextlib import suppress

from tests.simulation.actors import WRITERS, Writer
from tidelog.errors import TidelogError
from tidelog.schemas.events import CopyDropped, CopyKept, CopyLocked


class CopyProtection:
    """The operation of a schedule that concerns what protects copies."""

    writers: list[Writer]

    def protect(self, a: int, b: int, c: int) -> None:
        """A copy is locked for some operations, kept, or dropped whether it is locked or not."""
        session = self.writers[a % WRITERS].live
        copies = [] if session is None else session.state.copies()
        if session is None or not copies:
            return
        copy = copies[c % len(copies)]
        named = {"copy_sequence": copy.sequence, "copy_seal": copy.seal}
        with suppress(TidelogError):
            if b % 4 == 0:
                session.emit(CopyKept, kept=c % 3 > 0, **named)
            elif b % 4 == 1:
                session.emit(CopyLocked, until_us=session.time_us + c * 2000, **named)
            else:
                session.emit(CopyDropped, **named)
