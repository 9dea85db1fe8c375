"""What of a site's history a log has: found by sequence and seal among the events that count, never by offset.

The log may have been cut back, made anew or copied to another cluster, so no offset means anything. It is folded by the
verdict table, from its first event; where that was trimmed, from the first record that is an event of the site's own
and that nothing before it contradicts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tidelog.errors import Halted
from tidelog.producers.follower import Follower, follow
from tidelog.producers.log import Log
from tidelog.recovery.head import FOLD_TIMEOUT
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Event, VolumeCopied

# Of an event: the sequence that it ends with, and its seal.
Identity = tuple[int, bytes]


@dataclass(slots=True)
class CommonHistory:
    """``heads`` are those of the wanted events that count in the log, ``end`` is the log's own. ``common`` is the
    newest event that is known to be in both: one of the heads, or a later one of the very session that the site's head
    is of, which sends each sequence once; None if there is none. ``sources`` are the copies that volumes are copied
    from, each with the sequence of the event that needs it."""

    heads: dict[Identity, Head] = field(default_factory=dict)
    sources: list[tuple[int, Identity]] = field(default_factory=list)
    common: Head | None = None
    end: Head | None = None


def find_common(log: Log, codec: Codec, group_id: str, position: Head, wanted: set[Identity]) -> CommonHistory:
    """Folds the log to its end as it is now. Raises what `Follower.take` does, `LogUnavailable`."""
    found = CommonHistory()
    start = _start(log, codec, group_id, wanted | {(position.sequence, position.seal)})
    if start is None:
        return found
    follower = Follower(log, codec, start)
    _note(found, start, position, wanted)
    reader = log.reader(max(start.next_offset, log.bounds().start))
    try:
        for event, _ in follow(reader, log.bounds().end, follower, FOLD_TIMEOUT):
            _note(found, follower.head, position, wanted)
            if isinstance(event, VolumeCopied) and event.source_copy_sequence:
                source = event.source_copy_sequence, event.source_copy_seal
                found.sources.append((event.sequence, source))
    finally:
        reader.close()
    found.end = follower.head
    return found


def _note(found: CommonHistory, head: Head, position: Head, wanted: set[Identity]) -> None:
    identity = head.sequence, head.seal
    known = identity in wanted or identity == (position.sequence, position.seal)
    if known:
        found.heads[identity] = head
    same_session = (head.epoch, head.writer) == (position.epoch, position.writer)
    if head.sequence and (known or (same_session and head.sequence <= position.sequence)):
        found.common = head


def _start(log: Log, codec: Codec, group_id: str, wanted: set[Identity]) -> Head | None:
    """Where the fold begins; None if nothing in the log is known."""
    newest = (0, bytes(16))  # epoch and writer of what stood before
    for index, (event, offset) in enumerate(_events(log, codec)):
        if not index and event.sequence == 1:
            return origin(group_id)
        session = event.epoch, event.writer
        if (event.last_sequence, event.seal) in wanted and (event.epoch > newest[0] or session == newest):
            return Head(event.last_sequence, event.seal, event.epoch, event.writer, event.timestamp_us, offset)
        if event.epoch > newest[0]:
            newest = session
    return origin(group_id) if log.bounds().start == log.bounds().end else None


def _events(log: Log, codec: Codec) -> Iterator[tuple[Event, int]]:
    """Every record that is an event, in log order, counting or not."""
    reader = log.reader(log.bounds().start)
    try:
        for record in reader.records(log.bounds().end, FOLD_TIMEOUT):
            try:
                event = codec.decode(record.value)
            except Halted:
                continue
            yield event, record.offset
    finally:
        reader.close()
