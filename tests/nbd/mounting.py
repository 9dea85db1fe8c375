"""Mounting images, where that can be done."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.tools import tool


def run(name: str, *arguments: str | Path, codes: tuple[int, ...] = (0,)) -> str:
    """What a program says, which must end with one of the codes."""
    done = subprocess.run([tool(name), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in codes, f"{name} {arguments}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def mounted(image: Path, folder: Path, *options: str) -> Iterator[Path]:
    """An image, mounted over a loop device."""
    folder.mkdir(exist_ok=True)
    run("mount", "-o", ",".join(("loop", *options)), image, folder)
    try:
        yield folder
    finally:
        run("umount", folder)


def require_mounting(folder: Path) -> None:
    """Skips where a file system in a plain file cannot be mounted either, or there is no FUSE."""
    plain, place = folder / "plain.img", folder / "plain"
    with plain.open("wb") as file:
        file.truncate(8 << 20)
    run("mkfs.ext4", "-q", "-F", plain)
    place.mkdir()
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no FUSE here")
    if subprocess.run(["mount", "-o", "loop", plain, place], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    run("umount", place)
