"""Events as lines for people and as JSON for programs; block data never, but for its first bytes on request."""

from itertools import accumulate
from typing import Any

from rich.text import Text

from tidelog.clock import iso
from tidelog.gateways.cli.log_reading import Judged, Shown
from tidelog.gateways.cli.output import short
from tidelog.schemas.events import (
    CopyDropped,
    CopyKept,
    CopyLocked,
    Discard,
    Event,
    Heartbeat,
    Marker,
    VolumeCopied,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
    WriteBatch,
    WriterOpened,
)

FIRST_BYTES = 16
HEADINGS = Text(f"{'offset':>8}  {'verdict':<11}  {'sequence':>12}  {'time':<27}  epoch, event", style="bold")

_STYLES = {
    Shown.COUNTS: "",
    Shown.VOID: "dim",
    Shown.REDELIVERED: "dim",
    Shown.HELD: "yellow",
    Shown.DIVERGED: "bold red",
    Shown.UNDECODABLE: "bold red",
}


def as_text(judged: Judged, *, data: bool) -> Text:
    """Offset, verdict, sequence, time, kind and what it says; with ``data`` a line for each write below it."""
    event, style = judged.event, _STYLES[judged.verdict]
    verdict = judged.verdict.value + ("" if judged.trusted else "?")
    if event is None:
        return Text(f"{judged.offset:>8}  {verdict:<11}  {judged.size} bytes: {judged.reason}", style=style)
    sequence = str(event.sequence)
    if event.last_sequence != event.sequence:
        sequence += f"-{event.last_sequence}"
    line = (
        f"{judged.offset:>8}  {verdict:<11}  {sequence:>12}  {iso(event.timestamp_us)}  epoch {event.epoch}"
        f"  {event.kind}  {_said(event, judged.names)}"
    )
    if judged.reason:
        line += f"  ({judged.reason})"
    if data and isinstance(event, WriteBatch):
        for write in _writes(event, judged.names, data=True):
            line += (
                f"\n{'':>10}{write['sequence']}: {write['name']} {write['offset']}+{write['length']} {write['data']}"
            )
    return Text(line, style=style)


def counts_as_heartbeat(judged: Judged) -> bool:
    """Whether it says only that time has passed."""
    return isinstance(judged.event, Heartbeat) and judged.verdict is Shown.COUNTS and judged.trusted


def heartbeats_text(first: Judged, last: Judged, count: int) -> Text:
    """One line for ``count`` heartbeats in a row."""
    if count == 1 or first.event is None or last.event is None:
        return as_text(first, data=False)
    sequences = f"{first.event.sequence}-{last.event.sequence}"
    span = (last.event.timestamp_us - first.event.timestamp_us) / 1_000_000
    return Text(
        f"{first.offset:>8}  {first.verdict.value:<11}  {sequences:>12}  {iso(first.event.timestamp_us)}"
        f"  epoch {first.event.epoch}  Heartbeat  {count} of them in {span:.1f} s",
        style="dim",
    )


def as_json(judged: Judged, *, data: bool) -> dict[str, Any]:
    """One record; field names are those of the Avro schemas, identities in hexadecimal."""
    document: dict[str, Any] = {
        "offset": judged.offset,
        "bytes": judged.size,
        "verdict": judged.verdict.value,
        "reason": judged.reason or None,
        "assumed": not judged.trusted,
    }
    event = judged.event
    if event is None:
        return document | {"kind": None}
    return document | {
        "kind": event.kind,
        "sequence": event.sequence,
        "last_sequence": event.last_sequence,
        "time": iso(event.timestamp_us),
        "timestamp_us": event.timestamp_us,
        "epoch": event.epoch,
        "writer": event.writer.hex(),
        "previous": event.previous.hex(),
        "seal": event.seal.hex(),
        **_fields(event, judged.names, data=data),
    }


def _said(event: Event, names: dict[int, str]) -> str:
    match event:
        case WriteBatch():
            volumes = ", ".join(_name(volume, names) for volume in dict.fromkeys(event.volumes))
            count = len(event.lengths)
            return f"{count} {'write' if count == 1 else 'writes'}, {len(event.data)} bytes, to {volumes}"
        case WriterOpened():
            return f"by {event.opened_by}"
        case VolumeCreated():
            return f"{event.name}, {event.size} bytes in blocks of {event.block_size}"
        case VolumeResized():
            return f"{_name(event.volume, names)} to {event.size} bytes"
        case VolumeDeleted():
            return _name(event.volume, names)
        case Discard():
            return f"{_name(event.volume, names)} {event.offset}+{event.length}"
        case Marker():
            return f"{event.name}, seal {short(event.seal)}"
        case CopyDropped():
            return f"of sequence {event.copy_sequence}"
        case CopyLocked():
            return f"of sequence {event.copy_sequence}, until {iso(event.until_us)}"
        case CopyKept():
            return f"of sequence {event.copy_sequence}, {'kept' if event.kept else 'released'}"
        case VolumeCopied():
            source, target = _name(event.source, names), _name(event.target, names)
            copy = f" at copy #{event.source_copy_sequence}" if event.source_copy_sequence else ""
            return f"{source}{copy} to {target}, bitmap of {len(event.bitmap)} bytes"
    return ""


def _fields(event: Event, names: dict[int, str], *, data: bool) -> dict[str, Any]:
    match event:
        case WriteBatch():
            return {"data_bytes": len(event.data), "writes": _writes(event, names, data=data)}
        case WriterOpened():
            return {"opened_by": event.opened_by}
        case VolumeCreated():
            return {"name": event.name, "size": event.size, "block_size": event.block_size}
        case VolumeResized():
            return {"volume": event.volume, "volume_name": names.get(event.volume), "size": event.size}
        case VolumeDeleted():
            return {"volume": event.volume}
        case Discard():
            where = {"offset_bytes": event.offset, "length": event.length}
            return {"volume": event.volume, "volume_name": names.get(event.volume)} | where
        case Marker():
            return {"name": event.name}
        case CopyDropped():
            return {"copy_sequence": event.copy_sequence, "copy_seal": event.copy_seal.hex()}
        case CopyLocked():
            copy = {"copy_sequence": event.copy_sequence, "copy_seal": event.copy_seal.hex()}
            return copy | {"until": iso(event.until_us), "until_us": event.until_us}
        case CopyKept():
            copy = {"copy_sequence": event.copy_sequence, "copy_seal": event.copy_seal.hex()}
            return copy | {"kept": event.kept}
        case VolumeCopied():
            return {
                "source": event.source,
                "source_copy_sequence": event.source_copy_sequence,
                "target": event.target,
                "bitmap_bytes": len(event.bitmap),
            }
    return {}


def _writes(batch: WriteBatch, names: dict[int, str], *, data: bool) -> list[dict[str, Any]]:
    starts = accumulate(batch.lengths, initial=0)
    columns = zip(batch.volumes, batch.offsets, batch.lengths, batch.timestamps_us, starts, strict=False)
    writes = []
    for index, (volume, offset, length, timestamp_us, start) in enumerate(columns):
        write: dict[str, Any] = {
            "sequence": batch.sequence + index,
            "volume": volume,
            "name": _name(volume, names),
            "offset": offset,
            "length": length,
            "timestamp_us": timestamp_us,
        }
        if data:
            write["data"] = bytes(batch.data[start : start + min(length, FIRST_BYTES)]).hex()
        writes.append(write)
    return writes


def _name(volume: int, names: dict[int, str]) -> str:
    return names.get(volume, f"volume {volume}")
