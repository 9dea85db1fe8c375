"""A group's schedule: a copy each ``every``, and retention behind it. On the writer session's own thread."""

import time
from collections.abc import Callable, Collection

from tidelog.config_tables import KeepConfig
from tidelog.errors import LogUnavailable, SessionClosed
from tidelog.names import scheduled_name
from tidelog.producers.archived import CopyIdentity
from tidelog.producers.group_state import GroupState
from tidelog.producers.retention import Decision, archived_first, plan_retention
from tidelog.producers.session import WriterSession
from tidelog.schemas.events import CopyDropped, Marker

# Seconds between two looks at the log's time; a second is the precision of the copies' names.
LOOK_EVERY = 1.0
# A busy lock or a full buffer is tried again after so many seconds.
TRY_AGAIN = 0.02
# Seconds between two questions whether copies that are to be dropped are archived.
ASK_ARCHIVES_EVERY = 10.0
# So many drops come in a row into the log before others get the lock.
DROPS_IN_A_ROW = 32


class Schedule:
    """Makes a copy whenever the log's time has passed another multiple of ``every`` seconds since the newest scheduled
    copy, and applies ``keep`` after each (None: nothing is dropped). A group without volumes gets no copies.

    ``lock_time_us`` gives the time that locks are judged by, at a log's time; see `tidelog.producers.lock_time`. Where
    it cannot be told, copies that were ever locked stay for now. Where ``archived`` is given, no copy is dropped before
    it is among those; asked while copies wait.
    """

    def __init__(
        self,
        every: float,
        keep: KeepConfig | None,
        lock_time_us: Callable[[int], int],
        archived: Callable[[], Collection[CopyIdentity]] | None = None,
    ) -> None:
        self._every_us, self._keep, self._lock_time_us = round(every * 1_000_000), keep, lock_time_us
        self._archived = archived
        self._in_archive: Collection[CopyIdentity] = ()  # as last heard
        self._ask_again = 0.0  # on the monotonic clock
        self._next = 0.0  # on the monotonic clock
        self._dropping = False  # retention is under way

    def __call__(self, session: WriterSession) -> float:
        """One turn, which waits for nothing; the seconds until the next."""
        left = self._next - time.monotonic()
        if left > 0:
            return left
        pause = LOOK_EVERY if self._turn(session) else TRY_AGAIN
        self._next = time.monotonic() + pause
        return pause

    def _turn(self, session: WriterSession) -> bool:
        """False if there is more to do at once."""
        lock_time_us = self._known_lock_time_us(session)
        self._hear_of_archives()
        if not session.order.acquire(blocking=False):
            return False
        try:
            if not session.ready:
                return False
            now_us = session.time_us
            if self._due(session.state, now_us):
                session.emit(Marker, name=scheduled_name(now_us))
                self._dropping = self._keep is not None
            return not self._dropping or self._drop(session, lock_time_us)
        except SessionClosed:
            return True  # in this very moment, by its owner
        finally:
            session.order.release()

    def _due(self, state: GroupState, now_us: int) -> bool:
        # Not twice under one name: with an `every` that is no whole number of seconds the next turn is early enough.
        if not len(state.volumes) or state.copy(scheduled_name(now_us)) is not None:
            return False
        newest = max((copy.timestamp_us for copy in state.copies() if copy.scheduled), default=None)
        return newest is None or now_us // self._every_us > newest // self._every_us

    def _drop(self, session: WriterSession, lock_time_us: int) -> bool:
        """Drops some of what the plan drops; False if there is more to do at once."""
        planned = self._planned(session.state, lock_time_us)
        ready = planned if self._archived is None else archived_first(planned, self._in_archive)
        for count, copy in enumerate(decision.copy for decision in ready if decision.dropped):
            if count == DROPS_IN_A_ROW or not session.ready:
                return False
            session.emit(CopyDropped, copy_sequence=copy.sequence, copy_seal=copy.seal)
        self._dropping = any(before.dropped and not after.dropped for before, after in zip(planned, ready, strict=True))
        return True

    def _planned(self, state: GroupState, lock_time_us: int) -> list[Decision]:
        return [] if self._keep is None else plan_retention(state.copies(), self._keep, lock_time_us)

    def _hear_of_archives(self) -> None:
        """Asked for before the order is held, and not often: it is a question to Kafka on the session's thread."""
        now = time.monotonic()
        if self._archived is None or not self._dropping or now < self._ask_again:
            return
        self._ask_again = now + ASK_ARCHIVES_EVERY
        try:
            self._in_archive = self._archived()
        except LogUnavailable:
            return  # asked again

    def _known_lock_time_us(self, session: WriterSession) -> int:
        """0 where it cannot be told; asked only if a copy's lock may have ended."""
        now_us = session.time_us
        if not any(0 < copy.locked_until_us <= now_us for copy in session.state.copies()):
            return now_us
        try:
            return self._lock_time_us(now_us)
        except LogUnavailable:
            return 0
