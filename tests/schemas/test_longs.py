"""Arrays of longs: the same bytes as fastavro writes, and none of the other bytes that mean the same."""

import random
from io import BytesIO

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from tidelog.schemas.longs import LIMIT, decode_long, decode_longs, encode_long, encode_longs

ARRAY = parse_schema({"type": "array", "items": "long"})
EDGES = sorted({(1 << bits) + step for bits in range(54) for step in (-1, 0, 1)} | {LIMIT - 1, LIMIT - 2})
HOSTILE = [0x00, 0x01, 0x02, 0x40, 0x7F, 0x80, 0x81, 0xFF]


def by_fastavro(values: list[int]) -> bytes:
    buffer = BytesIO()
    schemaless_writer(buffer, ARRAY, values)
    return buffer.getvalue()


def arrays(rng: random.Random) -> list[int]:
    count = rng.choice((0, 1, 2, 3, 17, rng.randrange(200)))
    match rng.randrange(5):
        case 0:
            return [rng.choice(EDGES)] * count
        case 1:
            return [rng.choice(EDGES) for _ in range(count)]
        case 2:
            low = rng.choice(EDGES)
            return [min(low + rng.randrange(50), LIMIT - 1) for _ in range(count)]
        case 3:
            return [rng.choice((0, 0, 0, 1, 1 << 48, LIMIT - 1)) for _ in range(count)]
        case _:
            return [rng.randrange(1 << rng.randrange(1, 55)) for _ in range(count)]


def test_the_same_bytes_as_fastavro_and_back() -> None:
    """Every width, zeros among large numbers, equal and mixed widths, wherever the array stands."""
    rng = random.Random(1)
    for _ in range(3000):
        values = arrays(rng)
        raw = encode_longs(values)
        assert raw == by_fastavro(values)
        before, after = rng.randbytes(rng.randrange(4)), rng.randbytes(rng.randrange(20))
        assert decode_longs(before + raw + after, len(before)) == (values, len(before) + len(raw))


@pytest.mark.parametrize("count", [4095, 4096, 4097, 10_000])
@pytest.mark.parametrize("highest", [1, 100, 1 << 30, LIMIT])
def test_long_arrays(count: int, highest: int) -> None:
    """More numbers than one big integer has lanes."""
    rng = random.Random(count)
    values = [rng.randrange(highest) for _ in range(count)]
    raw = encode_longs(values)
    assert raw == by_fastavro(values)
    assert decode_longs(raw, 0) == (values, len(raw))


@given(st.lists(st.integers(0, LIMIT - 1)))
def test_any_array(values: list[int]) -> None:
    """What Hypothesis finds worth trying."""
    raw = encode_longs(values)
    assert raw == by_fastavro(values)
    assert decode_longs(raw, 0) == (values, len(raw))


@pytest.mark.parametrize("values", [[-1], [1, -1], [LIMIT], [1, LIMIT], [1 << 64], [3, 1 << 64]])
def test_a_number_out_of_range_is_not_encoded(values: list[int]) -> None:
    """The writer hears of it; nothing else comes out."""
    with pytest.raises(OverflowError):
        encode_longs(values)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\x00"[:0],
        b"\x02",  # one item, and none there
        b"\x02\x08",  # no end
        b"\x02\x08\x01",  # another end
        b"\x02\x07\x00",  # negative item
        b"\x04\x08\x07\x00",
        b"\x01\x02\x08\x00",  # a block with its size in bytes
        b"\x02\x08\x02\x08\x00",  # two blocks
        b"\x82\x00\x08\x00",  # count with a leading zero
        b"\x02\x88\x00\x00",  # item with a leading zero
        b"\x04\x88\x00\x09\x00",
        b"\x04\x88\x80\x00\x08\x00",
        b"\xfe\xff\xff\xff\x0f\x02\x00",  # two billion items
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"\x02" * 50,
        b"\x80" * 100,
        b"\xff" * 11,
        b"\x02" + b"\x80" * 9 + b"\x01\x00",
        b"\x04" + b"\x80" * 7 + b"\x40\x08\x00",  # LIMIT
        b"\x04\x08" + b"\x80" * 8 + b"\x01\x00",
    ],
)
def test_no_other_bytes_decode(raw: bytes) -> None:
    """What Avro may read as an array, and what nobody can."""
    with pytest.raises(ValueError):
        decode_longs(raw, 0)


def test_whatever_decodes_is_the_one_encoding() -> None:
    """Arrays with damaged bytes: refused, or equal to what is encoded anew."""
    rng = random.Random(2)
    survived = 0
    for _ in range(10_000):
        raw = bytearray(encode_longs(arrays(rng)))
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.choice(HOSTILE)
        if rng.random() < 0.2:
            del raw[rng.randrange(len(raw)) :]
        try:
            values, end = decode_longs(bytes(raw), 0)
        except ValueError:
            continue
        survived += 1
        assert encode_longs(values) == raw[:end]
    assert survived > 500


def test_one_long() -> None:
    """Scalars: up to 63 bits, shortest form only."""
    for value in [*EDGES, (1 << 62), (1 << 63) - 1]:
        raw = encode_long(value)
        assert decode_long(b"x" + raw + b"y", 1) == (value, 1 + len(raw))
        for cut in range(len(raw)):
            with pytest.raises(ValueError):
                decode_long(raw[:cut], 0)
    for raw in (b"\x80\x00", b"\x01", b"\xff" * 9 + b"\x02", b"\x80" * 9 + b"\x03", b"\x80" * 10 + b"\x01"):
        with pytest.raises(ValueError):
            decode_long(raw, 0)
