"""Files that one process at a time has, and folders whose entries are durable."""

import fcntl
import os
from pathlib import Path


def lock(descriptor: int) -> bool:
    """Takes the exclusive lock of an open file, which ends with its last descriptor; False if another has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def same_file(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one that stands at ``path``."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def sync_folder(folder: Path) -> None:
    """Makes what was created, renamed or removed in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Takes a file away, durably."""
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def rename(path: Path, target: Path) -> None:
    """Renames a file inside its folder, durably."""
    path.rename(target)
    sync_folder(path.parent)
