"""Events to bytes and back: Avro single-object encoding, sealed (DESIGN section 3).

The seal is blake2b-128 of all bytes before it, keyed if the group has a key. It is the record's last field, a fixed of
16 bytes, so it is always the last 16 bytes of a message.
"""

from hashlib import blake2b
from io import BytesIO
from operator import lt
from typing import Any

from fastavro import schemaless_reader, schemaless_writer

from tidelog.errors import CorruptEvent, UnsupportedEvent
from tidelog.schemas.events import EVENT_TYPES, ZERO_SEAL, Event, WriteBatch
from tidelog.schemas.registry import HEADER_SIZE, MAGIC, Schema, by_header, schemas

SEAL_SIZE = 16
# Larger than any batch a writer makes (write batches close at 256 KiB, a single write is split at MAX_WRITE_SIZE).
MAX_MESSAGE_SIZE = 4 * 1024 * 1024

_UPGRADE = "a newer tidelog wrote this; upgrade this site, then start it again"
_FOREIGN = "something else writes to this topic, or it was damaged; see docs/guarantees.md, 'stop on doubt'"


def group_seal(group_id: str) -> bytes:
    """What the first event of a group carries as ``previous``."""
    return blake2b(group_id.encode(), digest_size=SEAL_SIZE).digest()


def write_record(schema: Schema, record: dict[str, Any]) -> BytesIO:
    """A buffer with the single-object encoding of ``record``, positioned at its end."""
    buffer = BytesIO()
    buffer.write(schema.header)
    schemaless_writer(buffer, schema.parsed, record)
    return buffer


def read_record(value: bytes, max_size: int = MAX_MESSAGE_SIZE) -> tuple[Schema, dict[str, Any]]:
    """The schema and fields of one message that holds exactly one record.

    Raises `CorruptEvent` for anything else, `UnsupportedEvent` for a fingerprint that is not built in.
    """
    if len(value) > max_size:
        raise CorruptEvent(f"record of {len(value)} bytes, more than the {max_size} that any writer makes", hint=_FOREIGN)
    if value[:2] != MAGIC or len(value) < HEADER_SIZE:
        raise CorruptEvent("record is not in Avro single-object encoding", hint=_FOREIGN)
    schema = by_header().get(bytes(value[:HEADER_SIZE]))
    if schema is None:
        raise UnsupportedEvent(f"unknown schema fingerprint {bytes(value[2:HEADER_SIZE]).hex()}", hint=_UPGRADE)
    buffer = BytesIO(value)
    buffer.seek(HEADER_SIZE)
    try:
        record = schemaless_reader(buffer, schema.parsed, None)
    except Exception as error:  # fastavro raises many types on hostile bytes; each means the same
        raise CorruptEvent(f"{schema.name} does not decode: {error or type(error).__name__}", hint=_FOREIGN) from error
    if buffer.tell() != len(value):
        raise CorruptEvent(f"{schema.name} is followed by {len(value) - buffer.tell()} bytes", hint=_FOREIGN)
    if not isinstance(record, dict):
        raise CorruptEvent(f"{schema.name} is no record", hint=_FOREIGN)
    return schema, record


class Codec:
    """Encodes and decodes one group's events; ``key`` (up to 64 bytes) makes seals an authentication.

    ``key_id`` is not on the wire: a group has one key, and a wrong one fails every seal.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or b""

    def seal(self, message: bytes | memoryview) -> bytes:
        """The seal of a message's bytes (without the seal itself)."""
        return blake2b(message, digest_size=SEAL_SIZE, key=self._key).digest()

    def encode(self, event: Event) -> tuple[bytes, bytes]:
        """The message and its seal; ``event.seal`` is ignored."""
        record = {name: getattr(event, name) for name in _FIELDS[event.kind]}
        record["seal"] = ZERO_SEAL
        buffer = write_record(schemas()[event.kind], record)
        view = buffer.getbuffer()
        seal = self.seal(view[:-SEAL_SIZE])
        view[-SEAL_SIZE:] = seal
        view.release()
        return buffer.getvalue(), seal

    def decode(self, value: bytes) -> Event:
        """The event that these bytes are.

        Raises `CorruptEvent` (wrong seal before anything else, then bytes that do not decode or are impossible) or
        `UnsupportedEvent` (sealed by this group, with a fingerprint that this version does not know).
        """
        if value[:2] != MAGIC or len(value) < HEADER_SIZE + SEAL_SIZE:
            raise CorruptEvent("record is not in Avro single-object encoding", hint=_FOREIGN)
        if len(value) > MAX_MESSAGE_SIZE:
            raise CorruptEvent(f"record of {len(value)} bytes, more than any writer makes", hint=_FOREIGN)
        view = memoryview(value)
        if self.seal(view[:-SEAL_SIZE]) != view[-SEAL_SIZE:]:
            known = bytes(value[:HEADER_SIZE]) in by_header()
            detail = "" if known else f", and an unknown schema fingerprint {bytes(value[2:HEADER_SIZE]).hex()}"
            raise CorruptEvent(f"record has a wrong seal{detail}", hint=_FOREIGN)
        schema, record = read_record(value)
        cls = EVENT_TYPES.get(schema.name)
        if cls is None:
            raise CorruptEvent(f"{schema.name} does not belong into a group's log", hint=_FOREIGN)
        event = cls(**record)
        if isinstance(event, WriteBatch):
            _check_batch(event)
        if event.sequence < 1 or event.epoch < 1:
            raise CorruptEvent(f"{schema.name} has sequence {event.sequence}, epoch {event.epoch}", hint=_FOREIGN)
        return event


_FIELDS = {
    name: [field["name"] for field in schemas()[name].parsed["fields"] if field["name"] != "seal"] for name in EVENT_TYPES
}


def _check_batch(batch: WriteBatch) -> None:
    count = len(batch.lengths)
    times = batch.timestamps_us
    if not (
        count > 0
        and count == len(batch.volumes) == len(batch.offsets) == len(times)
        and min(batch.lengths) > 0
        and min(batch.offsets) >= 0
        and sum(batch.lengths) == len(batch.data)
        and times[-1] == batch.timestamp_us
        and all(map(lt, times, times[1:]))
    ):
        raise CorruptEvent("WriteBatch does not add up", hint=_FOREIGN, sequence=batch.sequence)
