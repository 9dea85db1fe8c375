"""Since when a site has applied changes that are in none of its copies: the third part of its RPO."""

from collections.abc import Iterable

from tidelog.errors import TidelogError
from tidelog.producers.log import Log
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import (
    Discard,
    Event,
    VolumeCopied,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
    WriteBatch,
)
from tidelog.stores.image import Store
from tidelog.stores.store import Copy

# What changes the volumes; nothing is lost with any other event.
_CHANGES = (WriteBatch, Discard, VolumeCopied, VolumeCreated, VolumeResized, VolumeDeleted)
# So many records behind a copy are looked through for the first change, when a worker begins; and for so long.
LOOK_RECORDS = 256
LOOK_TIMEOUT = 5.0


class Uncopied:
    """Follows one store: ``since_us`` is the time of the oldest change that none of its copies holds, 0 if each is in
    one. Where that time is not known any more it is that of a moment before: the newest copy's, or of the log's
    beginning.

    Made with the store as it is when a replica connects; told of each run of events that was submitted, and of each
    late copy, by the applying thread. ``since_us`` is for all; ``newest`` is the newest copy that it knows.
    """

    def __init__(self, store: Store, log: Log, codec: Codec) -> None:
        self._store, self._log, self._codec = store, log, codec
        self.newest = max(store.copies(), key=lambda copy: copy.sequence, default=None)
        self.since_us = _first_change_us(store, log, codec, self.newest)

    def took(self, events: Iterable[tuple[Event, int]], newest: Copy | None) -> None:
        """A run was submitted, and ``newest`` is the newest copy since."""
        before, self.newest = self.newest, newest
        if _sequence(newest) > _sequence(before):
            self.since_us = _oldest_us(events, _sequence(newest))
            return
        if _sequence(newest) < _sequence(before):
            self._took_back(newest)
        if not self.since_us:
            self.since_us = _oldest_us(events, 0)

    def made_late(self, newest: Copy | None) -> None:
        """A late copy was made. If it is the newest, what is behind it came in earlier runs: then its own time stands
        for the oldest of that. Reads the store."""
        before, self.newest = self.newest, newest
        if self.since_us and newest is not None and newest.sequence > _sequence(before):
            self.since_us = newest.timestamp_us if self._store.named_since(newest) else 0

    def _took_back(self, newest: Copy | None) -> None:
        """The newest copy was dropped: what only it held is in none now. With no copy left the log is looked at."""
        if newest is None:
            self.since_us = _first_change_us(self._store, self._log, self._codec, None)
        elif self.since_us or self._store.named_since(newest):
            self.since_us = min(newest.timestamp_us, self.since_us or newest.timestamp_us)


def _sequence(copy: Copy | None) -> int:
    return 0 if copy is None else copy.sequence


def _first_change_us(store: Store, log: Log, codec: Codec, copy: Copy | None) -> int:
    head = store.position().head
    if head.sequence == 0 or not store.named_since(copy):
        return 0
    after, known_us = (copy.sequence, copy.timestamp_us) if copy is not None else (0, 0)
    try:
        bounds = log.bounds()
        reader = log.reader(max(bounds.start, copy.offset if copy is not None else 0))
        try:
            count = min(bounds.end, reader.next_offset + LOOK_RECORDS)
            for record in reader.records(min(count, head.next_offset), LOOK_TIMEOUT):
                event = codec.decode(record.value)
                known_us = known_us or event.first_timestamp_us
                if (oldest := _oldest_us([(event, record.offset)], after)) > 0:
                    return oldest
        finally:
            reader.close()
    except TidelogError:
        pass  # what the log has against it, the replica meets itself
    return known_us or head.timestamp_us


def _oldest_us(events: Iterable[tuple[Event, int]], after: int) -> int:
    """The time of the first change behind sequence ``after``; 0 if there is none."""
    for event, _ in events:
        if event.last_sequence > after and isinstance(event, _CHANGES):
            if isinstance(event, WriteBatch):
                return event.timestamps_us[max(0, after - event.sequence + 1)]
            return event.timestamp_us
    return 0
