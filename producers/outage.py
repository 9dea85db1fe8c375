"""A time without a log: where writes go meanwhile, and the way back."""

import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tidelog.clock import HybridClock, wall_us
from tidelog.errors import Fenced, LogUnavailable, SidefileDamaged, SidefileFull
from tidelog.producers.log import Log
from tidelog.producers.resumable_session import ResumableSession
from tidelog.producers.sidefile import Cursor, Sidefile
from tidelog.producers.sidefile_drain import Drain
from tidelog.producers.sidefile_folder import active_path
from tidelog.producers.sidefile_header import Header
from tidelog.producers.spool import Spool
from tidelog.schemas.codec import Codec

# What is left of a file is drained under the order lock, with writers waiting, once it is this little (bytes); or after
# so many rounds, if they write as fast as it drains.
_LITTLE, _ROUNDS = 1024 * 1024, 8


@dataclass(frozen=True, slots=True)
class SidefileSettings:
    """See `tidelog.config_sidefile`: bytes and seconds. ``timeout`` is the writer's ``write_timeout``."""

    folder: Path
    size: int
    after: float
    full: Literal["block", "fail"]
    timeout: float
    batch_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """What a group's sessions are made of. ``open`` opens one, for a drain if there is one, with that order lock."""

    group: str
    group_id: str
    log: Log
    codec: Codec
    clock: HybridClock
    open: "Callable[[Drain | None, threading.RLock], ResumableSession]"

    def drain(self, sidefile: Sidefile, settings: SidefileSettings) -> Drain:
        """The draining of a sidefile into this group's log."""
        return Drain(sidefile, self.log, self.codec, self.clock, settings.timeout)


class Outage:
    """From the end of one session to the next one. `come_back` is called by one thread; whoever holds the order may
    call `finish`."""

    def __init__(self, source: Source, settings: SidefileSettings, ended: ResumableSession) -> None:
        left = ended.left()
        header = Header(source.group, source.group_id, ended.log.name, uuid.uuid4().bytes, left.confirmed, wall_us())
        path = active_path(settings.folder, source.group)
        sidefile = Sidefile.create(path, source.codec, header)
        try:
            self.spool = Spool(sidefile, source.codec, left, ended, settings.batch_bytes, settings.size, source.clock)
        except BaseException:
            sidefile.remove()
            raise
        self.drain = source.drain(sidefile, settings)
        self.spool.overlay.writers = self.drain.writers
        self._source, self._ended = source, ended
        self._session: ResumableSession | None = None  # that drains
        self._cursor: Cursor = sidefile.start  # up to which it was handed the file
        self._ready = False  # all but a little is handed over
        self._oldest_us = self.drain.oldest_us

    @property
    def session(self) -> ResumableSession | None:
        """The one that drains."""
        return self._session

    @property
    def ready(self) -> bool:
        """Whether `finish` may succeed."""
        return self._ready

    @property
    def unlogged_us(self) -> int:
        """The time of the oldest change that is not confirmed in the log; 0 if there is none."""
        session = self._session
        batch = tuple(self.spool.batch.writes[:1])
        draining = session.unlogged_us if session is not None else 0
        return draining or self._oldest_us or (batch[0][3] if batch else 0)

    @property
    def holds_nothing(self) -> bool:
        """Whether nothing that was taken is outside the log."""
        return not self.spool.batch.writes and self.drain.whole

    def come_back(self, order: threading.RLock) -> None:
        """Opens a session and drains into it, but for a little. Raises `Fenced` with the drain ``superseded`` if
        another writer was accepted; whatever else ends a session or an opening, which can be tried again after
        `LogUnavailable` and `Fenced`."""
        self._ended.abandon()
        if self._session is not None:
            self._session.abandon()
            self._session = None
        session = self._source.open(self.drain, order)
        self._session, self._cursor = session, self.drain.cursor
        sidefile = self.spool.sidefile
        for _ in range(_ROUNDS):
            self._run(session, sidefile.size)
            if sidefile.size - self._cursor.position <= _LITTLE:
                break
        session.drained()
        self._ready = True

    def finish(self) -> ResumableSession | None:
        """For who holds the order: drains the rest, takes the file away and gives the session that goes on; None if
        that cannot be yet. Raises what ends a session for good."""
        session = self._session
        if not self._ready or session is None:
            return None
        try:
            self._run(session, self.spool.sidefile.size)
            session.drained()
        except (LogUnavailable, Fenced):
            self._ready = False  # only now: until then nobody may open another session
            return None  # `come_back` finds out what became of it
        self.spool.sidefile.remove()
        session.adopt(self.spool.batch)
        session.draining = False
        return session

    def keep(self) -> Fenced:
        """For who holds the order, once the drain is superseded: the file is kept if anything in it is outside the log;
        what its writer is told."""
        with suppress(SidefileFull):  # what was never flushed nobody was told to be anywhere
            self.spool.close_batch()
        if not self.drain.whole:
            return self.drain.keep()
        assert self.drain.superseded is not None
        self.spool.sidefile.remove()
        return Fenced(
            f"{self.drain.superseded.because}; everything that was written before is in the log",
            group=self._source.group,
            hint="another process opened this group for writing",
        )

    def end(self, *, remove: bool) -> None:
        """Lets go of everything; with ``remove`` the file goes, if nothing in it is outside the log."""
        if self._session is not None:
            self._session.abandon()
        sidefile = self.spool.sidefile
        if remove and not sidefile.closed and self.holds_nothing:
            sidefile.remove()
        sidefile.close()

    def _run(self, session: ResumableSession, until: int) -> None:
        while self._cursor.position < until:
            entry = self.drain.upcoming(self._cursor)
            if entry is None or entry.event is None:
                break
            self._oldest_us = entry.event.first_timestamp_us
            session.drain(entry.event)
            self._cursor = entry.after
        following = self.drain.upcoming(self._cursor)
        self._oldest_us = following.event.first_timestamp_us if following is not None and following.event else 0


def recover(source: Source, settings: SidefileSettings, order: threading.RLock) -> ResumableSession:
    """A first session, behind everything that an earlier writer has left in the group's sidefile, which is drained and
    gone when this returns. Raises `SidefileLost` (it is kept then), `SidefileInUse`, `SidefileDamaged`, and what
    opening and flushing raise."""
    sidefile = Sidefile.open(active_path(settings.folder, source.group), source.codec)
    if sidefile is None:
        return source.open(None, order)
    try:
        if sidefile.header.group_id != source.group_id:
            raise SidefileDamaged(
                f"sidefile {sidefile.path} is of another group of the name {sidefile.header.group}",
                group=source.group,
                hint=f"set it aside: tidelog sidefile keep {source.group}",
            )
        return _drained(source.drain(sidefile, settings), source, order)
    finally:
        sidefile.close()


def _drained(drain: Drain, source: Source, order: threading.RLock) -> ResumableSession:
    try:
        session = source.open(drain, order)
    except Fenced:
        if drain.superseded is None:
            raise
        if not drain.whole:
            raise drain.keep() from None
        drain.sidefile.remove()
        return source.open(None, order)
    try:
        drain.run(session)
        session.drained()
        drain.sidefile.remove()
        session.draining = False
    except BaseException:
        session.abandon()
        raise
    return session
