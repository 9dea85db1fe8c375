"""Where an export has data and where holes, or what of it has to be zeroed: from what its store knows, and what was
written since. Pure."""

from collections.abc import Iterable, Iterator
from heapq import nlargest
from itertools import pairwise

from tidelog.gateways.nbd.wire import EXTENTS_MAX, Extent
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.presence import Presence


def block_range(info: VolumeInfo, offset: int, length: int) -> tuple[int, int]:
    """The first block of an extent, and the one behind its last."""
    return offset // info.block_size, -(-(offset + length) // info.block_size)


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


def parts(spans: Iterable[tuple[int, int]], start: int, end: int, gap: int, most: int) -> list[tuple[int, int]]:
    """At most ``most`` parts of the bytes ``start`` to ``end`` - 1, in order, that hold what the ``spans`` (from, and
    up to) have of them, with ``gap`` bytes or more between two. Where there would be more, the widest gaps stay."""
    held = [(max(low, start), min(high, end)) for low, high in _joined(spans) if low < end and high > start]
    widths = [(after - before, index) for index, ((_, before), (after, _)) in enumerate(pairwise(held), 1)]
    apart = sorted(index for width, index in nlargest(most - 1, widths) if width >= gap)
    cuts = [0, *apart, len(held)] if held else []
    return [(held[first][0], held[last - 1][1]) for first, last in pairwise(cuts)]


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
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
