"""The bitmap of a copy onto a volume on the wire: what goes in comes out, small, and never more than was asked for."""

import os
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.errors import CorruptEvent, UsageError
from tidelog.schemas.block_bitmap import pack_bitmap, unpack_bitmap
from tidelog.schemas.events import Event, VolumeCopied

MIB = 1 << 20


def shipped(samples: dict[str, Event], bitmap: bytes) -> VolumeCopied:
    event = samples["VolumeCopied"]
    fields = {name: getattr(event, name) for name in ("epoch", "writer", "sequence", "timestamp_us", "previous")}
    return VolumeCopied(**fields, source=2, source_copy_sequence=0, source_copy_seal=bytes(16), target=3, bitmap=bitmap)


@given(bits=st.binary(max_size=300), more=st.integers(0, 20))
def test_what_goes_in_comes_out(samples: dict[str, Event], bits: bytes, more: int) -> None:
    """Without the zeros at its end, for any target that has all the blocks."""
    wanted = bits.rstrip(b"\0")
    least = len(wanted) * 8 - ((wanted[-1] & -wanted[-1]).bit_length() - 1) if wanted else 1
    event = shipped(samples, pack_bitmap(bits))
    assert unpack_bitmap(event, least + more) == wanted
    if least > 1:
        with pytest.raises(CorruptEvent):
            unpack_bitmap(event, least - 1)


def test_a_sparse_bitmap_is_small() -> None:
    """One block at the end of 2^25: a thousandth of its 4 MiB."""
    assert len(pack_bitmap(bytes(4 * MIB - 1) + b"\x01")) < 4 * MIB / 1000


def test_more_than_a_message_is_refused() -> None:
    """Blocks without any pattern, as many as a message has bits."""
    with pytest.raises(UsageError, match="a message holds") as told:
        pack_bitmap(os.urandom(4 * MIB))
    assert told.value.hint
    assert len(pack_bitmap(os.urandom(4 * MIB - 8 * 1024))) < 4 * MIB


def test_a_bomb_takes_no_more_than_its_target_has_blocks(samples: dict[str, Event]) -> None:
    """4 MiB of zlib could be 4 GiB of bits."""
    event = shipped(samples, zlib.compress(b"\xff" * 256 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptEvent):
            unpack_bitmap(event, 8 * MIB)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()
