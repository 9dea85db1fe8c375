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


def live_presence(
    keyspace: Keyspace, keys: Keys, volume: VolumeInfo, first: int, end: int, generations: Generations
) -> Presence:
    """See `Store.presence`."""
    named = _cut(_named(keyspace, keys, volume, first, end, seen=generations))
    blocks = [named.base + block for block in named.blocks.blocks()]
    if not blocks:
        return Presence(named.end, [], named.head)
    key_of = keys.block_format(volume.id)
    commands = _FIRST_BYTE.commands([key_of % block for block in blocks])
    position, rebuild, *replies = keyspace.transact([(b"GET", keys.position), (b"GET", keys.rebuild), *commands])
    check_good(rebuild)
    present(position)  # without one, an erase may have taken some of the blocks
    found = zip(blocks, _FIRST_BYTE.contents(replies), strict=True)
    return Presence(named.end, _runs(block for block, there in found if there is not None), named.head)


def copied_presence(
    keyspace: Keyspace, keys: Keys, volume: VolumeInfo, copy: Copy, first: int, end: int, generations: Generations
) -> Presence:
    """The same of a volume in a copy."""
    named = _cut(_named(keyspace, keys, volume, first, end, seen=generations))
    reader = CopyReader(keyspace, keys, volume, copy, fetch=_FIRST_BYTE, generations=generations)
    return Presence(named.end, _runs(sorted(reader.blocks(named.base, named.blocks))), copy.head)


def cloned_presence(keyspace: Keyspace, keys: Keys, clone: Clone, volume: VolumeInfo, first: int, end: int) -> Presence:
    """The same of a volume in a clone."""
    named = _cut(_named(keyspace, keys, volume, first, end, clone))
    reader = CloneReader(keyspace, keys, clone, volume, fetch=_FIRST_BYTE)
    return Presence(named.end, _runs(sorted(reader.blocks(named.base, named.blocks))), clone.image.head)


def spans_named(
    keyspace: Keyspace,
    keys: Keys,
    volume: VolumeInfo,
    first: int,
    end: int,
    clone: Clone | None = None,
    generations: Generations | None = None,
) -> NamedSpans:
    """See `Store.named`; in ``clone`` also what was written there."""
    named = _named(keyspace, keys, volume, first, end, clone, generations)
    spans = [(named.base + low, named.base + high) for low, high in named.blocks.spans()]
    return NamedSpans(named.end, spans, named.head)


def _named(
    keyspace: Keyspace,
    keys: Keys,
    volume: VolumeInfo,
    first: int,
    end: int,
    clone: Clone | None = None,
    seen: Generations | None = None,
) -> _Named:
    """What any generation names, whatever history it is of, and ``clone``: more than is asked for, never less."""
    seen = seen or Generations()
    generations = _with_newest(seen.since(0) or [])
    for _ in range(READ_TRIES):
        end = min(end, first + min(SPAN_BLOCKS_MAX, 8 * READ_BYTES_MAX // len(generations)))
        low, high = byte_range(first, end)
        span = b"%d" % low, b"%d" % (high - 1)
        commands: list[Command] = [(b"GET", keys.position), (b"GET", keys.rebuild), (b"HKEYS", keys.copies)]
        if clone is not None:
            commands += [(b"GET", keys.clone(clone.id)), (b"GETRANGE", keys.clone_bitmap(clone.id, volume.id), *span)]
        commands += [(b"GETRANGE", keys.bitmap(generation, volume.id), *span) for generation in generations]
        position, rebuild, names, *bitmaps = keyspace.transact(commands)
        check_good(rebuild)
        head = decode_position(present(position)).head
        if clone is not None:
            check_live(clone, bitmaps.pop(0))
        now = _with_newest(seen.look(cast("list[bytes]", names), 0))
        if now == generations:
            union = ChangeBitmap()
            for bitmap in bitmaps:
                union.merge(ChangeBitmap(cast("bytes", bitmap)))
            union.discard_range(0, first - low * 8)
            union.discard_range(end - low * 8, len(union.bits) * 8)
            return _Named(low * 8, union, end, head)
        generations = now
    raise StoreUnavailable("copies come and go faster than their bitmaps can be read")


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
