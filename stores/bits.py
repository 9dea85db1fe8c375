"""Change bitmaps on their way into Redis: bits set in memory, and the commands that set them there."""

from collections.abc import Collection, Sequence

from tidelog.stores.bitmap import BIT_MASKS, ChangeBitmap, byte_range
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.wire import Command

# Bytes of SETRANGE that cost Redis and the wire as much as one more BITFIELD operation.
_BITFIELD_OPERATION_BYTES = 96


def write_bits(key: bytes, bitmap: ChangeBitmap, first: int, end: int) -> Command:
    """Brings the bytes of Redis's bitmap that hold blocks ``first`` to ``end`` - 1 to what is in memory."""
    low, high = byte_range(first, end)
    return b"SETRANGE", key, b"%d" % low, bytes(bitmap.bits[low:high])


def name_blocks(
    key: bytes, bitmap: ChangeBitmap, blocks: Collection[int], ranges: Sequence[tuple[int, int]] = ()
) -> list[Command]:
    """Sets the bits of ``blocks`` and ``ranges`` in memory; the commands that bring Redis's bitmap to the same."""
    dirty = set_bits(bitmap, blocks)
    for first, end in ranges:
        bitmap.add_range(first, end)
    return bit_commands(key, bitmap, ranges, dirty)


def set_bits(bitmap: ChangeBitmap, blocks: Collection[int]) -> list[int]:
    """Sets the bits of ``blocks`` in memory; the bytes that this changed, once for each bit."""
    if blocks:
        bitmap.reserve(max(blocks))
    bits, dirty = bitmap.bits, []
    for block in blocks:
        index, mask = block >> 3, BIT_MASKS[block & 7]
        if not bits[index] & mask:
            bits[index] |= mask
            dirty.append(index)
    bitmap.count += len(dirty)
    return dirty


def bit_commands(
    key: bytes, bitmap: ChangeBitmap, ranges: Sequence[tuple[int, int]], dirty: list[int]
) -> list[Command]:
    """Brings Redis's bitmap to what is in memory, by bytes: those of ``ranges`` of blocks, and the ``dirty`` ones, each
    by itself or all from the first to the last."""
    bits = bitmap.bits
    commands: list[Command] = []
    for first, end in ranges:
        low, high = byte_range(first, end)
        commands.append(write_bits(key, bitmap, first, end))
        dirty = [place for place in dirty if not low <= place < high]
    if not dirty:
        return commands
    places = sorted(set(dirty))
    low, high = places[0], places[-1] + 1
    if high - low <= _BITFIELD_OPERATION_BYTES * len(places):
        commands.append((b"SETRANGE", key, b"%d" % low, bytes(bits[low:high])))
        return commands
    operations: list[bytes] = [b"BITFIELD", key]
    for place in places:
        operations += (b"SET", b"u8", b"#%d" % place, b"%d" % bits[place])
    commands.append(tuple(operations))
    return commands


def places_of(keyspace: Keyspace, keys: Keys, volume: int, generations: list[int], blocks: list[int]) -> dict[int, int]:
    """The generation that each block's lost bit belongs to: the eldest that has a before-image of it, else the eldest
    of all."""
    places = dict.fromkeys(blocks, generations[0] if generations else 0)
    if len(generations) > 1 and blocks:
        for generation in reversed(generations):
            before_of = keys.before_format(generation, volume)
            there = keyspace.transact([(b"GETRANGE", before_of % block, b"0", b"0") for block in blocks])
            places |= {block: generation for block, found in zip(blocks, there, strict=True) if found}
    return places
