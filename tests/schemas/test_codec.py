"""The codec: what goes in comes out, and nothing else comes out."""

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from tidelog.errors import CorruptEvent, UnsupportedEvent
from tidelog.schemas.codec import MAX_MESSAGE_SIZE, SEAL_SIZE, Codec
from tidelog.schemas.control import GroupCreated, decode_control
from tidelog.schemas.events import EVENT_TYPES, Event, WriteBatch
from tidelog.schemas.longs import encode_long, encode_longs
from tidelog.schemas.registry import HEADER_SIZE, schemas

PLAIN, KEYED = Codec(), Codec(b"k" * 32)
SMALL = ("WriteBatch", "WriteBatch-one", *(kind for kind in EVENT_TYPES if kind != "WriteBatch"))


def resealed(body: bytes, codec: Codec = PLAIN) -> bytes:
    """A message whose seal is right, whatever its body is."""
    return body + codec.seal(body)


def test_every_type_is_among_the_samples(samples: dict[str, Event]) -> None:
    """So that no type escapes the tests here."""
    assert {name.partition("-")[0] for name in samples} == set(EVENT_TYPES)
    assert all(samples[name].kind == name.partition("-")[0] for name in samples)


@pytest.mark.parametrize("codec", [PLAIN, KEYED], ids=["plain", "keyed"])
def test_round_trip(codec: Codec, samples: dict[str, Event]) -> None:
    """Every type; the seal is the last 16 bytes and the event's."""
    for event in samples.values():
        message, seal = codec.encode(event)
        assert message[-SEAL_SIZE:] == seal == codec.seal(message[:-SEAL_SIZE])
        assert codec.decode(message) == replace(event, seal=seal)
        assert codec.encode(codec.decode(message)) == (message, seal)


@pytest.mark.parametrize("name", SMALL)
def test_every_flipped_bit_breaks_the_seal(name: str, samples: dict[str, Event]) -> None:
    """Header, body and seal alike."""
    message, _ = PLAIN.encode(samples[name])
    for bit in range(8 * len(message)):
        damaged = bytearray(message)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptEvent):
            PLAIN.decode(bytes(damaged))


@pytest.mark.parametrize("name", SMALL)
def test_truncated_at_every_byte(name: str, samples: dict[str, Event]) -> None:
    """Also with a right seal behind what is left."""
    message, _ = PLAIN.encode(samples[name])
    for size in range(len(message)):
        with pytest.raises(CorruptEvent):
            PLAIN.decode(message[:size])
    body = message[:-SEAL_SIZE]
    for size in range(HEADER_SIZE, len(body)):
        with pytest.raises(CorruptEvent):
            PLAIN.decode(resealed(body[:size]))


def test_trailing_bytes(samples: dict[str, Event]) -> None:
    """After the seal, and before it with a right seal."""
    for event in samples.values():
        message, _ = PLAIN.encode(event)
        for extra in (b"\x00", b"\x80", b"more"):
            with pytest.raises(CorruptEvent):
                PLAIN.decode(message + extra)
            with pytest.raises(CorruptEvent):
                PLAIN.decode(resealed(message[:-SEAL_SIZE] + extra))


def test_another_key_is_a_wrong_seal(samples: dict[str, Event]) -> None:
    """With a key the log is authenticated: neither no key nor another one makes an event."""
    for event in samples.values():
        for writer, reader in ((PLAIN, KEYED), (KEYED, PLAIN), (Codec(b"x"), KEYED)):
            with pytest.raises(CorruptEvent, match="wrong seal"):
                reader.decode(writer.encode(event)[0])


def test_an_unknown_fingerprint(samples: dict[str, Event]) -> None:
    """Sealed by this group: upgrade. With a wrong seal: damage, and the message says both."""
    message, _ = PLAIN.encode(samples["Marker"])
    foreign = message[:2] + b"\xaa" * 8 + message[HEADER_SIZE:-SEAL_SIZE]
    with pytest.raises(UnsupportedEvent, match="aaaaaaaaaaaaaaaa"):
        PLAIN.decode(resealed(foreign))
    with pytest.raises(CorruptEvent, match="unknown schema fingerprint aaaaaaaaaaaaaaaa"):
        PLAIN.decode(foreign + bytes(SEAL_SIZE))


@pytest.mark.parametrize(
    "value", [b"", b"\xc3", b"\xc3\x01", b"hello, this is no event at all", bytes(100), b"\xc3\x02" + bytes(60)]
)
def test_no_event_at_all(value: bytes) -> None:
    """Whatever else may stand in a topic."""
    with pytest.raises(CorruptEvent):
        PLAIN.decode(value)


def test_larger_than_any_writer_makes() -> None:
    """Refused before it is hashed or decoded."""
    with pytest.raises(CorruptEvent, match="more than any writer makes"):
        PLAIN.decode(b"\xc3\x01" + bytes(MAX_MESSAGE_SIZE))


def test_a_control_record_is_no_event() -> None:
    """And an event no control record; nor has a control record two encodings."""
    record = GroupCreated(group="bank", group_id="x", topic="tidelog.bank", keyed=False, created_us=1).encode()
    assert decode_control(record).key == "group/bank"
    with pytest.raises(CorruptEvent):
        PLAIN.decode(resealed(record + bytes(SEAL_SIZE)))
    long_zero = record[:HEADER_SIZE] + b"\x88\x00bank" + record[HEADER_SIZE + 5 :]
    with pytest.raises(CorruptEvent):
        decode_control(long_zero)


BATCH = {
    "epoch": encode_long(2),
    "writer": bytes(16),
    "sequence": encode_long(7),
    "timestamp_us": encode_long(31),
    "previous": bytes(16),
    "volumes": encode_longs([2, 2, 2]),
    "offsets": encode_longs([0, 4096, 8192]),
    "lengths": encode_longs([4, 4, 2]),
    "timestamps_us": encode_longs([29, 30, 31]),
    "data": encode_long(10) + b"0123456789",
}
HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"  # 2^63 - 1
HOSTILE_PARTS = [
    ("epoch", encode_long(0)),
    ("epoch", b"\x03"),  # -2
    ("epoch", encode_long(1 << 31)),
    ("epoch", b"\x84\x00"),
    ("sequence", encode_long(0)),
    ("sequence", b"\x01"),
    ("sequence", HUGE[:-1] + b"\x03"),  # more than 64 bits
    ("timestamp_us", encode_long(30)),
    ("volumes", encode_longs([2, 2])),
    ("volumes", encode_longs([2, 2, 2, 2])),
    ("volumes", b"\x06\x04\x04\x03\x00"),
    ("volumes", b"\x04\x04\x04\x00\x02\x04\x00"),
    ("volumes", b"\x04\x04\x04\x02\x04\x00"),  # two blocks
    ("volumes", b"\x05\x06\x04\x04\x04\x00"),  # a block with its size
    ("volumes", HUGE + b"\x04\x04\x04\x00"),
    ("volumes", HUGE),
    ("volumes", b"\xff" * 10),
    ("offsets", encode_longs([0, 4096])),
    ("offsets", b"\x06\x00\x01\x02\x00"),
    ("lengths", encode_longs([4, 0, 6])),
    ("lengths", encode_longs([4, 4, 3])),
    ("lengths", encode_longs([4, 4, 1])),
    ("lengths", b"\x06\x0a\x0c\x01\x00"),  # 5, 6, -1
    ("lengths", encode_longs([])),
    ("timestamps_us", encode_longs([30, 29, 31])),
    ("timestamps_us", encode_longs([30, 30, 31])),
    ("timestamps_us", encode_longs([29, 30, 32])),
    ("timestamps_us", encode_longs([31])),
    ("data", encode_long(9) + b"0123456789"),
    ("data", encode_long(11) + b"0123456789"),
    ("data", b"\x94\x00" + b"0123456789"),
    ("data", b"\x13" + b"0123456789"),
    ("data", HUGE + b"0123456789"),
]


def batch_of(**parts: bytes) -> bytes:
    return resealed(schemas()["WriteBatch"].header + b"".join((BATCH | parts).values()))


def test_the_batch_that_the_hostile_ones_are_made_of() -> None:
    """It is an event, so the others fail for their own reason."""
    batch = PLAIN.decode(batch_of())
    assert isinstance(batch, WriteBatch)
    assert batch.lengths == [4, 4, 2] and batch.last_sequence == 9 and batch.first_timestamp_us == 29


@pytest.mark.parametrize(("name", "part"), HOSTILE_PARTS)
def test_a_hostile_batch_with_a_right_seal(name: str, part: bytes) -> None:
    """Someone with the key, or a broken writer: refused, without the memory that it asks for."""
    message = batch_of(**{name: part})
    tracemalloc.start()
    try:
        with pytest.raises(CorruptEvent):
            PLAIN.decode(message)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_empty_batch_is_no_event() -> None:
    """No batch without a write: it would take no sequence."""
    empty = encode_longs([])
    with pytest.raises(CorruptEvent):
        PLAIN.decode(batch_of(volumes=empty, offsets=empty, lengths=empty, timestamps_us=empty, data=b"\x00"))


def test_the_largest_hostile_batch_is_refused_in_bounded_memory() -> None:
    """Four megabytes of counts: at most some tens of bytes for each byte of the message."""
    count = (MAX_MESSAGE_SIZE - 1000) // 5
    for volumes in (b"\x02" * count, b"\x04\x02" * (count // 2), bytes([4, 0x82, 1, 6]) * (count // 4)):
        message = batch_of(volumes=encode_long(count) + volumes + bytes(1))
        tracemalloc.start()
        try:
            with pytest.raises(CorruptEvent):
                PLAIN.decode(message)
            assert tracemalloc.get_traced_memory()[1] < 64 * MAX_MESSAGE_SIZE
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Marker", {"sequence": 0}),
        ("Marker", {"epoch": 0}),
        ("Marker", {"epoch": 1 << 31}),
        ("Marker", {"timestamp_us": -1}),
        ("Discard", {"length": 0}),
        ("Discard", {"offset": -1}),
        ("VolumeCreated", {"size": -1}),
        ("VolumeResized", {"volume": -1}),
    ],
)
def test_numbers_that_no_event_has(name: str, change: dict[str, Any], samples: dict[str, Event]) -> None:
    """They encode, so that this can be asked, and do not decode."""
    with pytest.raises(CorruptEvent):
        PLAIN.decode(PLAIN.encode(replace(samples[name], **change))[0])


def test_a_batch_with_a_short_seal_is_not_encoded(samples: dict[str, Event]) -> None:
    """Fixed fields have 16 bytes."""
    for batch in (replace(samples["WriteBatch"], writer=b"short"), replace(samples["WriteBatch"], previous=b"short")):
        with pytest.raises(ValueError):
            PLAIN.encode(batch)
