"""Following a log: every record judged by the verdict table, in order, from a known head."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tidelog.errors import ROLLBACK, Halted, LogDiverged, LogGap
from tidelog.producers.log import Log, Reader, Record
from tidelog.schemas.chain import Head, Verdict, judge
from tidelog.schemas.codec import SEAL_SIZE, Codec
from tidelog.schemas.events import Event, WriterOpened

_ANOTHER_LOG = f"the log was truncated or replaced; roll the site back with: {ROLLBACK}"


@dataclass(slots=True)
class Skipped:
    """Records that counted for nothing, by verdict."""

    redelivered: int = 0
    void: int = 0
    held: int = 0


def carries_head(log: Log, head: Head) -> bool:
    """Whether the record at the head's offset still carries the head's seal ("ours" in the verdict table).

    Costs a read. True for a head before the first event. Raises `LogUnavailable`.
    """
    if head.sequence == 0:
        return True
    record = log.record_at(head.offset) if head.offset >= 0 else None
    return record is not None and record.value[-SEAL_SIZE:] == head.seal


def goes_on(event: Event, head: Head) -> bool:
    """Whether ``event`` extends ``head`` as only the next event of its history can: its session writes on, or a later
    one begins."""
    same_session = (event.epoch, event.writer) == (head.epoch, head.writer)
    later = isinstance(event, WriterOpened) and event.epoch > head.epoch
    return event.previous == head.seal and event.sequence == head.sequence + 1 and (same_session or later)


@dataclass(slots=True)
class Follower:
    """Judges records as they come. ``head`` moves with those that count; ``gap`` is set while an event is missing.

    After a gap nothing counts until a new writer session extends the head (row 5 of the table): the records in between
    are held, and void for ever once that session is there.
    """

    log: Log
    codec: Codec
    head: Head
    gap: LogGap | None = None
    skipped: Skipped = field(default_factory=Skipped)
    superseded_by: WriterOpened | None = None
    _leader_epoch: int = -1

    def leader_changed(self, record: Record) -> bool:
        """True when this record comes from a newer leader than those before: what was read since the head may have
        been truncated, so the caller reads again from ``head.next_offset``, and a gap is no longer known of.

        Raises `LogDiverged` if the head's own record is gone; asked of the first record too, since the log may have
        been truncated after the reader was placed.
        """
        if record.leader_epoch <= self._leader_epoch:
            return False
        first = self._leader_epoch < 0
        self._leader_epoch = record.leader_epoch
        self.check_head()
        if first:
            return False
        self.gap = self.superseded_by = None
        return True

    def check_head(self) -> None:
        """Raises `LogDiverged` unless the head's record is still in the log with the head's seal."""
        if not self._ours():
            raise LogDiverged(
                "the record of the head is no longer in the log",
                sequence=self.head.sequence,
                offset=self.head.offset,
                hint=_ANOTHER_LOG,
            )

    def take(self, record: Record) -> Event | None:
        """The event, if it counts: the caller applies it, ``head`` is already behind it. None if it does not.

        Raises `CorruptEvent`, `UnsupportedEvent` and `LogDiverged`, with the record's offset; ``head`` then stands
        before the record.
        """
        try:
            event = self.codec.decode(record.value)
            verdict = judge(self.head, event, self._ours)
            if verdict is not Verdict.APPLY:
                self.check_head()
        except Halted as error:
            error.offset = record.offset
            raise
        if verdict is Verdict.ACCEPT or (verdict is Verdict.APPLY and self.gap is None):
            self.gap = None
            self.head = self.head.after(event, record.offset)
            return event
        self._skip(event, verdict, record)
        return None

    def _ours(self) -> bool:
        return carries_head(self.log, self.head) or self.begins_behind()

    def begins_behind(self) -> bool:
        """Whether the log begins right behind the head, with an event that goes on from it: the head's own record was
        trimmed, and nothing stood between. Costs a read or two. Raises `LogUnavailable`."""
        if self.log.bounds().start != self.head.next_offset:
            return False
        record = self.log.record_at(self.head.next_offset)
        try:
            return record is not None and goes_on(self.codec.decode(record.value), self.head)
        except Halted:
            return False

    def _skip(self, event: Event, verdict: Verdict, record: Record) -> None:
        if verdict is Verdict.REDELIVERED:
            self.skipped.redelivered += 1
        elif verdict is Verdict.VOID:
            self.skipped.void += 1
            if isinstance(event, WriterOpened) and event.epoch > self.head.epoch:
                self.superseded_by = event
        else:
            self.skipped.held += 1
            if self.gap is None:
                self.gap = LogGap(
                    f"sequence {self.head.sequence + 1} is missing: {event.kind} of epoch {event.epoch} takes"
                    f" {event.sequence}",
                    sequence=self.head.sequence,
                    offset=record.offset,
                    hint="a writer lost a send and ended; once the group is opened for writing again, the site goes on",
                )


def follow(reader: Reader, until: int, follower: Follower, timeout: float) -> Iterator[tuple[Event, int]]:
    """The events that count before offset ``until``, with their offsets; read again from the head where a new leader
    may have truncated what was read. Raises what `Follower` and `Reader.records` do."""
    restarted = True
    while restarted:
        restarted = False
        for record in reader.records(until, timeout):
            if follower.leader_changed(record):
                reader.seek(follower.head.next_offset)
                restarted = True
                break
            event = follower.take(record)
            if event is not None:
                yield event, record.offset
