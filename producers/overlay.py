"""Reading one's own writes before a site has applied them.

The overlay keeps what the session wrote lately. A read takes a site's data at some sequence and lays over it, in order,
every own write after that sequence; as there is one writer, the result is what the volume holds.
"""

import math
import sys
import threading
from collections import deque
from collections.abc import Container
from itertools import islice, takewhile
from typing import NamedTuple

from tidelog.producers.batch import OpenBatch
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Discard, Event, VolumeCopied, VolumeResized, WriteBatch
from tidelog.schemas.volumes import VolumeTable

# Pages of the overlay's own index, not of the volumes.
_PAGE = 4096
# What spans more than this is not indexed by page but kept in a list of its own: a discard may span a whole volume.
_LONG = 256 * _PAGE
# Batches that are indexed before writers get a turn: some milliseconds of small writes.
_SLICE = 4


class Patch(NamedTuple):
    """``data`` at byte ``offset`` of a volume; None stands for ``length`` zeros."""

    sequence: int
    offset: int
    length: int
    data: bytes | None


class Named(NamedTuple):
    """Extents that own events name, (volume, offset, length) in bytes, and the sequence of the last event looked at."""

    extents: list[tuple[int, int, int]]
    last: int


class Overlay:
    """Own writes of a session after sequence ``floor``, at most about ``capacity`` bytes of them. Thread-safe.

    Of a copy onto a volume it keeps no data: until a site has applied the last one, ``copied``, nobody but the site
    knows what the target holds, or which blocks differ.

    Writes are indexed only when somebody reads, so that a session that only writes pays nothing for it.
    """

    def __init__(self, opened: Head, capacity: int) -> None:
        self.floor = self.copied = opened.sequence
        self._opened = opened
        self.writers = {opened.writer}  # whose events come behind the opening in the log
        self._copies: dict[int, int] = {}  # target -> sequence of the last copy onto it
        self.prune_limit = sys.maxsize  # what is younger is not forgotten because a site has applied it
        self._capacity = capacity
        self._size = 0
        self._lock = threading.RLock()
        self._recent: deque[tuple[int, int, OpenBatch | tuple[int, Patch]]] = deque()  # last sequence, bytes, what
        self._indexed = 0  # how many of `_recent`, from the left, are in `_pages`
        self._pages: dict[tuple[int, int], list[Patch]] = {}
        self._long: dict[int, list[Patch]] = {}

    def add(self, event: Event, batch: OpenBatch, volumes: VolumeTable) -> None:
        """What a read of one's own writes must see of an event before a site has applied it. ``batch`` is what a
        ``WriteBatch`` was made of, ``volumes`` the table before the event."""
        if isinstance(event, WriteBatch):
            self.add_batch(batch)
        elif isinstance(event, Discard):
            self.add_zeros(event.volume, event.sequence, event.offset, event.length)
        elif isinstance(event, VolumeResized):
            before = volumes.get(event.volume)
            if before is not None and event.size < before.size:
                self.add_zeros(event.volume, event.sequence, event.size, before.size - event.size)
        elif isinstance(event, VolumeCopied):
            self.add_copy(event.target, event.sequence)

    def add_batch(self, batch: OpenBatch) -> None:
        """A closed batch; its lists no longer change."""
        count = len(batch.writes)
        self._add(batch.sequence + count - 1, batch.size + 128 * count, batch)

    def add_zeros(self, volume: int, sequence: int, offset: int, length: int) -> None:
        """A discard, or what a shrink cuts off."""
        self._add(sequence, 256, (volume, Patch(sequence, offset, length, None)))

    def add_copy(self, target: int, sequence: int) -> None:
        """A copy onto a volume."""
        with self._lock:
            self._copies[target] = self.copied = sequence

    def vouches(self, head: Head) -> bool:
        """Whether a site that stands at ``head`` is behind the opening, or has come to an event of this session's own:
        then it has applied all those before it, and no others. Else it has applied another history, or that of a
        session which has fenced this one."""
        return head.sequence < self._opened.sequence or head.writer in self.writers

    def needs(self, volume: int) -> int:
        """The sequence that a site must have applied before own writes laid over its data make the volume."""
        return max(self.floor, self._copies.get(volume, 0))

    def named(self, after: int, volumes: Container[int], most: float = math.inf) -> Named | None:
        """The extents of ``volumes`` that own events after sequence ``after`` name, unsent writes left out. None if
        some of those events are forgotten, or are copies onto volumes, or if they are more than ``most`` writes."""
        with self._lock:
            if after < max(self.floor, self.copied):
                return None
            recent = list(takewhile(lambda one: one[0] > after, reversed(self._recent)))  # no elder ones are looked at
        if sum(len(what.writes) if isinstance(what, OpenBatch) else 1 for _, _, what in recent) > most:
            return None
        patches = ((volume, patch) for _, _, what in recent for volume, patch in _patches(what) if volume in volumes)
        extents = [(volume, patch.offset, patch.length) for volume, patch in patches]
        return Named(extents, recent[0][0] if recent else after)

    def prune(self, applied: int) -> None:
        """Forgets what a site has applied up to sequence ``applied``."""
        applied = min(applied, self.prune_limit)
        with self._lock:
            while self._recent and self._recent[0][0] <= applied:
                self._drop_oldest()

    def patch(self, volume: int, offset: int, data: bytearray, after: int, unsent: OpenBatch) -> bool:
        """Lays every own write after sequence ``after`` over ``data``, which begins at byte ``offset``; last those of
        the batch that is still ``unsent``. False, and nothing is changed, if ``after`` is below `needs`.

        The session's lock is held, so that ``unsent`` stays as it is.
        """
        end = offset + len(data)
        with self._lock:
            if after < self.needs(volume):
                return False
            self._index(len(self._recent))
            found = {patch.sequence: patch for patch in self._long.get(volume, ())}
            if self._pages:
                for page in range(offset // _PAGE, (end - 1) // _PAGE + 1):
                    found.update((patch.sequence, patch) for patch in self._pages.get((volume, page), ()))
        for sequence in sorted(found):
            if sequence > after:
                _lay(found[sequence], offset, data)
        for written, start, content, _ in unsent.writes:
            if written == volume and start < end:
                _lay(Patch(0, start, len(content), content), offset, data)
        return True

    def _add(self, last: int, size: int, what: OpenBatch | tuple[int, Patch]) -> None:
        with self._lock:
            self._recent.append((last, size, what))
            self._size += size
            while self._size > self._capacity and len(self._recent) > 1:
                self._drop_oldest()

    def index(self) -> None:
        """Makes ready what came since the last read, a slice at a time, so that writers need not wait for all of it."""
        unready = True
        while unready:
            with self._lock:
                unready = self._index(_SLICE)

    def _index(self, most: int) -> bool:
        """Indexes up to ``most`` more; whether any are left."""
        stop = min(len(self._recent), self._indexed + most)
        for _, _, what in islice(self._recent, self._indexed, stop):
            for volume, patch in _patches(what):
                if patch.length > _LONG:
                    self._long.setdefault(volume, []).append(patch)
                    continue
                for page in _pages(patch):
                    self._pages.setdefault((volume, page), []).append(patch)
        self._indexed = stop
        return stop < len(self._recent)

    def _drop_oldest(self) -> None:
        last, size, what = self._recent.popleft()
        self.floor = last
        self._size -= size
        if not self._indexed:
            return
        self._indexed -= 1
        for volume, patch in _patches(what):
            if patch.length > _LONG:
                self._long[volume].remove(patch)
                continue
            for page in _pages(patch):
                left = self._pages[volume, page]
                left.remove(patch)
                if not left:
                    del self._pages[volume, page]


def _lay(patch: Patch, offset: int, data: bytearray) -> None:
    start, stop = max(patch.offset, offset), min(patch.offset + patch.length, offset + len(data))
    if start < stop:
        new = bytes(stop - start) if patch.data is None else patch.data[start - patch.offset : stop - patch.offset]
        data[start - offset : stop - offset] = new


def _pages(patch: Patch) -> range:
    return range(patch.offset // _PAGE, (patch.offset + patch.length - 1) // _PAGE + 1)


def _patches(what: OpenBatch | tuple[int, Patch]) -> list[tuple[int, Patch]]:
    if not isinstance(what, OpenBatch):
        return [what]
    return [
        (volume, Patch(what.sequence + index, offset, len(data), data))
        for index, (volume, offset, data, _) in enumerate(what.writes)
    ]
