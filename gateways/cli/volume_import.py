"""Bytes from files into volumes."""

import sys
from pathlib import Path
from typing import BinaryIO

from tidelog.errors import OutOfBounds, UsageError
from tidelog.gateways.cli.exit_codes import PartlyWritten
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, size_text
from tidelog.gateways.cli.progress import LARGE_BYTES, byte_bar
from tidelog.gateways.cli.writers import writing
from tidelog.gateways.files import Run, runs_in
from tidelog.producers.extents import out_of_bounds
from tidelog.producers.group import Group
from tidelog.producers.group_state import GroupState
from tidelog.producers.rules import volume_named, volume_to_create
from tidelog.producers.volume import Volume
from tidelog.schemas.volumes import VolumeInfo

_PART_BYTES = 1024 * 1024
_STDIN = "-"


def import_file(
    invocation: Invocation, file: Path, name: str, group: str, block_size: int | None, *, take_over: bool
) -> None:
    """Writes ``file`` to the beginning of a volume; with ``block_size`` the volume is made if it is not there.

    Raises `OutOfBounds` if the file is larger than the volume: then nothing was written.
    """
    with file.open("rb") as source:
        size = source.seek(0, 2)
        if not size:
            raise UsageError(f"{file} is empty")
        with writing(
            invocation,
            group,
            take_over=take_over,
            check=lambda state, _: _check_import(state, file, size, name, block_size, group),
        ) as opened:
            volume, fresh = _volume(opened, name, size, block_size)
            _require_room(file, size, volume.info, group)
            stored = 0
            with byte_bar(invocation, f"importing {file.name}", size) as advance:
                for run in runs_in(source, size):
                    stored += _put(volume, run, fresh=fresh)
                    advance(run[1])
                opened.flush()
            sequence = opened.session.confirmed.sequence
    invocation.say(
        f"imported {size_text(size)} into volume {name} of group {group}, {size_text(stored)} of them not zero;"
        f" durable in the log at sequence {sequence}"
    )


def write_input(
    invocation: Invocation, name: str, group: str, offset: int, source: str, *, take_over: bool, json: bool
) -> None:
    """Writes a file or stdin at ``offset``. What does not fit is refused before its part (1 MiB) is written."""
    if source == _STDIN:
        _write(invocation, name, group, offset, sys.stdin.buffer, take_over=take_over, json=json)
        return
    path = Path(source)
    if not path.exists() or path.is_dir():
        raise UsageError(f"there is no file {path}")
    with path.open("rb") as file:
        _write(invocation, name, group, offset, file, take_over=take_over, json=json)


def _write(
    invocation: Invocation, name: str, group: str, offset: int, source: BinaryIO, *, take_over: bool, json: bool
) -> None:
    part = source.read(_PART_BYTES)  # before the session: nobody is fenced while somebody types
    size = _size(source, len(part))
    with writing(
        invocation,
        group,
        take_over=take_over,
        check=lambda state, _: _require_fit(volume_named(state, name, group), offset, part, size),
    ) as opened:
        volume, at = opened.volume(name), offset
        _require_fit(volume.info, offset, part, size)
        with byte_bar(invocation, f"writing to {name}", size, least=LARGE_BYTES) as advance:
            while part:
                if at > offset and at + len(part) > volume.size:
                    opened.flush()
                    raise too_long(f"volume {name}", offset, at - offset)
                volume.write(at, part)
                at += len(part)
                advance(len(part))
                part = source.read(_PART_BYTES)
            opened.flush()
        sequence = opened.session.confirmed.sequence
    if json:
        written = {"offset": offset, "length": at - offset, "sequence": sequence}
        emit_json(invocation, {"group": group, "name": name} | written)
        return
    invocation.say(
        f"wrote {at - offset} bytes at offset {offset} of volume {name}; durable in the log at sequence {sequence}"
    )


def too_long(target: str, offset: int, written: int) -> PartlyWritten:
    """What to raise when a stream turns out to be longer than its target, some of which is written."""
    return PartlyWritten(
        f"the stream is longer than {target}: {written} bytes of it were written at offset {offset}, and stay",
        hint="a file (--input FILE) that does not fit is refused before anything is written",
    )


def _size(source: BinaryIO, read: int) -> int | None:
    """The size of the source in bytes; None where only reading it can tell."""
    if source is sys.stdin.buffer or not source.seekable():
        return None
    size = source.seek(0, 2)
    source.seek(read)
    return size


def _require_fit(volume: VolumeInfo, offset: int, part: bytes, size: int | None) -> None:
    """Raises `OutOfBounds` unless the source fits, as far as is known: all of it, or its first part."""
    length = len(part) if size is None else size
    if offset < 0 or not length or offset + length > volume.size:
        error = out_of_bounds(volume, "write", offset, length)
        raise OutOfBounds(error.message, hint=f"nothing was written; {error.hint or 'there is nothing to write'}")


def _check_import(state: GroupState, file: Path, size: int, name: str, block_size: int | None, group: str) -> None:
    """Raises what the import would be refused with."""
    if block_size is not None and state.volumes.named(name) is None:
        volume_to_create(state, name, size, block_size, group)
    else:
        _require_room(file, size, volume_named(state, name, group), group)


def _require_room(file: Path, size: int, volume: VolumeInfo, group: str) -> None:
    if size > volume.size:
        raise OutOfBounds(
            f"{file} has {size} bytes, and volume {volume.name} has {volume.size}",
            hint="nothing was written; grow the volume with:"
            f" tidelog volume resize {volume.name} --group {group} --size {size}",
        )


def _volume(opened: Group, name: str, size: int, block_size: int | None) -> tuple[Volume, bool]:
    """The volume, and whether it was made just now, so that it holds nothing but zeros."""
    there = any(volume.name == name for volume in opened.volumes())
    if block_size is None or there:
        return opened.volume(name), False
    return opened.create_volume(name, size, block_size), True


def _put(volume: Volume, run: Run, *, fresh: bool) -> int:
    """Writes one run; the number of bytes that are not zeros."""
    offset, length, data = run
    if data is not None:
        volume.write(offset, data)
        return length
    if not fresh:
        volume.discard(offset, length)
    return 0
