"""Change bitmaps against plain sets."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.stores.bitmap import GAP_BLOCKS, ChangeBitmap

blocks = st.sets(st.integers(0, 300), max_size=60)
ranges = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=6)


def of(members: set[int]) -> ChangeBitmap:
    bitmap = ChangeBitmap()
    for block in members:
        bitmap.add(block)
    return bitmap


@given(blocks, ranges, st.integers(0, 310), st.integers(0, 310))
def test_a_bitmap_is_a_set(members: set[int], changes: list[tuple[int, int]], first: int, end: int) -> None:
    """Members, ranges set and cleared, counts and slices."""
    bitmap, plain = of(members), set(members)
    for index, (low, high) in enumerate(changes):
        if index % 2:
            bitmap.discard_range(low, high)
            plain -= set(range(low, high))
        else:
            bitmap.add_range(low, high)
            plain |= set(range(low, high))
    assert list(bitmap.blocks()) == sorted(plain) and bitmap.count == len(plain)
    assert list(bitmap.blocks(first, end)) == sorted(block for block in plain if first <= block < end)
    assert {block for block in range(320) if block in bitmap} == plain
    assert ChangeBitmap(bitmap.bits + b"\0") == bitmap
    assert len(ChangeBitmap(bytes(bitmap.bits)).bits) == len(bitmap.bits)


@given(blocks, blocks)
def test_set_operations(one: set[int], other: set[int]) -> None:
    """Union, intersection and difference, of any two lengths."""
    union = of(one)
    union.merge(of(other))
    assert list(union.blocks()) == sorted(one | other) and union.count == len(one | other)
    assert list((of(one) & of(other)).blocks()) == sorted(one & other)
    assert list((of(one) - of(other)).blocks()) == sorted(one - other)
    assert (of(one) == of(other)) == (one == other)


def test_bits_are_in_the_order_of_setbit() -> None:
    """Bit n is what Redis's tools call bit n: the highest bit of byte 0 is bit 0."""
    assert bytes(of({0, 7, 8, 23}).bits) == b"\x81\x80\x01"


@pytest.mark.parametrize("density", [1, 3, 1000])
def test_a_million_bits_are_walked_fast(density: int) -> None:
    """Dense and sparse alike: no Python step for an absent block."""
    bitmap = of(set(range(0, 1000, density)))
    bitmap.bits *= 1000
    bitmap = ChangeBitmap(bitmap.bits)
    assert sum(1 for _ in bitmap.blocks()) == bitmap.count == 1000 * len(range(0, 1000, density))


@given(blocks)
def test_the_last_block(members: set[int]) -> None:
    """The highest, whatever zero bytes stand behind it."""
    bitmap = of(members)
    bitmap.reserve(400)
    assert bitmap.last == max(members, default=-1)


@given(st.sets(st.integers(0, 600), max_size=30))
def test_spans(members: set[int]) -> None:
    """They hold every member, begin and end with one, and are apart by a gap; none has so wide a gap inside that it
    must be told apart."""
    spans = of(members).spans()
    assert {block for block in members if not any(low <= block < high for low, high in spans)} == set()
    assert all(low in members and high - 1 in members for low, high in spans)
    assert all(after[0] - before[1] >= GAP_BLOCKS for before, after in pairwise(spans))
    ends = sorted(members)
    apart = sum(after - before > GAP_BLOCKS + 15 for before, after in pairwise(ends))
    assert len(spans) >= apart + bool(members)


@pytest.mark.parametrize("pattern", [b"\xff", b"\x01", b"\x01\0", b"\x01\0\0\0\0", b"\0"])
def test_the_spans_of_a_million_blocks_are_told_fast(pattern: bytes) -> None:
    """Of one look over a volume, whatever is named in it."""
    bitmap = ChangeBitmap((pattern * (1 << 17))[: 1 << 17])
    started = time.process_time()
    spans = bitmap.spans()
    assert time.process_time() - started < 1
    assert sum(high - low for low, high in spans) >= bitmap.count
