"""Reading one's own writes before a site has applied them.

The overlay keeps what the session wrote lately. A read takes a site's data at some sequence and lays over it, in order,
every own write after that sequence; as there is one writer, the result is what the volume holds.
"""

import threading
from collections import deque
from itertools import islice
from typing import NamedTuple

from tidelog.producers.batch import OpenBatch

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


class Overlay:
    """Own writes after sequence ``floor``, at most about ``capacity`` bytes of them. Thread-safe.

    Writes are indexed only when somebody reads, so that a session that only writes pays nothing for it.
    """

    def __init__(self, floor: int, capacity: int) -> None:
        self.floor = floor
        self._capacity = capacity
        self._size = 0
        self._lock = threading.RLock()
        self._recent: deque[tuple[int, int, OpenBatch | tuple[int, Patch]]] = deque()  # last sequence, bytes, what
        self._indexed = 0  # how many of `_recent`, from the left, are in `_pages`
        self._pages: dict[tuple[int, int], list[Patch]] = {}
        self._long: dict[int, list[Patch]] = {}

    def add_batch(self, batch: OpenBatch) -> None:
        """A closed batch; its lists no longer change."""
        count = len(batch.writes)
        self._add(batch.sequence + count - 1, batch.size + 128 * count, batch)

    def add_zeros(self, volume: int, sequence: int, offset: int, length: int) -> None:
        """A discard, or what a shrink cuts off."""
        self._add(sequence, 256, (volume, Patch(sequence, offset, length, None)))

    def prune(self, applied: int) -> None:
        """Forgets what a site has applied up to sequence ``applied``."""
        with self._lock:
            while self._recent and self._recent[0][0] <= applied:
                self._drop_oldest()

    def patch(self, volume: int, offset: int, data: bytearray, after: int, unsent: OpenBatch) -> bool:
        """Lays every own write after sequence ``after`` over ``data``, which begins at byte ``offset``; last those of
        the batch that is still ``unsent``. False, and nothing is changed, if ``after`` is below `floor`.

        The session's lock is held, so that ``unsent`` stays as it is.
        """
        end = offset + len(data)
        with self._lock:
            if after < self.floor:
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
