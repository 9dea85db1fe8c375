"""Change bitmaps: which blocks of a volume events have named since a cut."""

import re
from collections.abc import Iterator
from itertools import islice

# In SETBIT's order: bit 0 is the highest bit of byte 0.
BIT_MASKS = (128, 64, 32, 16, 8, 4, 2, 1)
_OFFSETS = tuple(tuple(bit for bit in range(8) if byte & BIT_MASKS[bit]) for byte in range(256))
# For each byte but 0, how many of its last bits are clear.
_LOWEST = (0, *((byte & -byte).bit_length() - 1 for byte in range(1, 256)))
# Full bytes in a row become one range, empty ones are skipped, both at the speed of C.
_RUNS = re.compile(rb"\xff+|[^\x00\xff]+", re.DOTALL)
# Spans are told apart from so many clear blocks on: an event for each costs some 130 us at its writer and a site, and a
# block that is named and is not there some 2 us of each site's next digest.
GAP_BLOCKS = 32
_SPANS = re.compile(rb"[^\x00]++(?:\x00{1,%d}+[^\x00]++)*+" % (GAP_BLOCKS // 8 - 1), re.DOTALL)


class ChangeBitmap:
    """A set of block numbers as Redis keeps it: a string that grows to the highest bit ever set.

    ``bits`` is open to the planner, which sets bits in place and then adds to ``count``, the number of set bits.
    """

    __slots__ = ("bits", "count")

    def __init__(self, value: bytes | bytearray | None = None) -> None:
        self.bits = bytearray(value or b"")
        self.count = int.from_bytes(self.bits).bit_count()

    def __contains__(self, block: int) -> bool:
        index = block >> 3
        return index < len(self.bits) and bool(self.bits[index] & BIT_MASKS[block & 7])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChangeBitmap) and self.bits.rstrip(b"\0") == other.bits.rstrip(b"\0")

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"ChangeBitmap({list(self.blocks())[:20]}, count={self.count})"

    def reserve(self, block: int) -> None:
        """Makes ``bits`` long enough for ``block``."""
        missing = (block >> 3) + 1 - len(self.bits)
        if missing > 0:
            self.bits.extend(bytes(missing))

    def add(self, block: int) -> None:
        self.add_range(block, block + 1)

    def add_range(self, first: int, end: int) -> None:
        """Sets the bits of blocks ``first`` to ``end`` - 1."""
        self._change(first, end, present=True)

    def discard_range(self, first: int, end: int) -> None:
        """Clears the bits of blocks ``first`` to ``end`` - 1."""
        self._change(first, end, present=False)

    def take(self, most: int) -> list[int]:
        """Clears the first blocks that are set, up to so many: which those are, in order."""
        blocks = list(islice(self.blocks(), most))
        if blocks:
            self.discard_range(blocks[0], blocks[-1] + 1)
        return blocks

    def merge(self, other: "ChangeBitmap") -> None:
        """Sets all bits of ``other``."""
        size = max(len(self.bits), len(other.bits))
        if not size:
            return
        mine = self.bits.ljust(size, b"\0")
        both = int.from_bytes(mine) | int.from_bytes(other.bits.ljust(size, b"\0"))
        self.bits[:] = both.to_bytes(size)
        self.count = both.bit_count()

    def __and__(self, other: "ChangeBitmap") -> "ChangeBitmap":
        size = min(len(self.bits), len(other.bits))
        return ChangeBitmap((int.from_bytes(self.bits[:size]) & int.from_bytes(other.bits[:size])).to_bytes(size))

    def __sub__(self, other: "ChangeBitmap") -> "ChangeBitmap":
        size = len(self.bits)
        theirs = int.from_bytes(other.bits[:size].ljust(size, b"\0"))
        return ChangeBitmap((int.from_bytes(self.bits) & ~theirs).to_bytes(size))

    @property
    def last(self) -> int:
        """The highest set block; -1 if there is none."""
        bits = self.bits.rstrip(b"\0")
        return len(bits) * 8 - 1 - _LOWEST[bits[-1]] if bits else -1

    def blocks(self, first: int = 0, end: int | None = None) -> Iterator[int]:
        """The set blocks from ``first`` to ``end`` - 1, in order; the bitmap must not change meanwhile."""
        if end is None:
            end = len(self.bits) * 8
        base = first & ~7
        for run in _RUNS.finditer(self._slice(first, end)):
            start, stop = run.span()
            text = run.group()
            if text[0] == 0xFF:
                yield from range(base + start * 8, base + stop * 8)
                continue
            for index, byte in enumerate(text, start):
                block = base + index * 8
                for offset in _OFFSETS[byte]:
                    yield block + offset

    def spans(self) -> list[tuple[int, int]]:
        """From and up to, in order: what holds every set block, begins and ends with one, and is apart from the next by
        `GAP_BLOCKS` or more clear ones. As many as 46 in a row may be inside."""
        bits, found = self.bits, []
        for span in _SPANS.finditer(bits):
            start, stop = span.span()
            found.append((start * 8 + 8 - bits[start].bit_length(), stop * 8 - _LOWEST[bits[stop - 1]]))
        return found

    def _slice(self, first: int, end: int) -> bytearray:
        """The bytes that hold the bits of a range, all other bits cleared."""
        part = self.bits[first >> 3 : (end + 7) >> 3]
        if first >= end or not part:
            return bytearray()
        part[0] &= 0xFF >> (first & 7)
        last = ((end + 7) >> 3) - (first >> 3) - 1
        if end & 7 and last < len(part):
            part[last] &= 0xFF << (8 - (end & 7)) & 0xFF
        return part

    def _change(self, first: int, end: int, *, present: bool) -> None:
        if first >= end:
            return
        if present:
            self.reserve(end - 1)
        else:
            end = min(end, len(self.bits) * 8)
            if first >= end:
                return
        start, stop = first >> 3, (end + 7) >> 3
        before = int.from_bytes(self.bits[start:stop])
        mask = (1 << (end - first)) - 1 << (stop * 8 - end)
        after = before | mask if present else before & ~mask
        self.bits[start:stop] = after.to_bytes(stop - start)
        self.count += after.bit_count() - before.bit_count()


def byte_range(first: int, end: int) -> tuple[int, int]:
    """The bytes of a bitmap, from and up to, that hold the bits of blocks ``first`` to ``end`` - 1."""
    return first >> 3, (end + 7) >> 3
