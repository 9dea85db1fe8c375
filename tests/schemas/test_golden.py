"""What release 0.1 wrote is read for ever, by tidelog and by Apache Avro's own Python package."""

import json
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from blake3 import blake3

from tidelog.schemas.codec import SEAL_SIZE, Codec
from tidelog.schemas.control import CONTROL_TYPES, decode_control
from tidelog.schemas.events import EVENT_TYPES
from tidelog.schemas.registry import HEADER_SIZE, MAGIC, NAMESPACE, schemas

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.bin"))

# CRC-64-AVRO of the parsing canonical form, as on the wire. A line here is never changed: a changed schema is another
# schema, with a line of its own.
FINGERPRINTS = {
    "CopyArchived": "356f853587b19b96",
    "CopyDropped": "0a18118974c18b6b",
    "CopyFormed": "b793d775c0baf23b",
    "CopyKept": "168d9b689b5c3ae4",
    "CopyLocked": "b09f67d716cded7e",
    "CopyOrdered": "ee59226d425837cc",
    "Discard": "6e22254d6db6d2d0",
    "GroupCreated": "246f4596be86ae2f",
    "Heartbeat": "7f0cd0f1701aa5dc",
    "HistorySealed": "3e7c90dd1f25400b",
    "LogMirrored": "f90c0d8a610b1106",
    "Marker": "55422ae7d0a946b4",
    "OrderAnswered": "6255de7d1ebc373a",
    "OrderProtected": "283673035207a2f0",
    "PositionAsked": "f9f564b59fd789fe",
    "PrimaryChosen": "319ea8cc3898c378",
    "PromotionAsked": "a0b257340bb58914",
    "SiteRates": "6639398bd97acad8",
    "SiteStatus": "5a176c55a34aa95e",
    "StoreBegan": "9fbf88a2a9ead52f",
    "UncopiedSince": "0d37580a3e9341e3",
    "VolumeCopied": "d0f41ab7f8087758",
    "VolumeCreated": "e443717a36fb0fb3",
    "VolumeDeleted": "1feed29e5fb67ed2",
    "VolumeResized": "2a3003e9685db7a1",
    "WriteBatch": "3fe3f4bd9a5e6fb2",
    "WriterOpened": "dfea3e2509fd5515",
    "WriterStatus": "49f49a610bae2dac",
}


def described(name: str) -> dict[str, Any]:
    return dict(json.loads((GOLDEN / f"{name}.json").read_text()))


def golden_schema(kind: str) -> str:
    return (GOLDEN / f"{NAMESPACE}.{kind}.avsc").read_text()


def plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def canonical(schema: Any) -> Any:
    """Parsing canonical form as a tree, by the transformations of the Avro specification (no alias or union here)."""
    if isinstance(schema, str):
        return f"{NAMESPACE}.{schema}" if schema == "fixed16" else schema
    if schema["type"] == "record":
        members = [{"name": field["name"], "type": canonical(field["type"])} for field in schema["fields"]]
        return {"name": f"{NAMESPACE}.{schema['name']}", "type": "record", "fields": members}
    if schema["type"] == "fixed":
        return {"name": f"{NAMESPACE}.{schema['name']}", "type": "fixed", "size": schema["size"]}
    return {"type": "array", "items": canonical(schema["items"])}


def crc_64_avro(text: bytes) -> int:
    """The specification's algorithm, bit by bit."""
    empty = 0xC15D213AA4D7A795
    result = empty
    for byte in text:
        result ^= byte
        for _ in range(8):
            result = result >> 1 ^ (empty if result & 1 else 0)
    return result


def test_every_type_has_a_golden_file() -> None:
    """Events and control records, with the schema of 0.1."""
    assert {name.partition("-")[0] for name in NAMES} == set(EVENT_TYPES) | set(CONTROL_TYPES) == set(FINGERPRINTS)
    assert {path.name.split(".")[-2] for path in GOLDEN.glob("*.avsc")} == set(FINGERPRINTS)


@pytest.mark.parametrize("name", NAMES)
def test_decoded_by_tidelog(name: str) -> None:
    """Field by field; and encoded again, the same bytes."""
    message, want = (GOLDEN / f"{name}.bin").read_bytes(), described(name)
    if want["type"] in CONTROL_TYPES:
        record = decode_control(message)
        assert {field: plain(value) for field, value in record.model_dump().items()} == want["fields"]
        assert record.kind == want["type"] and record.encode() == message
        return
    codec = Codec(bytes.fromhex(want["key"]))
    event = codec.decode(message)
    assert {field.name: plain(getattr(event, field.name)) for field in fields(event)} == want["fields"]
    assert event.kind == want["type"] and codec.encode(event) == (message, event.seal)


@pytest.mark.parametrize("name", NAMES)
def test_decoded_by_apache_avro(name: str) -> None:
    """With nothing but the schema's text, to the last byte."""
    message, want = (GOLDEN / f"{name}.bin").read_bytes(), described(name)
    buffer = BytesIO(message[HEADER_SIZE:])
    record = avro.io.DatumReader(avro.schema.parse(golden_schema(want["type"]))).read(avro.io.BinaryDecoder(buffer))
    assert isinstance(record, dict)
    assert {field: plain(value) for field, value in record.items()} == want["fields"]
    assert buffer.read() == b""


@pytest.mark.parametrize("name", NAMES)
def test_the_header_is_the_fingerprint(name: str) -> None:
    """As pinned here, as our registry has it, and as the specification computes it from the schema of 0.1."""
    message, kind = (GOLDEN / f"{name}.bin").read_bytes(), described(name)["type"]
    text = json.dumps(canonical(json.loads(golden_schema(kind))), separators=(",", ":"))
    computed = crc_64_avro(text.encode()).to_bytes(8, "little")
    assert message[:HEADER_SIZE] == MAGIC + computed == schemas()[kind].header
    assert computed.hex() == FINGERPRINTS[kind]


@pytest.mark.parametrize("kind", sorted(FINGERPRINTS))
def test_apache_avro_calls_the_schemas_compatible(kind: str) -> None:
    """Today's schema reads and is read by itself and by 0.1's."""
    now, then = avro.schema.parse(schemas()[kind].text), avro.schema.parse(golden_schema(kind))
    for reader, writer in ((now, now), (now, then), (then, now)):
        checker: Any = ReaderWriterCompatibilityChecker  # not annotated
        result = checker().get_compatibility(reader, writer)
        assert result.compatibility is SchemaCompatibilityType.compatible


def test_seals_are_blake3_of_what_is_before_them() -> None:
    """Keyed and not; so a bare log can be checked without tidelog."""
    for name in NAMES:
        message, want = (GOLDEN / f"{name}.bin").read_bytes(), described(name)
        if want["type"] in EVENT_TYPES:
            key = bytes.fromhex(want["key"])
            seal_key = blake3(key, derive_key_context="tidelog v1 seal key").digest() if key else None
            assert blake3(message[:-SEAL_SIZE], key=seal_key).digest(16) == message[-SEAL_SIZE:]
    assert any(described(name)["key"] for name in NAMES)
