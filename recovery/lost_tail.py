"""What a region wrote that the others never got: the events of its log behind the one at which it was sealed. The topic
is kept, so that they can be read for as long as anybody wants."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tidelog.producers.follower import Follower, follow
from tidelog.producers.log import Log
from tidelog.recovery.region_seal import READ_TIMEOUT
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Event, Heartbeat, Marker, WriteBatch
from tidelog.schemas.mirrors import is_sealing


@dataclass(slots=True)
class LostTail:
    """Summed up. ``since`` is the last event that both have, ``until`` the last that is lost; equal if nothing is.
    ``events`` leaves out heartbeats; ``writes`` and ``bytes`` are those of the volumes; ``copies`` are the names that
    markers have."""

    since: Head
    until: Head
    events: int = 0
    writes: int = 0
    bytes: int = 0
    copies: list[str] = field(default_factory=list)

    @property
    def sequences(self) -> tuple[int, int]:
        """The first and the last; the first is the greater if nothing is lost."""
        return self.since.sequence + 1, self.until.sequence


def lost_events(log: Log, codec: Codec, since: Head) -> Iterator[tuple[Event, Head]]:
    """Every event that counts behind ``since`` up to the log's end as it is now, but for what seals the log, with the
    head that it makes. Raises what `Follower.take` does, `LogUnavailable`."""
    follower = Follower(log, codec, since)
    reader = log.reader(max(since.next_offset, log.bounds().start))
    try:
        for event, _ in follow(reader, log.bounds().end, follower, READ_TIMEOUT):
            if not is_sealing(event):
                yield event, follower.head
    finally:
        reader.close()


def sum_up(log: Log, codec: Codec, since: Head) -> LostTail:
    """What stands in the log behind that event. Raises as `lost_events`."""
    found = LostTail(since, since)
    for event, head in lost_events(log, codec, since):
        found.until = head
        found.events += not isinstance(event, Heartbeat)
        if isinstance(event, WriteBatch):
            found.writes += len(event.lengths)
            found.bytes += len(event.data)
        elif isinstance(event, Marker):
            found.copies.append(event.name)
    return found
