"""Spans in which named blocks are read: all of them, in order, few at once, and in few round trips."""

from hypothesis import given
from hypothesis import strategies as st

from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.named import SPAN_WINDOWS, windows

ranges = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 300)), max_size=12)


def _bitmap(parts: list[tuple[int, int]]) -> ChangeBitmap:
    bitmap = ChangeBitmap()
    for first, length in parts:
        bitmap.add_range(first, first + length)
    return bitmap


@given(ranges, st.sampled_from([8, 16, 256]))
def test_windows_hold_every_block_once_and_no_more_than_was_asked(
    parts: list[tuple[int, int]], blocks_max: int
) -> None:
    named = _bitmap(parts)
    found: list[int] = []
    for base, part in windows(named, blocks_max):
        assert base % 8 == 0 and 0 < part.count <= blocks_max
        assert len(part.bits) * 8 <= SPAN_WINDOWS * blocks_max
        found += [base + block for block in part.blocks()]
    assert found == list(named.blocks())


def test_few_blocks_far_apart_are_one_window() -> None:
    sparse = _bitmap([(block, 1) for block in range(0, 100_000, 100)])
    assert sparse.count == 1000
    assert len(list(windows(sparse, 1024))) == 2  # of 65,536 blocks each
    assert len(list(windows(_bitmap([(0, 100_000)]), 1024))) == 98
