"""Where the same copy differs between two stores: sums over ranges of blocks, narrowed down to the blocks.

A volume's digest is a sum over its blocks (`tidelog.stores.digest`), so what a range adds to it is a sum as well: two
stores compare a few thousand sums in place of the blocks, each store read once and both at the same time. Only ranges
that sum up to something else are read again.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap, byte_range
from tidelog.stores.contents import WINDOW_BYTES, CopyContents
from tidelog.stores.digest import DIGEST_SIZE, block_digest
from tidelog.stores.named import windows
from tidelog.stores.placing import placed

# Ranges whose sums are compared at once, and the blocks of the smallest range; multiples of 8. A volume of up to 2^22
# blocks takes one step, any larger one two or three.
RANGES_MAX = 4096
RANGE_BLOCKS = 1024

# Told of the bytes of blocks read since the last call, from any thread.
Advance = Callable[[int], None]


class _Ended(Exception):
    """The other store's sums are not wanted any more."""


def range_sums(
    contents: CopyContents,
    volume: VolumeInfo,
    wanted: ChangeBitmap,
    span: tuple[int, int],
    range_blocks: int,
    advance: Advance,
) -> dict[int, int]:
    """What the blocks of ``wanted`` in ``span`` (first, end: multiples of 8) add to the volume's digest, by range.

    Range n is the blocks from n x ``range_blocks`` on; the sums are modulo 2^128, and those that are 0 are left out.
    Equal sums mean equal blocks as equal digests do. Raises as `CopyContents.blocks`.
    """
    sums: dict[int, int] = {}
    for found in _parts(contents, volume, wanted, span, advance):
        for block, content in found.items():
            index = block // range_blocks
            sums[index] = sums.get(index, 0) + block_digest(volume.id, block, content, volume.block_size)
    modulus = 1 << 8 * DIGEST_SIZE
    return {index: total % modulus for index, total in sums.items() if total % modulus}


def differing_blocks(mine: CopyContents, theirs: CopyContents, volume: VolumeInfo, advance: Advance) -> ChangeBitmap:
    """The blocks of a volume that hold something else in the same copy at two stores.

    Looked at is what reading gives, of every block that events before the cut have named by either store's bitmaps.
    ``advance`` is told of twice `looked_at` bytes, and of more where ranges differ. Raises as `CopyContents.blocks`.
    """
    return compared(mine, theirs, volume, _named(mine, theirs, volume), advance)[0]


def compared(
    mine: CopyContents, theirs: CopyContents, volume: VolumeInfo, wanted: ChangeBitmap, advance: Advance
) -> tuple[ChangeBitmap, int]:
    """Those of the ``wanted`` blocks of a volume that hold something else at two stores, and what all of ``wanted`` add
    to the volume's digest at the second one. Raises as `CopyContents.blocks`."""
    size = RANGE_BLOCKS
    while len(wanted.bits) * 8 > size * RANGES_MAX:
        size *= RANGES_MAX
    comparison, span = Comparison((mine, theirs), volume, wanted, advance), (0, len(wanted.bits) * 8)
    sums = comparison.sums(span, size)
    found = ChangeBitmap()
    for block in comparison.within(sums, span, size):
        found.add(block)
    return found, sum(sums[1].values())


def looked_at(mine: CopyContents, theirs: CopyContents, volume: VolumeInfo) -> int:
    """Bytes of the blocks that `differing_blocks` looks at, at each store."""
    return _named(mine, theirs, volume).count * volume.block_size


def _named(mine: CopyContents, theirs: CopyContents, volume: VolumeInfo) -> ChangeBitmap:
    named = mine.named(volume)
    named.merge(theirs.named(volume))
    return named


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same volume of a copy at two stores, and the blocks that are looked at; a span is its first block and the one
    behind the last, multiples of 8."""

    sides: tuple[CopyContents, CopyContents]
    volume: VolumeInfo
    wanted: ChangeBitmap
    advance: Advance

    def narrowed(self, span: tuple[int, int], size: int) -> Iterator[int]:
        """The blocks of a span that differ, in order, by the sums of ranges of ``size`` blocks."""
        yield from self.within(self.sums(span, size), span, size)

    def within(self, sums: tuple[dict[int, int], dict[int, int]], span: tuple[int, int], size: int) -> Iterator[int]:
        """Likewise, where the sums of both are there already."""
        mine, theirs = sums
        for index in sorted(mine.keys() | theirs.keys()):
            if mine.get(index) == theirs.get(index):
                continue
            part = index * size, min(span[1], (index + 1) * size)
            if size > RANGE_BLOCKS:
                yield from self.narrowed(part, max(RANGE_BLOCKS, size // RANGES_MAX))
            else:
                yield from self.unequal(part)

    def sums(self, span: tuple[int, int], size: int) -> tuple[dict[int, int], dict[int, int]]:
        """The sums of both stores, read at the same time; if one fails the other is not read to its end."""
        ended = threading.Event()

        def going_on(count: int) -> None:
            if ended.is_set():
                raise _Ended
            self.advance(count)

        def sums_of(side: CopyContents) -> dict[int, int]:
            try:
                return range_sums(side, self.volume, self.wanted, span, size, going_on)
            except BaseException:
                ended.set()
                raise

        with ThreadPoolExecutor(1, "tidelog-ranges") as thread:
            other = thread.submit(sums_of, self.sides[1])
            try:
                mine = sums_of(self.sides[0])
            except _Ended:
                other.result()  # raises why
                raise
            return mine, other.result()

    def unequal(self, span: tuple[int, int]) -> Iterator[int]:
        """The blocks of a span that differ, in order, by their bytes."""
        size = self.volume.block_size
        both = (_parts(side, self.volume, self.wanted, span, self.advance) for side in self.sides)
        for mine, theirs in zip(*both, strict=True):
            for block in sorted(mine.keys() | theirs.keys()):
                if mine.get(block, b"").ljust(size, b"\0") != theirs.get(block, b"").ljust(size, b"\0"):
                    yield block


def _parts(
    contents: CopyContents, volume: VolumeInfo, wanted: ChangeBitmap, span: tuple[int, int], advance: Advance
) -> Iterator[dict[int, bytes]]:
    """The blocks of ``wanted`` in a span, a MiB or so at a time; absent ones are all zeros."""
    low, high = byte_range(*span)
    with placed(contents.identity):
        reader = contents.reader(volume)
        for base, part in windows(ChangeBitmap(wanted.bits[low:high]), max(8, WINDOW_BYTES // volume.block_size)):
            yield reader.blocks(span[0] + base, part)
            advance(part.count * volume.block_size)
