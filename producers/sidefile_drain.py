"""What of a sidefile is in the log already, told from the log alone; and the way of the rest into it.

The log is judged from the head that the sidefile follows. What counts there is, in this order: events of the session
that was cut off, known by their seals; an opening for this very sidefile, known by its writer's id, which is a hash of
the file's id and of the head that it extends; and the file's records, one event each, in order. So whatever died when,
the number that was drained is the number that the log holds. Anything else is another writer's: then what is left of
the file is never drained.
"""

from dataclasses import dataclass

from tidelog.clock import HybridClock
from tidelog.errors import Fenced, LogDiverged, SidefileLost
from tidelog.producers.follower import Follower, follow
from tidelog.producers.log import Log
from tidelog.producers.opening import Opening
from tidelog.producers.resumable_session import ResumableSession
from tidelog.producers.sidefile import SENT, Cursor, Entry, Sidefile
from tidelog.producers.sidefile_folder import drained, set_aside
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Discard, Event, Heartbeat, Marker, WriteBatch, WriterOpened


@dataclass(frozen=True, slots=True)
class Superseded:
    """Why nothing more of a sidefile can be drained: for people."""

    because: str


class Drain:
    """The draining of one sidefile. Of one thread; the sidefile may grow meanwhile."""

    def __init__(self, sidefile: Sidefile, log: Log, codec: Codec, clock: HybridClock, timeout: float) -> None:
        self.sidefile, self._log, self._codec = sidefile, log, codec
        self._clock, self._timeout = clock, timeout
        self._follower = Follower(log, codec, sidefile.header.base)
        self.writers = {sidefile.header.base.writer}  # ours, so far as they may be in the log
        self._cursor = sidefile.start  # behind what is in the log
        self.superseded: Superseded | None = None

    def plan(self, head: Head) -> Opening:
        """What an opening at ``head`` must say to drain this file. Raises `Fenced` if another writer was accepted,
        `LogUnavailable`, `SidefileDamaged`."""
        self._judge()
        if self.superseded is not None:
            raise Fenced(
                f"{self.superseded.because}, while writes stood in sidefile {self.sidefile.path}",
                group=self.sidefile.header.group,
                hint="another process opened this group for writing",
            )
        writer = self._codec.seal(self.sidefile.header.id + head.seal)
        self.writers.add(writer)  # before it is sent: a site may show it first
        upcoming, stamp = self.oldest_us, self._clock.stamp()
        return Opening(writer, max(head.timestamp_us + 1, min(upcoming or stamp, stamp) - 1))

    @property
    def oldest_us(self) -> int:
        """The time of the oldest write that is not known to be in the log; 0 if there is none."""
        entry = self.upcoming(self._cursor)
        return entry.event.first_timestamp_us if entry is not None and entry.event is not None else 0

    @property
    def whole(self) -> bool:
        """Whether everything that is to be drained is known to be in the log."""
        return self.upcoming(self._cursor) is None

    def keep(self) -> SidefileLost:
        """Sets the file aside, and says so."""
        assert self.superseded is not None
        because = self.superseded.because
        kept_as = set_aside(self.sidefile, because, self._cursor.position)
        return SidefileLost(
            f"{because}: writes of a sidefile are not in the log; they are kept in {kept_as}",
            group=self.sidefile.header.group,
            hint="list them: tidelog sidefile show. Bring them out: tidelog sidefile export",
        )

    @property
    def cursor(self) -> Cursor:
        """Behind what is known to be in the log."""
        return self._cursor

    def upcoming(self, cursor: Cursor) -> Entry | None:
        """The first record from ``cursor`` on that is to be drained. Raises `SidefileDamaged`."""
        while (entry := self.sidefile.at(cursor)) is not None:
            if drained(entry):
                return entry
            cursor = entry.after
        return None

    def run(self, session: ResumableSession) -> None:
        """Hands what is left on to a session; it is in the log once that has confirmed it. Raises what ends it."""
        cursor = self._cursor
        while (entry := self.upcoming(cursor)) is not None:
            assert entry.event is not None
            session.drain(entry.event)
            cursor = entry.after

    def _judge(self) -> None:
        """Brings what is known up to the end of the log."""
        try:
            self._follower.check_head()
            reader = self._log.reader(self._follower.head.next_offset)
            try:
                for event, _ in follow(reader, self._log.bounds().end, self._follower, self._timeout):
                    self._take(event)
            finally:
                reader.close()
        except LogDiverged as error:
            self.superseded = Superseded(f"the log is another one than before ({error.message})")

    def _take(self, event: Event) -> None:
        header = self.sidefile.header
        if isinstance(event, WriterOpened):
            if event.writer == self._codec.seal(header.id + event.previous) and self.superseded is None:
                self.writers.add(event.writer)
                return
            if self.superseded is None:
                self.superseded = Superseded(f"{event.opened_by} opened the group (epoch {event.epoch})")
        elif self.superseded is None and event.writer in self.writers:
            self._found(event, again=event.writer == header.base.writer)

    def _found(self, event: Event, *, again: bool) -> None:
        """An event of our own: of the session that was cut off (``again``), or of one that drained."""
        if isinstance(event, Heartbeat) and not again:
            return
        entry = self.sidefile.at(self._cursor) if again else self.upcoming(self._cursor)
        if entry is None and not again:
            return  # all is drained, and that session went on
        right = entry is not None and (
            entry.kind == SENT and entry.event is not None and entry.event.seal == event.seal
            if again
            else entry.event is not None and same(entry.event, event)
        )
        if entry is None or not right:
            self.superseded = Superseded(f"the log holds something else at sequence {event.sequence}")
            return
        self._cursor = entry.after


def same(spooled: Event, event: Event) -> bool:
    """Whether an event of the log is what a record of a sidefile became."""
    if isinstance(spooled, WriteBatch) and isinstance(event, WriteBatch):
        names = (spooled.volumes, spooled.offsets, spooled.lengths) == (event.volumes, event.offsets, event.lengths)
        return names and spooled.data == event.data
    if isinstance(spooled, Discard) and isinstance(event, Discard):
        return (spooled.volume, spooled.offset, spooled.length) == (event.volume, event.offset, event.length)
    return isinstance(spooled, Marker) and isinstance(event, Marker) and spooled.name == event.name
