"""The chain: which record of a log counts (DESIGN section 3, "One writer: the chain is a compare-and-append").

`judge` is the verdict table, row for row, as one pure function. It is the only place that decides; the reader at a
site, the fold of an opening session and the fence of a running one all call it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tidelog.errors import ROLLBACK, CorruptEvent, LogDiverged
from tidelog.schemas.codec import group_seal
from tidelog.schemas.events import Event, WriterOpened

NO_OFFSET = -1


@dataclass(frozen=True, slots=True)
class Head:
    """The last event that counted. ``offset`` is its record's; `NO_OFFSET` before the first event."""

    sequence: int
    seal: bytes
    epoch: int
    writer: bytes
    timestamp_us: int
    offset: int

    @property
    def next_offset(self) -> int:
        """Where reading goes on."""
        return self.offset + 1

    def after(self, event: Event, offset: int) -> "Head":
        """The head once ``event``, whose record is at ``offset``, counts."""
        return Head(event.last_sequence, event.seal, event.epoch, event.writer, event.timestamp_us, offset)


def origin(group_id: str) -> Head:
    """The head of a log in which nothing counts yet."""
    return Head(0, group_seal(group_id), 0, bytes(16), 0, NO_OFFSET)


class Verdict(StrEnum):
    """What to do with a record."""

    APPLY = "apply"
    ACCEPT = "accept"  # a new writer session: apply it, the epoch is now its own
    REDELIVERED = "redelivered"
    VOID = "void"
    GAP = "gap"  # an event before it is missing: hold, and go on reading until an ACCEPT


def judge(head: Head, event: Event, ours: Callable[[], bool]) -> Verdict:
    """The verdict on ``event``, the next record in log order after ``head``.

    ``ours`` tells whether the record at the head's offset still carries the head's seal; it costs a read, and is asked
    only by the rows that need it. Raises `CorruptEvent` (row 1) and `LogDiverged` (rows 3, 4, 6 and 8).
    """
    same_session = event.epoch == head.epoch and event.writer == head.writer
    extends = event.previous == head.seal and event.sequence == head.sequence + 1
    if same_session:
        if extends:  # row 2
            _check_time(head, event)
            return Verdict.APPLY
        if event.last_sequence <= head.sequence:  # row 3
            return Verdict.REDELIVERED
        if event.sequence <= head.sequence:
            raise _diverged(event, "straddles the head")
        if event.sequence > head.sequence + 1:  # row 7
            return Verdict.GAP
        raise _diverged(event, "does not follow the head's seal")  # row 8
    if event.epoch <= head.epoch:  # row 4
        if ours():
            return Verdict.VOID
        raise _diverged(event, "is of an earlier session, and the head's record is gone")
    if isinstance(event, WriterOpened):
        if extends:  # row 5
            _check_time(head, event)
            return Verdict.ACCEPT
        if event.sequence <= head.sequence + 1:  # row 6
            if ours():
                return Verdict.VOID
            raise _diverged(event, "opens a session on another history")
    return Verdict.GAP  # row 7


def _check_time(head: Head, event: Event) -> None:
    if event.first_timestamp_us <= head.timestamp_us:
        raise CorruptEvent(
            f"{event.kind} has timestamp {event.first_timestamp_us}, not above the {head.timestamp_us} before it",
            sequence=event.sequence,
            hint="its writer's clock is not monotone; the group must be opened for writing anew",
        )


def _diverged(event: Event, why: str) -> LogDiverged:
    return LogDiverged(
        f"{event.kind} of epoch {event.epoch} {why}",
        sequence=event.sequence,
        hint=f"this log is not the one that was applied here; roll the site back with: {ROLLBACK}",
    )
