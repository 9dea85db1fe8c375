"""Where an export has data and where holes: from what its store knows, and what was written since. Pure."""

from collections.abc import Iterable, Iterator

from tidelog.gateways.nbd.wire import EXTENTS_MAX, Extent
from tidelog.stores.presence import Presence


def extents(
    presence: Presence, block_size: int, offset: int, length: int, written: Iterable[tuple[int, int]] = ()
) -> list[Extent]:
    """Of the bytes from ``offset``, ``length`` of them or as many as were looked at and one reply takes: data where
    the store has blocks with content, and where something was ``written`` since, as (offset, length); else holes."""
    end = min(offset + length, presence.end * block_size)
    spans = [(first * block_size, last * block_size) for first, last in presence.runs]
    spans += [(start, start + count) for start, count in written]
    found: list[Extent] = []
    at = offset
    for start, stop in _joined(spans):
        start, stop = max(start, at), min(stop, end)
        if start >= stop:
            continue
        if start > at:
            found.append(Extent(start - at, hole=True))
        found.append(Extent(stop - start, hole=False))
        at = stop
        if len(found) >= EXTENTS_MAX:
            return found
    if at < end:
        found.append(Extent(end - at, hole=True))
    return found


def _joined(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """In order; those that touch as one."""
    start = stop = -1
    for low, high in sorted(spans):
        if low > stop:
            if stop > start:
                yield start, stop
            start, stop = low, high
        stop = max(stop, high)
    if stop > start:
        yield start, stop
