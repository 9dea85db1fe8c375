"""Bytes into and out of clones."""

import sys
from pathlib import Path
from typing import Any, BinaryIO

from tidelog.clock import iso
from tidelog.consumers.clone_view import CloneVolume
from tidelog.consumers.process_settings import set_for_worker
from tidelog.errors import OutOfBounds, UsageError
from tidelog.gateways.cli.exit_codes import Torn
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, size_text
from tidelog.gateways.cli.progress import LARGE_BYTES, byte_bar
from tidelog.gateways.cli.reading import extent, opened_clone, opened_store, send
from tidelog.gateways.cli.volume_import import too_long
from tidelog.gateways.exports.clones import CloneSource
from tidelog.gateways.exports.writing import write_export
from tidelog.gateways.files import new_file, write_sparse
from tidelog.stores.store import Clone

_PART_BYTES = 1024 * 1024
_STDIN = "-"


def clone_json(clone: Clone) -> dict[str, Any]:
    """A clone for programs. ``pitc`` is the copy that it is of, or was begun from: null where that is the log's
    beginning; ``sequence``, ``seal`` and ``time`` are of what it is an image of, or has come to."""
    return {
        "name": clone.name,
        "state": state_of(clone),
        "materialised": clone.reached is not None and clone.archived is None,
        "pitc": clone.archived or (clone.base.name if clone.base.generation else None),
        "sequence": clone.image.sequence,
        "seal": clone.image.seal.hex(),
        "time": iso(clone.image.timestamp_us),
        "made": iso(clone.created_us),
    }


def state_of(clone: Clone) -> str:
    """``ready``, or ``forming`` while it is materialised or that was cut short."""
    return "forming" if clone.forming else "ready"


def origin_of(clone: Clone) -> str:
    """What it is of, for people."""
    if clone.archived is not None:
        return f"{clone.archived} (archived)"
    if clone.moment is None:
        return clone.base.name
    return f"the log at {clone.moment}"


def export_whole(invocation: Invocation, name: str, place: str, group: str, site: str | None, *, json: bool) -> None:
    """Writes a clone that was materialised as Avro files, as `tidelog pitc export` does a copy. Raises `UsageError` for
    one that was written to."""
    set_for_worker()  # its threads read, write and prove at once
    with opened_store(invocation, group, site) as store:
        image = store.clones.image(store.clones.find(name))
        try:
            with byte_bar(invocation, f"exporting {name}", None) as advance:
                manifest = write_export(CloneSource(image), image.clone.image, place, None, advance)
        finally:
            image.close()
    if json:
        emit_json(invocation, {"place": place, "manifest": manifest.model_dump(mode="json")})
        return
    files = "1 file" if len(manifest.files) == 1 else f"{len(manifest.files)} files"
    invocation.say(f"exported clone {name} of group {group} to {place}: {files}, {size_text(manifest.size)}, verified")


def read_clone(
    invocation: Invocation, name: str, volume: str, group: str, site: str | None, offset: str, length: str | None
) -> None:
    """Raw bytes to stdout. Raises `NotFound`, `OutOfBounds`."""
    with opened_clone(invocation, name, group, site) as clone:
        found = clone.volume(volume)
        start, count = extent(found.info, offset, length)
        send(invocation, f"reading {volume} of clone {name}", found.stream(start, count), count)


def write_clone(
    invocation: Invocation, name: str, volume: str, group: str, site: str | None, offset: int, source: str
) -> None:
    """Writes a file or stdin at ``offset``. A file that does not fit is refused before anything is written; of a
    stream, every MiB that fits is written."""
    if source == _STDIN:
        _write(invocation, name, volume, group, site, offset, sys.stdin.buffer)
        return
    path = Path(source)
    if not path.exists() or path.is_dir():
        raise UsageError(f"there is no file {path}")
    with path.open("rb") as file:
        _write(invocation, name, volume, group, site, offset, file)


def _write(
    invocation: Invocation, name: str, volume: str, group: str, site: str | None, offset: int, source: BinaryIO
) -> None:
    with opened_clone(invocation, name, group, site) as clone:
        found, at = clone.volume(volume), offset
        size = None if source is sys.stdin.buffer else _size(source, found, offset)
        with byte_bar(invocation, f"writing to {volume} of clone {name}", size, least=LARGE_BYTES) as advance:
            while part := source.read(_PART_BYTES):
                if at > offset and at + len(part) > found.size:
                    raise too_long(f"volume {volume} of clone {name}", offset, at - offset)
                found.write(at, part)
                at += len(part)
                advance(len(part))
    if at == offset:
        raise UsageError("there is nothing to write", hint="give it bytes on stdin, or name a file with --input")
    invocation.say(f"wrote {at - offset} bytes at offset {offset} of volume {volume} of clone {name}")


def _size(source: BinaryIO, volume: CloneVolume, offset: int) -> int | None:
    if not source.seekable():
        return None
    size = source.seek(0, 2)
    source.seek(0)
    if offset < 0 or offset + size > volume.size:
        raise OutOfBounds(
            f"{size} bytes at offset {offset} of volume {volume.name}, which has {volume.size} bytes",
            hint="nothing was written",
        )
    return size


def export_clone(invocation: Invocation, name: str, volume: str, file: Path, group: str, site: str | None) -> None:
    """Writes the file. Raises `AlreadyExists`; `Torn` if the clone was changed meanwhile."""
    with opened_clone(invocation, name, group, site) as clone, new_file(file) as target:
        found, before = clone.volume(volume), clone.state()
        with byte_bar(invocation, f"exporting {volume}", found.size) as advance:
            write_sparse(target, found.size, found.stream(), advance)
        if clone.state() != before:
            raise Torn(
                f"clone {name} was written to while it was exported, and the file was not kept",
                group=group,
                hint="stop whoever writes to it first",
            )
    invocation.say(f"exported volume {volume} of clone {name} to {file}, {size_text(found.size)}")
