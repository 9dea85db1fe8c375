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


def no_mounting(folder: Path) -> str | None:
    """Why nothing can be mounted here, if a file system in a plain file cannot be either; None if it can. Where that
    works and FUSE does not, the reason too, but in CI a failure: then something is not installed."""
    plain, place = folder / "plain.img", folder / "plain"
    with plain.open("wb") as file:
        file.truncate(8 << 20)
    run("mkfs.ext4", "-q", "-F", plain)
    place.mkdir()
    if subprocess.run(["mount", "-o", "loop", plain, place], capture_output=True, check=False).returncode:
        return "nothing can be mounted here"
    run("umount", place)
    if os.access("/dev/fuse", os.R_OK | os.W_OK):
        return None
    if os.environ.get("CI"):
        pytest.fail("file systems can be mounted here, and there is no FUSE")
    return "there is no FUSE here"


def require_mounting(folder: Path) -> None:
    """Skips where nothing can be mounted: see `no_mounting`."""
    why = no_mounting(folder)
    if why is not None:
        pytest.skip(why)
