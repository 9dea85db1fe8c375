"""An interpreter of a group's log that owes nothing to tidelog's own code: what every site must hold.

Plain Python: one bytearray a volume, the verdict table written out once more, sealing and decoding by blake3, fastavro
and (to check that one) Apache's own Avro. It reads a whole log from its first record, so it never has to ask whether a
head is still there. Only the ``.avsc`` files are shared with the code under test.
"""

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import fastavro
from blake3 import blake3

from tests.reference_image import Cut, Frozen, Impossible, Volume

_SCHEMAS = Path(__file__).parent.parent / "schemas"
_HEADER = 10
_SEAL = 16


@dataclass(frozen=True)
class _Schema:
    name: str
    fast: Any
    apache: avro.schema.Schema


@cache
def _schemas() -> dict[bytes, _Schema]:
    """By the ten bytes that open a message. Apache's own fingerprint is of no use: it writes a named type out at each
    use, against the specification."""
    found = {}
    for path in sorted(_SCHEMAS.glob("*.avsc")):
        text = path.read_text()
        name = path.name.removeprefix("tidelog.v1.").removesuffix(".avsc")
        canonical = json.dumps(_canonical(json.loads(text)), separators=(",", ":"))
        header = b"\xc3\x01" + _crc_64_avro(canonical.encode()).to_bytes(8, "little")
        found[header] = _Schema(name, fastavro.parse_schema(json.loads(text)), avro.schema.parse(text))
    return found


def _canonical(schema: Any) -> Any:
    """The parsing canonical form, as far as our flat schemas need it."""
    if isinstance(schema, str):
        return "tidelog.v1.fixed16" if schema == "fixed16" else schema
    kind = schema["type"]
    if kind == "record":
        fields = [{"name": field["name"], "type": _canonical(field["type"])} for field in schema["fields"]]
        return {"name": f"tidelog.v1.{schema['name']}", "type": kind, "fields": fields}
    if kind == "fixed":
        return {"name": f"tidelog.v1.{schema['name']}", "type": kind, "size": schema["size"]}
    return {"type": kind, "items": _canonical(schema["items"])}


def _crc_64_avro(data: bytes) -> int:
    """As the Avro specification gives it, bit by bit."""
    empty = crc = 0xC15D213AA4D7A795
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (empty if crc & 1 else 0)
    return crc


@lru_cache(maxsize=4096)
def decode(value: bytes, key: bytes = b"") -> dict[str, Any]:
    """The fields of a record and its ``kind``. Raises `Impossible`."""
    schema = _checked(value, key)
    buffer = BytesIO(value[_HEADER:])
    fields = fastavro.schemaless_reader(buffer, schema.fast, None)
    if buffer.read():
        raise Impossible("bytes behind the record")
    return {"kind": schema.name} | fields


def decode_apache(value: bytes, key: bytes = b"") -> dict[str, Any]:
    """The same by Apache's Avro, a hundred times slower."""
    schema = _checked(value, key)
    buffer = BytesIO(value[_HEADER:])
    fields = avro.io.DatumReader(schema.apache).read(avro.io.BinaryDecoder(buffer))
    if buffer.read():
        raise Impossible("bytes behind the record")
    return {"kind": schema.name} | fields


def _seal(sealed: bytes, key: bytes) -> bytes:
    if not key:
        return blake3(sealed).digest(_SEAL)
    return blake3(sealed, key=blake3(key, derive_key_context="tidelog v1 seal key").digest()).digest(_SEAL)


def _checked(value: bytes, key: bytes) -> _Schema:
    if _seal(value[:-_SEAL], key) != value[-_SEAL:]:
        raise Impossible("wrong seal")
    schema = _schemas().get(value[:_HEADER])
    if schema is None:
        raise Impossible("unknown fingerprint")
    return schema


@dataclass(frozen=True)
class Counted:
    """An event that counts."""

    kind: str
    first: int
    last: int
    epoch: int
    writer: bytes
    seal: bytes
    offset: int

    @property
    def changes(self) -> int:
        """As rates and totals count: a heartbeat is none, each write of a batch is one."""
        return 0 if self.kind == "Heartbeat" else self.last - self.first + 1


class Reference:
    """The fold of a log. ``gap`` while an event is missing; ``skipped`` counts records by verdict."""

    def __init__(self, group_id: str, key: bytes = b"") -> None:
        self._key = key
        self.sequence, self.epoch, self.writer = 0, 0, b""
        self.seal = blake3(group_id.encode()).digest(16)
        self.timestamp_us, self.gap = 0, False
        self.counted: list[Counted] = []
        self.void_openings: list[int] = []  # their epochs
        self.skipped = {"void": 0, "redelivered": 0, "held": 0}
        self.volumes: dict[int, Volume] = {}
        self.copies: dict[int, Cut] = {}
        self._copied: dict[tuple[int, int], tuple[int, int]] = {}  # since when source and target may have changed

    def fold(self, records: Iterable[tuple[int, bytes]], until: int | None = None) -> "Reference":
        """Takes (offset, value) in log order; stops behind the event that ends at sequence ``until``."""
        for offset, value in records:
            if until is not None and self.sequence >= until:
                break
            event = decode(value, self._key)
            verdict = self._judge(event)
            if verdict in ("apply", "accept"):
                self._count(event, offset)
            elif verdict == "gap":
                self.gap = True
                self.skipped["held"] += 1
            else:
                self.skipped[verdict] += 1
        return self

    def image(self) -> Frozen:
        """The live volumes."""
        return {number: (v.name, v.block_size, bytes(v.data)) for number, v in self.volumes.items()}

    def at(self, sequence: int) -> Counted | None:
        """The event that counts and ends at ``sequence``."""
        return next((event for event in self.counted if event.last == sequence), None)

    def _judge(self, event: dict[str, Any]) -> str:
        first, last = event["sequence"], _last(event)
        follows = first == self.sequence + 1 and event["previous"] == self.seal
        mine = event["epoch"] == self.epoch and event["writer"] == self.writer
        newer = event["epoch"] > self.epoch
        opening = event["kind"] == "WriterOpened"
        if newer and opening and follows:
            self._tick(event)
            return "accept"
        if mine and follows:
            self._tick(event)
            return "held" if self.gap else "apply"
        if mine:
            if last <= self.sequence:
                return "redelivered"
            if first > self.sequence + 1:
                return "gap"
            raise Impossible("a session forked its own history")
        if not newer:
            return "void"
        if opening and first <= self.sequence + 1:
            self.void_openings.append(event["epoch"])
            return "void"
        return "gap"

    def _tick(self, event: dict[str, Any]) -> None:
        first = event["timestamps_us"][0] if event["kind"] == "WriteBatch" else event["timestamp_us"]
        if first <= self.timestamp_us:
            raise Impossible("time goes back")

    def _count(self, event: dict[str, Any], offset: int) -> None:
        self._apply(event)
        self.gap = False
        self.sequence, self.seal = _last(event), event["seal"]
        self.epoch, self.writer, self.timestamp_us = event["epoch"], event["writer"], event["timestamp_us"]
        first = event["sequence"]
        self.counted.append(Counted(event["kind"], first, self.sequence, self.epoch, self.writer, self.seal, offset))

    def _apply(self, event: dict[str, Any]) -> None:
        kind = event["kind"]
        if kind == "WriteBatch":
            at = 0
            for number, offset, length in zip(event["volumes"], event["offsets"], event["lengths"], strict=True):
                self._known(number).put(offset, event["data"][at : at + length], _last(event))
                at += length
        elif kind == "Discard":
            self._known(event["volume"]).put(event["offset"], bytes(event["length"]), _last(event))
        elif kind == "VolumeCreated":
            if any(volume.name == event["name"] for volume in self.volumes.values()):
                raise Impossible("a volume created twice")
            self.volumes[event["sequence"]] = Volume(event["name"], event["block_size"], bytearray(event["size"]))
        elif kind == "VolumeResized":
            self._known(event["volume"]).resize(event["size"], _last(event))
        elif kind == "VolumeDeleted":
            self._known(event["volume"])
            del self.volumes[event["volume"]]
        elif kind == "VolumeCopied":
            self._copy(event)
        elif kind == "Marker":
            changed = sum(len(volume.named) for volume in self.volumes.values())
            self.copies[event["sequence"]] = Cut(
                event["sequence"], event["seal"], event["name"], event["timestamp_us"], self.image(), changed
            )
            for volume in self.volumes.values():
                volume.named.clear()
        elif kind in ("CopyDropped", "CopyLocked", "CopyKept"):
            self._protect_or_drop(event)
        elif kind not in ("WriterOpened", "Heartbeat"):
            raise Impossible(f"{kind} is not interpreted here")

    def _protect_or_drop(self, event: dict[str, Any]) -> None:
        copy = self.copies.get(event["copy_sequence"])
        if copy is None or copy.seal != event["copy_seal"]:
            return
        locked = max(copy.locked_until_us, event.get("until_us", 0))
        self.copies[copy.sequence] = replace(copy, locked_until_us=locked, kept=event.get("kept", copy.kept))
        if event["kind"] == "CopyDropped" and event["timestamp_us"] >= locked:
            del self.copies[copy.sequence]

    def may_differ(self, source: int, target: int, of: int = 0) -> set[int]:
        """The blocks that a copy must ship, from the live source or (``of``) as it was at that marker, as far as the
        target has them."""
        mine, theirs = self._known(source), self._known(target)
        found = mine.since(of) if of else set()
        if source != target:
            source_from, target_from = self._copied.get((source, target), (0, 0))
            found |= mine.since(source_from) | theirs.since(target_from)
        return found

    def _copy(self, event: dict[str, Any]) -> None:
        source, target, of = event["source"], event["target"], event["source_copy_sequence"]
        content = bytes(self._known(source).data)
        if of:
            cut = self.copies.get(of)
            if cut is None or cut.seal != event["source_copy_seal"] or source not in cut.volumes:
                raise Impossible("a copy from a copy that is not there")
            content = cut.volumes[source][2]
        elif source == target:
            raise Impossible("a copy of a volume to itself")
        bits = "".join(f"{byte:08b}" for byte in zlib.decompress(event["bitmap"]))
        shipped = {block for block, bit in enumerate(bits) if bit == "1"}
        there = range(-(-len(self._known(target).data) // self._known(target).block_size))
        if missing := self.may_differ(source, target, of) & set(there) - shipped:
            raise Impossible(f"a copy that leaves out blocks {sorted(missing)[:9]}")
        self._known(target).become(content, shipped, self._known(source).block_size, event["sequence"])
        self._copied[source, target] = of or event["sequence"], event["sequence"]

    def _known(self, number: int) -> Volume:
        if number not in self.volumes:
            raise Impossible(f"volume {number} does not exist")
        return self.volumes[number]


def _last(event: dict[str, Any]) -> int:
    return int(event["sequence"]) + (len(event["lengths"]) - 1 if event["kind"] == "WriteBatch" else 0)
