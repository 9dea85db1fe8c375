"""Bytes from files into volumes."""

import sys
from pathlib import Path
from typing import BinaryIO

from tidelog.errors import OutOfBounds, UsageError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import size_text
from tidelog.gateways.cli.progress import LARGE_BYTES, byte_bar
from tidelog.gateways.cli.writers import writing
from tidelog.gateways.files import Run, runs_in
from tidelog.producers.group import Group
from tidelog.producers.volume import Volume

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
        with writing(invocation, group, take_over=take_over) as opened:
            volume, fresh = _volume(opened, name, size, block_size)
            if size > volume.size:
                raise OutOfBounds(
                    f"{file} has {size} bytes, and volume {name} has {volume.size}", hint="nothing was written"
                )
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


def write_input(invocation: Invocation, name: str, group: str, offset: int, source: str, *, take_over: bool) -> None:
    """Writes a file or stdin at ``offset``. What does not fit is refused before its part (1 MiB) is written."""
    if source == _STDIN:
        _write(invocation, name, group, offset, sys.stdin.buffer, take_over=take_over)
        return
    path = Path(source)
    if not path.exists() or path.is_dir():
        raise UsageError(f"there is no file {path}")
    with path.open("rb") as file:
        _write(invocation, name, group, offset, file, take_over=take_over)


def _write(invocation: Invocation, name: str, group: str, offset: int, source: BinaryIO, *, take_over: bool) -> None:
    part = source.read(_PART_BYTES)  # before the session: nobody is fenced while somebody types
    with writing(invocation, group, take_over=take_over) as opened:
        volume, at = opened.volume(name), offset
        size = None if source is sys.stdin.buffer else _check_fits(source, len(part), volume, offset)
        with byte_bar(invocation, f"writing to {name}", size, least=LARGE_BYTES) as advance:
            while part or at == offset:
                volume.write(at, part)
                at += len(part)
                advance(len(part))
                part = source.read(_PART_BYTES)
            opened.flush()
        sequence = opened.session.confirmed.sequence
    invocation.say(
        f"wrote {at - offset} bytes at offset {offset} of volume {name}; durable in the log at sequence {sequence}"
    )


def _check_fits(source: BinaryIO, read: int, volume: Volume, offset: int) -> int | None:
    """The size of the source; None where only reading it can tell. Raises `OutOfBounds`."""
    if not source.seekable():
        return None
    size = source.seek(0, 2)
    source.seek(read)
    if offset + size > volume.size:
        raise OutOfBounds(
            f"write of {size} bytes at offset {offset} of volume {volume.name}, which has {volume.size} bytes",
            hint="nothing was written",
        )
    return size


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
