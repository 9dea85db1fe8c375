"""Which blocks have content, without reading it: what a block device tells of its holes.

A block that no generation's bitmap names was never written; of the others the first byte is asked for, since what was
discarded is named, too. Who only wants to know what may have content at all is told of the bitmaps alone. A look goes
over a bounded number of blocks: who wants more asks again behind its end.
"""

from collections.abc import Iterable
from typing import NamedTuple, cast

from tidelog.errors import StoreUnavailable
from tidelog.schemas.chain import Head
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap, byte_range
from tidelog.stores.clone_reader import CloneReader, check_live
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.reading import READ_BYTES_MAX, CopyReader, Fetch, Generations, check_good
from tidelog.stores.records import decode_position
from tidelog.stores.state import READ_TRIES, present
from tidelog.stores.store import Clone, Copy

# 128 KiB of each generation's bitmap; of fewer blocks where that is more than one reader may ask for at once.
SPAN_BLOCKS_MAX = 1 << 20
# Some 30 ms.
NAMED_BLOCKS_MAX = 1 << 14

_FIRST_BYTE = Fetch(
    lambda keys: [(b"GETRANGE", key, b"0", b"0") for key in keys],
    lambda replies: [reply or None for reply in cast("list[bytes]", replies)],
)


class Presence(NamedTuple):
    """Of the blocks up to ``end`` - 1 those in ``runs`` (from, and up to; in order) have content, all others are zeros.
    Of a live volume that holds after the event at ``head``; what later events have changed may be in it, or not."""

    end: int
    runs: list[tuple[int, int]]
    head: Head


class NamedSpans(NamedTuple):
    """Of the blocks up to ``end`` - 1 all that events up to ``head`` have named are in ``spans`` (from, and up to; in
    order), and some between them; all others are zeros, if ``head`` is one of the log's."""

    end: int
    spans: list[tuple[int, int]]
    head: Head


class _Named(NamedTuple):
    """The blocks of a span that events have named; ``base``, a multiple of 8, is block 0 of the bitmap."""

    base: int
    blocks: ChangeBitmap
    end: int
    head: Head


class Bitmaps:
    """A store's, of all generations; with ``clone`` the clone's own, too. ``generations`` spares who looks often the
    question which there are."""

    def __init__(
        self, keyspace: Keyspace, keys: Keys, generations: Generations | None = None, clone: Clone | None = None
    ) -> None:
        self._keyspace, self._keys, self._clone = keyspace, keys, clone
        self._generations = generations or Generations()

    def live(self, volume: VolumeInfo, first: int, end: int) -> Presence:
        """See `Store.presence`."""
        named = _cut(self._named(volume, first, end))
        blocks = [named.base + block for block in named.blocks.blocks()]
        if not blocks:
            return Presence(named.end, [], named.head)
        key_of = self._keys.block_format(volume.id)
        commands = _FIRST_BYTE.commands([key_of % block for block in blocks])
        standing: list[Command] = [(b"GET", self._keys.position), (b"GET", self._keys.rebuild)]
        position, rebuild, *replies = self._keyspace.transact([*standing, *commands])
        check_good(rebuild)
        present(position)  # without one, an erase may have taken some of the blocks
        found = zip(blocks, _FIRST_BYTE.contents(replies), strict=True)
        return Presence(named.end, _runs(block for block, there in found if there is not None), named.head)

    def copied(self, volume: VolumeInfo, copy: Copy, first: int, end: int) -> Presence:
        """The same of a volume in a copy."""
        named = _cut(self._named(volume, first, end))
        reader = CopyReader(self._keyspace, self._keys, volume, copy, fetch=_FIRST_BYTE, generations=self._generations)
        return Presence(named.end, _runs(sorted(reader.blocks(named.base, named.blocks))), copy.head)

    def cloned(self, volume: VolumeInfo, first: int, end: int) -> Presence:
        """The same of a volume in the clone."""
        assert self._clone is not None
        named = _cut(self._named(volume, first, end))
        reader = CloneReader(self._keyspace, self._keys, self._clone, volume, fetch=_FIRST_BYTE)
        return Presence(named.end, _runs(sorted(reader.blocks(named.base, named.blocks))), self._clone.image.head)

    def spans(self, volume: VolumeInfo, first: int, end: int) -> NamedSpans:
        """See `Store.named`."""
        named = self._named(volume, first, end)
        spans = [(named.base + low, named.base + high) for low, high in named.blocks.spans()]
        return NamedSpans(named.end, spans, named.head)

    def _named(self, volume: VolumeInfo, first: int, end: int) -> _Named:
        """What any of them names, whatever history it is of: more than is asked for, never less."""
        keys, clone = self._keys, self._clone
        generations = _with_newest(self._generations.since(0) or [])
        for _ in range(READ_TRIES):
            end = min(end, first + min(SPAN_BLOCKS_MAX, 8 * READ_BYTES_MAX // len(generations)))
            low, high = byte_range(first, end)
            span = b"%d" % low, b"%d" % (high - 1)
            commands: list[Command] = [(b"GET", keys.position), (b"GET", keys.rebuild), (b"HKEYS", keys.copies)]
            if clone is not None:
                bitmap = keys.clone_bitmap(clone.id, volume.id)
                commands += [(b"GET", keys.clone(clone.id)), (b"GETRANGE", bitmap, *span)]
            commands += [(b"GETRANGE", keys.bitmap(generation, volume.id), *span) for generation in generations]
            position, rebuild, names, *bitmaps = self._keyspace.transact(commands)
            check_good(rebuild)
            head = decode_position(present(position)).head
            if clone is not None:
                check_live(clone, bitmaps.pop(0))
            now = _with_newest(self._generations.look(cast("list[bytes]", names), 0))
            if now == generations:
                return _Named(low * 8, _union(bitmaps, first - low * 8, end - low * 8), end, head)
            generations = now
        raise StoreUnavailable("copies come and go faster than their bitmaps can be read")


def _union(bitmaps: Iterable[object], first: int, end: int) -> ChangeBitmap:
    """What any of them has of blocks ``first`` to ``end`` - 1."""
    union = ChangeBitmap()
    for bitmap in bitmaps:
        union.merge(ChangeBitmap(cast("bytes", bitmap)))
    union.discard_range(0, first)
    union.discard_range(end, len(union.bits) * 8)
    return union


def _with_newest(generations: list[int]) -> list[int]:
    """Before the first cut there is generation 0, which has no copy."""
    return generations if 0 in generations else [0, *generations]


def _cut(named: _Named) -> _Named:
    """As many blocks as one look asks for."""
    base, union, end, head = named
    if union.count > NAMED_BLOCKS_MAX:
        taken = ChangeBitmap(union.bits).take(NAMED_BLOCKS_MAX)
        end = base + taken[-1] + 1
        union.discard_range(end - base, len(union.bits) * 8)
    return _Named(base, union, end, head)


def _runs(blocks: Iterable[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for block in blocks:
        if runs and runs[-1][1] == block:
            runs[-1] = (runs[-1][0], block + 1)
        else:
            runs.append((block, block + 1))
    return runs
