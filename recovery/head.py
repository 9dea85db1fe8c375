"""The newest events of a log: the head that counts, and whether a writer is alive."""

from collections.abc import Iterator
from typing import NamedTuple

from tidelog.errors import CorruptEvent, Halted
from tidelog.producers.control import ControlView
from tidelog.producers.follower import Follower, follow
from tidelog.producers.log import Log, Record
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated, SiteStatus
from tidelog.schemas.events import Event, Heartbeat

FOLD_TIMEOUT = 30.0
# How far back the newest readable record is looked for: what is no event may stand behind it.
TAIL_RECORDS = 32
# So many heartbeats of an idle session are passed over in one look; some five hours of them, by default.
IDLE_RECORDS = 20_000


def find_head(log: Log, codec: Codec, record: GroupCreated, view: ControlView) -> Head:
    """The last event that counts, by the verdict table, in the log as it ends now.

    The last *record* may be void, so the log is folded: from the newest position that a site has reported and whose
    record is still in the log, else from the beginning. Raises what `Follower.take` does, `LogUnavailable`.
    """
    follower = Follower(log, codec, _reported_head(log, codec, record, view) or origin(record.group_id))
    end = log.bounds().end
    reader = log.reader(max(follower.head.next_offset, log.bounds().start))
    try:
        for _ in follow(reader, end, follower, FOLD_TIMEOUT):
            pass
    finally:
        reader.close()
    return follower.head


def tail(log: Log, codec: Codec, count: int = TAIL_RECORDS) -> list[Event]:
    """The events among the last ``count`` offsets, in log order, counting or not; what is no event is left out."""
    bounds = log.bounds()
    reader = log.reader(max(bounds.start, bounds.end - count))
    try:
        found = [_decoded(codec, record) for record in reader.records(bounds.end, FOLD_TIMEOUT)]
    finally:
        reader.close()
    return [event for event in found if event is not None]


def newest_event(log: Log, codec: Codec, epoch: int = 0) -> Event | None:
    """The last event of the log that is of ``epoch`` or a later one, among the last few offsets; None if there is none.

    One look-up as a rule. With an epoch that a site has reported, what a fenced writer still sends is passed over.
    """
    return next((event for event in events_back(log, codec) if event.epoch >= epoch), None)


def events_back(log: Log, codec: Codec) -> Iterator[Event]:
    """The events among the last few offsets, the newest first, one look-up each; what is no event is left out."""
    bounds = log.bounds()
    for offset in range(bounds.end - 1, max(bounds.start, bounds.end - TAIL_RECORDS) - 1, -1):
        record = log.record_at(offset)
        event = _decoded(codec, record) if record is not None else None
        if event is not None:
            yield event


class FirstChange(NamedTuple):
    """The first change behind a position, if there is one before offset ``end``, where the next look goes on. If not
    the ``whole`` log was looked at, and it was none, the last heartbeat before it, behind which any change must be."""

    event: Event | None
    end: int
    whole: bool


def first_change(log: Log, codec: Codec, status: SiteStatus, from_offset: int) -> FirstChange:
    """The first event behind a reported position that counts there, as far as its epoch and sequence tell, and is no
    heartbeat, looked for from an offset behind that position in at most `IDLE_RECORDS`."""
    bounds, idle = log.bounds(), None
    first = max(bounds.start, from_offset)
    end = min(bounds.end, first + IDLE_RECORDS)
    for record in _records(log, first, end):
        event = _decoded(codec, record)
        if event is None or event.epoch < status.epoch or event.last_sequence <= status.sequence:
            continue
        if not isinstance(event, Heartbeat):
            return FirstChange(event, record.offset, True)
        idle = event
    return FirstChange(None, end, True) if end == bounds.end else FirstChange(idle, end, False)


def _records(log: Log, first: int, end: int) -> Iterator[Record]:
    """A few by one look-up each, since the first one is a change as a rule; many of an idle time at once."""
    few = min(end, first + TAIL_RECORDS)
    for offset in range(first, few):
        record = log.record_at(offset)
        if record is not None:
            yield record
    if few < end:
        reader = log.reader(few)
        try:
            yield from reader.records(end, FOLD_TIMEOUT)
        finally:
            reader.close()


def _reported_head(log: Log, codec: Codec, record: GroupCreated, view: ControlView) -> Head | None:
    """The newest position that a site has reported, if its record is in the log with the same seal."""
    reports = [
        status
        for status in view.values()
        if isinstance(status, SiteStatus) and status.group == record.group and status.sequence > 0
    ]
    for status in sorted(reports, key=lambda status: status.sequence, reverse=True):
        found = log.record_at(status.offset)
        event = _decoded(codec, found) if found is not None else None
        if event is not None and event.seal == status.seal:
            return Head(event.last_sequence, event.seal, event.epoch, event.writer, event.timestamp_us, status.offset)
    return None


def _decoded(codec: Codec, record: Record) -> Event | None:
    try:
        return codec.decode(record.value)
    except Halted:
        return None


def first_event(log: Log, codec: Codec) -> Event | None:
    """The event of the oldest record that is there; None if the log is empty. Raises `CorruptEvent` if it is none."""
    bounds = log.bounds()
    reader = log.reader(bounds.start)
    try:
        for record in reader.records(bounds.end, FOLD_TIMEOUT):
            try:
                return codec.decode(record.value)
            except CorruptEvent as error:
                error.offset = record.offset
                raise
    finally:
        reader.close()
    return None
