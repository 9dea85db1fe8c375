"""Files that appear whole or not at all, sparse where there are zeros."""

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tidelog.errors import AlreadyExists, UsageError

# Told of the bytes done since the last call.
Advance = Callable[[int], None]
# The grain in which zeros are looked for: a file system's block.
GRAIN = 4096
_PART_BYTES = 1024 * 1024

Run = tuple[int, int, bytes | None]  # offset, length, bytes; None for zeros


@contextmanager
def new_folder(place: Path) -> Iterator[Path]:
    """A folder under a temporary name beside ``place``; it gets that name, synced to disk, if the body succeeds.

    Raises `AlreadyExists`, `UsageError`.
    """
    work = _work_name(place)
    work.mkdir()
    try:
        yield work
        sync_folder(work)
        refuse_existing(place)
        work.rename(place)
        sync_folder(place.parent)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise


@contextmanager
def new_file(place: Path) -> Iterator[BinaryIO]:
    """A file under a temporary name beside ``place``, likewise. Raises `AlreadyExists`, `UsageError`."""
    work = _work_name(place)
    try:
        with work.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        refuse_existing(place)
        work.rename(place)
        sync_folder(place.parent)
    except BaseException:
        work.unlink(missing_ok=True)
        raise


def refuse_existing(place: Path) -> None:
    """Raises `AlreadyExists` if something is at ``place``: nothing is ever overwritten."""
    if place.exists() or place.is_symlink():
        raise AlreadyExists(f"{place} exists", hint="name a place that is not there yet")


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_sparse(file: BinaryIO, size: int, parts: Iterable[bytes], advance: Advance) -> None:
    """Fills an empty file with ``parts``, ``size`` bytes together, leaving holes where there are zeros."""
    file.truncate(size)
    at = 0
    for part in parts:
        for offset, _, data in runs_of(part, at):
            if data is not None:
                file.seek(offset)
                file.write(data)
        at += len(part)
        advance(len(part))


def runs_of(part: bytes, at: int) -> Iterator[Run]:
    """``part``, which stands at offset ``at``, as runs of zeros and of other bytes, in order."""
    zeros = bytes(GRAIN)
    start = 0
    while start < len(part):
        zero = part[start : start + GRAIN] == zeros[: len(part) - start]
        end = start + GRAIN
        while end < len(part) and (part[end : end + GRAIN] == zeros[: len(part) - end]) == zero:
            end += GRAIN
        end = min(end, len(part))
        yield at + start, end - start, None if zero else part[start:end]
        start = end


def runs_in(file: BinaryIO, size: int) -> Iterator[Run]:
    """The first ``size`` bytes of a file as runs, in order; holes are not read. Raises `UsageError` if it shrinks."""
    at = 0
    while at < size:
        data_at = _next_data(file, at, size)
        if data_at > at:
            yield at, data_at - at, None
            at = data_at
            continue
        file.seek(at)
        part = file.read(min(_PART_BYTES, size - at))
        if not part:
            raise UsageError(f"{file.name} became shorter while it was read")
        yield from runs_of(part, at)
        at += len(part)


def _next_data(file: BinaryIO, at: int, size: int) -> int:
    """Where the next bytes are that a file system stores; ``at`` itself where it cannot tell."""
    try:
        found = os.lseek(file.fileno(), at, os.SEEK_DATA)
    except OSError as error:
        return size if error.errno == errno.ENXIO else at  # ENXIO: a hole up to the end
    return min(size, found - found % GRAIN if found - found % GRAIN > at else at)


def _work_name(place: Path) -> Path:
    refuse_existing(place)
    if not place.parent.is_dir():
        raise UsageError(f"there is no folder {place.parent}", hint="make it first")
    return place.with_name(f".{place.name}.partial-{os.getpid()}")
