"""Confluent's framing of events: the same event and seal as without it, whatever the id, and nothing else."""

from dataclasses import replace

import pytest

from tidelog.errors import CorruptEvent
from tidelog.schemas.codec import MAX_MESSAGE_SIZE, SEAL_SIZE, Codec
from tidelog.schemas.confluent import ID_HEADER_SIZE, confluent_header, framed
from tidelog.schemas.events import EVENT_TYPES, Event, Marker
from tidelog.schemas.registry import HEADER_SIZE, schemas

HEADERS = {schemas()[kind].header: confluent_header(1000 + number) for number, kind in enumerate(EVENT_TYPES)}
OTHERS = {header: confluent_header(1000 + (number * 7 + 3) % 11) for number, header in enumerate(HEADERS)}
SMALL = ("WriteBatch-one", "Marker", "VolumeCopied")


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["plain", "keyed"])
def test_the_same_event_and_seal_in_either_framing(key: bytes | None, samples: dict[str, Event]) -> None:
    """Of every type, in a log that mixes them."""
    writer, reader = Codec(key), Codec(key)
    for event in samples.values():
        message, seal = writer.encode(event)
        record = framed(message, HEADERS)
        assert record[0] == 0 and record[ID_HEADER_SIZE:] == message[HEADER_SIZE:]
        assert reader.decode(record) == reader.decode(message) == replace(event, seal=seal)
        assert record[-SEAL_SIZE:] == seal  # where chain checks look for it


def test_ids_that_a_new_registry_gave_anew(samples: dict[str, Event]) -> None:
    """The same id for other types than before: the seal tells, in whatever order they come."""
    reader = Codec()
    for headers in (HEADERS, OTHERS, HEADERS):
        for event in samples.values():
            message, seal = reader.encode(event)
            assert reader.decode(framed(message, headers)) == replace(event, seal=seal)


@pytest.mark.parametrize("name", SMALL)
def test_every_flipped_bit_breaks_the_seal(name: str, samples: dict[str, Event]) -> None:
    """Behind the id, which the seal does not cover: it says nothing that the seal does not."""
    codec = Codec()
    message, seal = codec.encode(samples[name])
    record = framed(message, HEADERS)
    for bit in range(8 * len(record)):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 1 << bit % 8
        if 8 <= bit < 8 * ID_HEADER_SIZE:
            assert codec.decode(bytes(damaged)) == replace(samples[name], seal=seal)
            continue
        with pytest.raises(CorruptEvent):
            codec.decode(bytes(damaged))


@pytest.mark.parametrize("name", SMALL)
def test_truncated_extended_or_of_another_key(name: str, samples: dict[str, Event]) -> None:
    """No event, and never another error."""
    codec = Codec()
    record = framed(codec.encode(samples[name])[0], HEADERS)
    for size in range(len(record)):
        with pytest.raises(CorruptEvent):
            codec.decode(record[:size])
    for extra in (b"\0", b"more"):
        with pytest.raises(CorruptEvent):
            codec.decode(record + extra)
    with pytest.raises(CorruptEvent, match="wrong seal"):
        Codec(b"another").decode(record)


def test_what_is_said_of_an_unknown_schema() -> None:
    """The id, so that the registry can be asked what it is."""
    with pytest.raises(CorruptEvent, match=r"wrong seal, or is of a schema .* \(id 77 of a registry\)") as raised:
        Codec().decode(confluent_header(77) + bytes(60))
    assert "upgrade" in raised.value.hint
    with pytest.raises(CorruptEvent, match="more than any writer makes"):
        Codec().decode(confluent_header(77) + bytes(MAX_MESSAGE_SIZE))


def test_a_sealed_body_that_is_no_event() -> None:
    """The seal alone makes no event: what it seals must decode, to the last byte."""
    codec = Codec()
    for kind in EVENT_TYPES:
        body = schemas()[kind].header + b"\x02" * 8
        with pytest.raises(CorruptEvent):
            codec.decode(confluent_header(1) + (body + codec.seal(body))[HEADER_SIZE:])


def test_many_ids_take_no_memory(samples: dict[str, Event]) -> None:
    """Whoever may write to the topic may frame a record anew; each is read, and not all are remembered."""
    codec = Codec()
    body = codec.encode(samples["Marker"])[0][HEADER_SIZE:]
    for number in range(1000):
        assert isinstance(codec.decode(confluent_header(number) + body), Marker)
    assert len(codec._by_id) < 100
