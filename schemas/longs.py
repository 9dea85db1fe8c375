"""Avro arrays of non-negative longs, many at a time: the hot part of a `WriteBatch` of small writes.

An Avro long is zigzag, then base 128, low group first, the high bit set on all bytes but the last; an array is its
count, its items, and a 0 (Avro specification, "Binary Encoding"). Here an array is always one block, and each number
has only its shortest form, so equal arrays are equal bytes, and bytes that say it otherwise are refused.

Instead of number by number, an array is laid out as one big integer with a 64-bit lane a number, and every lane is
spread into groups of seven bits by the same shifts and masks (SIMD within a register; the register is CPython's int).
For that a number stays below `LIMIT`: eight bytes on the wire. Offsets end at 2^50, sequences and UTC microseconds
stay below it until the year 2540.

Measured on a 2-core machine, 2,048 numbers, least microseconds of 300, in brackets fastavro (a Python call for each
byte). ``python tests/schemas/measure.py`` repeats it:

    encode: equal 3 (190)   random offsets in 1 GiB 140 (300)   timestamps 180 (440)
    decode: equal 4 (240)   random offsets in 1 GiB 320 (405)   timestamps 105 (600)

A batch of 2,048 writes of 128 bytes takes 0.39 ms to encode instead of 1.35, and 0.62 to decode instead of 1.71, 0.05
of each for the seal. Numbers of different lengths cost most to decode: half of it is the one `re.findall` that cuts
them apart, and no faster way of cutting was found. fastavro is almost as fast there, but takes other encodings too.
"""

import re
import struct
import sys
from array import array

LIMIT = 1 << 54  # zigzag makes it 2^55: the eight-byte number that stands for zero while zeros are deleted

# Enough for any batch a writer makes; longer arrays go piece by piece. Masks are 32 KiB each.
_LANES = 4096


def _every(lane: int) -> int:
    """``lane`` in each of `_LANES` lanes."""
    return int.from_bytes(lane.to_bytes(8, "little") * _LANES, "little")


# (part that stays, part that moves, by how many bits): 56 bits of a lane become eight groups of seven.
_SPREAD = (
    (_every(0x000000000FFFFFFF), _every(0x00FFFFFFF0000000), 4),
    (_every(0x00003FFF00003FFF), _every(0x0FFFC0000FFFC000), 2),
    (_every(0x007F007F007F007F), _every(0x3F803F803F803F80), 1),
)
_GATHER = tuple((stay, move << bits, bits) for stay, move, bits in reversed(_SPREAD))
_GROUPS = _every(0x7F7F7F7F7F7F7F7F)
_HIGH_BITS = _every(0x8080808080808080)
# High bits that come from the same lane when all move down by so many bits.
_STILL_MINE = ((8, _every(0x0080808080808080)), (16, _every(0x0000808080808080)), (32, _every(0x0000000080808080)))
_LOWEST_HIGH_BIT = _every(0x80)
_ONES = _every(1)
_TOO_LARGE = _every((1 << 64) - LIMIT)

_STANDS_FOR_ZERO = b"\x80" * 7 + b"\x40"  # what LIMIT would be on the wire
_CLASSES = bytes([0]) + bytes([1]) * 127 + bytes([2]) * 128  # 0; ends a number; a number goes on
_GOES_ON = b"\x02"
_NUMBER = re.compile(rb"[\x80-\xff]*[\x00-\x7f]")


def encode_long(value: int) -> bytes:
    """One long, ``0 <= value < 2**63``."""
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_long(raw: bytes, start: int) -> tuple[int, int]:
    """The long at ``start`` and where it ends. Raises `ValueError` unless it is the shortest form of one that is not
    negative and below 2**63."""
    value = shift = 0
    for byte in raw[start : start + 10]:
        if byte < 0x80:
            value |= byte << shift
            if (byte == 0 and shift) or value & 1 or value >> 64:
                break
            return value >> 1, start + shift // 7 + 1
        value |= (byte & 0x7F) << shift
        shift += 7
    raise ValueError(f"no long at byte {start}")


def encode_longs(values: list[int]) -> bytes:
    """The array's bytes. Raises `OverflowError` unless ``0 <= value < LIMIT`` for each."""
    count = len(values)
    if count == 0:
        return b"\x00"
    first = values[0]
    if 0 <= first < LIMIT and values.count(first) == count:
        items = encode_long(first) * count
    elif count <= _LANES:
        items = _encode_items(values)
    else:
        items = b"".join(_encode_items(values[at : at + _LANES]) for at in range(0, count, _LANES))
    return encode_long(count) + items + b"\x00"


def _encode_items(values: list[int]) -> bytes:
    count = len(values)
    lanes = int.from_bytes(_little(array("Q", values)), "little")
    if lanes & _TOO_LARGE:
        raise OverflowError(f"a number of {max(values)}, where {LIMIT} is the limit")
    lanes <<= 1
    for stay, move, bits in _SPREAD:
        lanes = lanes & stay | (lanes & move) << bits
    filled = lanes + _GROUPS & _HIGH_BITS  # the high bit of each byte that is not 0
    goes_on = filled >> 8 & _STILL_MINE[0][1]  # of each byte with one that is not 0 above it
    for bits, mine in _STILL_MINE:
        goes_on |= goes_on >> bits & mine
    lanes |= goes_on
    present = (filled | goes_on) & _LOWEST_HIGH_BIT
    zeros = present.bit_count() != count
    if zeros:
        absent = (_LOWEST_HIGH_BIT & (1 << 64 * count) - 1 ^ present) >> 7
        lanes |= absent * int.from_bytes(_STANDS_FOR_ZERO, "little")
    items = lanes.to_bytes(8 * count, "little").translate(None, b"\x00")
    return items.replace(_STANDS_FOR_ZERO, b"\x00") if zeros else items


def decode_longs(raw: bytes, start: int) -> tuple[list[int], int]:
    """The array at ``start`` and where it ends.

    Raises `ValueError` unless the bytes are what `encode_longs` makes of some list; no more than eight times the
    memory of ``raw`` is used.
    """
    count, at = decode_long(raw, start)
    if count > len(raw) - at:
        raise ValueError(f"{count} numbers in {len(raw) - at} bytes")
    if count == 0:
        return [], at
    first, after = decode_long(raw, at)
    end = at + count * (after - at)
    if count == 1 or raw[at:end] == raw[at:after] * count:
        values, at = [first] * count, end
        if first >= LIMIT:
            raise ValueError(f"a number of {first}, where {LIMIT} is the limit")
    else:
        values = []
        while len(values) < count:
            more, at = _decode_items(raw, at, min(count - len(values), _LANES))
            values += more
    if raw[at : at + 1] != b"\x00":
        raise ValueError(f"no end of the array at byte {at}")
    return values, at + 1


def _decode_items(raw: bytes, start: int, count: int) -> tuple[list[int], int]:
    classes = raw[start : start + 8 * count].translate(_CLASSES)
    width = classes.find(b"\x01") + 1
    if classes[: width * count] == (_GOES_ON * (width - 1) + b"\x01") * count:
        packed, end = _equal_width(raw, start, count, width)
    else:
        packed, end = _mixed_width(raw, start, count, classes)
    lanes = int.from_bytes(packed, "little") & _GROUPS
    for stay, move, bits in _GATHER:
        lanes = lanes & stay | (lanes & move) >> bits
    if lanes & _ONES:
        raise ValueError("a negative number")
    lanes >>= 1
    if lanes & _TOO_LARGE:
        raise ValueError(f"a number above {LIMIT}")
    values = array("Q", lanes.to_bytes(8 * count, "little"))
    _little(values)
    return values.tolist(), end


def _equal_width(raw: bytes, start: int, count: int, width: int) -> tuple[bytes | bytearray, int]:
    """One lane a number, when each has ``width`` bytes; and where they end."""
    end = start + width * count
    if width == 8:
        return raw[start:end], end
    packed = bytearray(8 * count)
    for place in range(width):
        packed[place::8] = raw[start + place : end : width]
    return packed, end


def _mixed_width(raw: bytes, start: int, count: int, classes: bytes) -> tuple[bytes, int]:
    """One lane a number, when they differ in length; and where they end."""
    end, missing = 0, count
    while missing:  # as many bytes further as numbers are missing: never past the last one
        if end + missing > len(classes):
            raise ValueError(f"an array ends in the middle, or has a number above {LIMIT}")
        end, missing = end + missing, classes.count(_GOES_ON, end, end + missing)
    if classes.find(_GOES_ON * 8, 0, end) >= 0:
        raise ValueError(f"a number above {LIMIT}")
    if b"\x00" in classes and classes.find(_GOES_ON + b"\x00", 0, end) >= 0:
        raise ValueError("a number that is not in its shortest form")
    return struct.pack("8s" * count, *_NUMBER.findall(raw, start, start + end)), start + end


def _little(lanes: "array[int]") -> "array[int]":
    """The same lanes, little-endian in memory."""
    if sys.byteorder == "big":
        lanes.byteswap()
    return lanes
