"""Trimming an extent of a live volume by events that name little of it; and one of a clone.

A block that no event has ever named is zeros, and naming it costs: the next copy's digest asks for it, as does each
look for holes. So a site is asked, without the order, what events up to its position have named, and the session, under
the order, what its own have since. A site that does not tell fails no trim: then all of the extent is named. Only a
trim goes by this: a client that writes zeroes is promised them at every site, whatever one site's bitmaps have lost.
"""

import math
import time
from collections.abc import Iterable
from typing import NamedTuple

from tidelog.errors import TidelogError
from tidelog.gateways.nbd.extents import block_range, parts
from tidelog.producers.group import Group
from tidelog.producers.session import WriterSession
from tidelog.producers.writing import Writing
from tidelog.schemas.events import Discard
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import GAP_BLOCKS
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.image import Store
from tidelog.stores.presence import NamedSpans

# Of fewer blocks a look costs more than naming them does: some 2 us each, of each site's next digest.
BLOCKS_MIN = 512
# Events of one trim, which holds the order for them: some 3 ms.
EVENTS_MAX = 64
# Own writes that a site has not applied: of more it takes too long to tell what they have named.
WRITES_MAX = 2048
# A site that has not told what was named, perhaps after many seconds, is not asked again for so long (seconds).
LOOK_AGAIN = 30.0
# What the session has done since a look it may no longer know, when a read has seen the site go on: then look again.
LOOKS_MAX = 3


class Seen(NamedTuple):
    """What events up to sequence ``last`` have named of an extent: nothing but ``spans`` (from, and up to; bytes)."""

    spans: list[tuple[int, int]]
    last: int


class Looks:
    """The looks at one site's store, by all connections of a server: what one of them has waited for in vain, none does
    for a while."""

    def __init__(self) -> None:
        self._again = -math.inf

    def look(self, group: Group, info: VolumeInfo, store: Store, offset: int, length: int) -> Seen | None:
        """What has been named of an extent; None if that cannot be told, or is not worth it. Waits for the site."""
        session, (first, end) = group.session, block_range(info, offset, length)
        # Sequences of a sidefile are not yet those of the log.
        if not isinstance(session, WriterSession) or end - first < BLOCKS_MIN or time.monotonic() < self._again:
            return None
        try:
            for _ in range(LOOKS_MAX):
                seen = _look(session, info, store, offset, length)
                if seen is not None:
                    return seen
        except TidelogError:  # a session that has ended says so when it is trimmed
            self._again = time.monotonic() + LOOK_AGAIN
        return None


def _look(session: WriterSession, info: VolumeInfo, store: Store, offset: int, length: int) -> Seen | None:
    first, end = block_range(info, offset, length)
    spans: list[tuple[int, int]] = []
    last = None
    while first < end:
        found = store.named(info, first, end)
        # A site that has come to an event of this very session has applied all those before it, and no others.
        if found.head.writer != session.writer:
            return None
        last = found.head.sequence if last is None else min(last, found.head.sequence)
        early = session.overlay.named(last, {info.id}, WRITES_MAX)  # most of it, while writers go on
        if early is None:
            return None
        spans = _parts([*spans, *_bytes(found, info)], early.extents, info, offset, length)
        first, last = found.end, early.last
    return None if last is None else Seen(spans, last)


def trim(session: Writing, info: VolumeInfo, seen: Seen | None, offset: int, length: int) -> None:
    """Makes an extent that the volume has zeros; for who holds the order. Raises as `WriterSession.emit`. Nothing goes
    into the log where nothing was named: a session that is fenced, and does not know it yet, is not told so by that."""
    late = None if seen is None else session.named(seen.last, {info.id}, WRITES_MAX)
    if seen is None or late is None:
        wanted = [(offset, offset + length)]
    else:
        wanted = _parts(seen.spans, late.extents, info, offset, length)
    for start, stop in wanted:
        session.emit(Discard, volume=info.id, offset=start, length=stop - start)


def trim_in_clone(image: CloneImage, info: VolumeInfo, offset: int, length: int) -> None:
    """Makes an extent of a volume in a clone zeros, in order. What is written meanwhile may stay. Raises as
    `CloneImage.discard`."""
    first, end = block_range(info, offset, length)
    while first < end:
        found = image.named(info, first, end)
        for start, stop in _parts(_bytes(found, info), (), info, offset, length):
            image.discard(info, start, stop - start)
        first = found.end


def _bytes(found: NamedSpans, info: VolumeInfo) -> list[tuple[int, int]]:
    return [(low * info.block_size, high * info.block_size) for low, high in found.spans]


def _parts(
    spans: list[tuple[int, int]], own: Iterable[tuple[int, int, int]], info: VolumeInfo, offset: int, length: int
) -> list[tuple[int, int]]:
    size = info.block_size
    named = [(start // size * size, -(-(start + count) // size) * size) for _, start, count in own]
    return parts([*spans, *named], offset, offset + length, GAP_BLOCKS * size, EVENTS_MAX)
