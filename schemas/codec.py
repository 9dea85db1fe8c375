"""Events to bytes and back: Avro single-object encoding, sealed (DESIGN section 3).

The seal is BLAKE3, cut to 128 bits, of all bytes before it, keyed if the group has a key. It is the record's last
field, a fixed of 16 bytes, so it is always the last 16 bytes of a message. Every byte of a log is sealed once and
checked at each site: 256 KiB take BLAKE3 41 us, SHA-256 174, blake2b 318 (``python tests/schemas/measure.py``), and
applying went from 0.95 of H to 1.16 by that (``python -m benchmarks --only apply-4k``, one run each).

A log may hold events in Confluent's framing, too (`tidelog.schemas.confluent`): the first byte tells. The seal is of
the single-object encoding in either, so nothing that is sealed, chained or digested depends on the framing.

An event has one encoding: bytes that Avro would read as the same event (a number with leading zeros, an array in two
blocks) are `CorruptEvent`. Most events go through fastavro; a `WriteBatch` is put together here, since its arrays
decide the speed of small writes (see longs.py for the measurement).
"""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from operator import lt
from typing import Any

from blake3 import blake3
from fastavro import schemaless_reader, schemaless_writer

from tidelog.clock import LATEST_US
from tidelog.errors import CorruptEvent, UnsupportedEvent
from tidelog.schemas.confluent import ID_HEADER_SIZE, ID_MAGIC
from tidelog.schemas.events import EVENT_TYPES, ZERO_SEAL, Event, WriteBatch
from tidelog.schemas.longs import decode_long, decode_longs, encode_long, encode_longs
from tidelog.schemas.registry import HEADER_SIZE, MAGIC, Schema, by_header, schemas

SEAL_SIZE = 16
# BLAKE3 takes keys of 32 bytes: this, with its own derivation, makes one of whatever a group's key is.
SEAL_KEY_CONTEXT = "tidelog v1 seal key"
# Larger than any batch a writer makes (write batches close at 256 KiB, a single write is split at MAX_WRITE_SIZE).
MAX_MESSAGE_SIZE = 4 * 1024 * 1024

_UPGRADE = "a newer tidelog wrote this; upgrade this site, then start it again"
_FOREIGN = "something else writes to this topic, or it was damaged; see docs/guarantees.md, 'stop on doubt'"


def group_seal(group_id: str) -> bytes:
    """What the first event of a group carries as ``previous``."""
    return blake3(group_id.encode()).digest(SEAL_SIZE)


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
        raise CorruptEvent(
            f"record of {len(value)} bytes, more than the {max_size} that any writer makes", hint=_FOREIGN
        )
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
    if not isinstance(record, dict) or write_record(schema, record).getbuffer() != value:
        raise CorruptEvent(f"{schema.name} is not in its one encoding", hint=_FOREIGN)
    return schema, record


class Codec:
    """Encodes and decodes one group's events; ``key``, of any length, makes seals an authentication.

    ``key_id`` is not on the wire: a group has one key, and a wrong one fails every seal.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._hash: Callable[..., blake3] = blake3
        if key:
            self._hash = partial(blake3, key=blake3(key, derive_key_context=SEAL_KEY_CONTEXT).digest())
        self._by_id: dict[bytes, bytes] = {}  # of a registry: the header that the last seal of that id has proved

    def seal(self, message: bytes | memoryview) -> bytes:
        """The seal of a message's bytes (without the seal itself)."""
        return self._hash(message).digest(SEAL_SIZE)

    def encode(self, event: Event) -> tuple[bytes, bytes]:
        """The message and its seal; ``event.seal`` is ignored."""
        parts: tuple[bytes, ...]
        if isinstance(event, WriteBatch):
            parts = _write_batch_parts(event)
        else:
            record = {name: getattr(event, name) for name in _FIELDS[event.kind]}
            parts = (write_record(schemas()[event.kind], record | {"seal": ZERO_SEAL}).getvalue()[:-SEAL_SIZE],)
        digest = self._hash()
        for part in parts:
            digest.update(part)
        seal = digest.digest(SEAL_SIZE)
        return b"".join((*parts, seal)), seal

    def decode(self, value: bytes) -> Event:
        """The event that these bytes are, in single-object encoding or in Confluent's framing.

        Raises `CorruptEvent` (wrong seal before anything else, then bytes that do not decode or are impossible) or
        `UnsupportedEvent` (sealed by this group, with a fingerprint that this version does not know).
        """
        if len(value) > MAX_MESSAGE_SIZE:
            raise CorruptEvent(f"record of {len(value)} bytes, more than any writer makes", hint=_FOREIGN)
        if value[:1] == ID_MAGIC:
            value = self._single_object(value)
        else:
            self._check_seal(value)
        if value[:HEADER_SIZE] == _WRITE_BATCH_HEADER:
            return _read_write_batch(value)
        schema, record = read_record(value)
        cls = EVENT_TYPES.get(schema.name)
        if cls is None:
            raise CorruptEvent(f"{schema.name} does not belong into a group's log", hint=_FOREIGN)
        event = cls(**record)
        lowest = min(number for number in record.values() if isinstance(number, int))
        if lowest < 0 or event.sequence < 1 or not 0 < event.epoch <= _MAX_INT or record.get("length") == 0:
            raise CorruptEvent(f"{schema.name} has a number out of range", hint=_FOREIGN)
        if record.get("until_us", 0) > LATEST_US:
            raise CorruptEvent(f"{schema.name} names a time that no calendar has", hint=_FOREIGN)
        return event

    def _check_seal(self, value: bytes) -> None:
        if value[:2] != MAGIC or len(value) < HEADER_SIZE + SEAL_SIZE:
            raise CorruptEvent("record is not in Avro single-object encoding", hint=_FOREIGN)
        view = memoryview(value)
        if self.seal(view[:-SEAL_SIZE]) != view[-SEAL_SIZE:]:
            known = bytes(value[:HEADER_SIZE]) in by_header()
            detail = "" if known else f", and an unknown schema fingerprint {bytes(value[2:HEADER_SIZE]).hex()}"
            raise CorruptEvent(f"record has a wrong seal{detail}", hint=_FOREIGN)

    def _single_object(self, value: bytes) -> bytes:
        """A message of Confluent's framing in the encoding that is sealed. Which schema its id stands for is told by
        the seal, so no registry is asked: one schema alone makes it right."""
        if len(value) < ID_HEADER_SIZE + SEAL_SIZE:
            raise CorruptEvent("record is too short for an event in Confluent's framing", hint=_FOREIGN)
        identity, view = value[:ID_HEADER_SIZE], memoryview(value)
        known = self._by_id.get(identity)
        for header in _HEADERS if known is None else (known, *_HEADERS):  # a new registry may give ids anew
            digest = self._hash(header)
            digest.update(view[ID_HEADER_SIZE:-SEAL_SIZE])
            if digest.digest(SEAL_SIZE) == view[-SEAL_SIZE:]:
                if len(self._by_id) >= _IDS_MAX:  # a registry gives each type one; others are somebody's play
                    self._by_id.clear()
                self._by_id[identity] = header
                return b"".join((header, view[ID_HEADER_SIZE:]))
        number = int.from_bytes(identity[1:], "big")
        raise CorruptEvent(
            f"record has a wrong seal, or is of a schema that this version does not know (id {number} of a registry)",
            hint=f"{_UPGRADE}; or {_FOREIGN}",
        )


_IDS_MAX = 64
_HEADERS = tuple(schemas()[name].header for name in EVENT_TYPES)
_FIELDS = {
    name: [field["name"] for field in schemas()[name].parsed["fields"] if field["name"] != "seal"]
    for name in EVENT_TYPES
}


_WRITE_BATCH_HEADER = schemas()[WriteBatch.kind].header
_MAX_INT = 2**31 - 1  # of an Avro int


def _write_batch_parts(batch: WriteBatch) -> tuple[bytes, bytes]:
    """The message without its seal: what comes before the data, and the data."""
    if len(batch.writer) != SEAL_SIZE or len(batch.previous) != SEAL_SIZE:
        raise ValueError("writer and previous have 16 bytes each")
    head = (
        _WRITE_BATCH_HEADER,
        encode_long(batch.epoch),
        batch.writer,
        encode_long(batch.sequence),
        encode_long(batch.timestamp_us),
        batch.previous,
        encode_longs(batch.volumes),
        encode_longs(batch.offsets),
        encode_longs(batch.lengths),
        encode_longs(batch.timestamps_us),
        encode_long(len(batch.data)),
    )
    return b"".join(head), batch.data


def _read_write_batch(value: bytes) -> WriteBatch:
    try:
        epoch, at = decode_long(value, HEADER_SIZE)
        writer, at = value[at : at + SEAL_SIZE], at + SEAL_SIZE
        sequence, at = decode_long(value, at)
        timestamp_us, at = decode_long(value, at)
        previous, at = value[at : at + SEAL_SIZE], at + SEAL_SIZE
        volumes, at = decode_longs(value, at)
        offsets, at = decode_longs(value, at)
        lengths, at = decode_longs(value, at)
        times, at = decode_longs(value, at)
        size, at = decode_long(value, at)
    except ValueError as error:
        raise CorruptEvent(f"WriteBatch does not decode: {error}", hint=_FOREIGN) from error
    count = len(lengths)
    if not (
        count == len(volumes) == len(offsets) == len(times)
        and count > 0
        and 0 not in lengths
        and sum(lengths) == size == len(value) - SEAL_SIZE - at
        and times[-1] == timestamp_us
        and all(map(lt, times, times[1:]))
        and sequence > 0
        and 0 < epoch <= _MAX_INT
    ):
        raise CorruptEvent("WriteBatch does not add up", hint=_FOREIGN)
    return WriteBatch(
        epoch=epoch,
        writer=writer,
        sequence=sequence,
        timestamp_us=timestamp_us,
        previous=previous,
        volumes=volumes,
        offsets=offsets,
        lengths=lengths,
        timestamps_us=times,
        data=value[at:-SEAL_SIZE],
        seal=value[-SEAL_SIZE:],
    )
