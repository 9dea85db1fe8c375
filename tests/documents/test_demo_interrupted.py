"""Ctrl-C in the demo: its servers and workers end with it."""

import sys
from pathlib import Path

import pytest

from tests.cli.operating import Command, family


@pytest.mark.servers
@pytest.mark.timeout(200)
def test_ctrl_c_ends_the_demo_and_all_that_it_started() -> None:
    """While transfers go on: one line, 130, no traceback, no Kafka, Redis or worker left, no folder."""
    command = Command([sys.executable, "-m", "examples.demo"])
    try:
        command.reaches(lambda: b"transfers for" in command.out, "the transfers", timeout_s=120)
        # A Kafka, three Redis, three workers, and the demo itself.
        assert len(family(command.popen.pid)) >= 8
        folders = _folders_of(command)
        assert folders
        assert command.interrupt() == "interrupted\n"
        assert not any(folder.exists() for folder in folders)
    finally:
        command.kill()


@pytest.mark.servers
def test_ctrl_c_while_the_demo_starts() -> None:
    """While modules are imported, or servers start: the same."""
    for library in (b"pydantic_core", b"apsw"):
        command = Command([sys.executable, "-m", "examples.demo"])
        maps = Path(f"/proc/{command.popen.pid}/maps")
        try:
            command.reaches(lambda maps=maps, library=library: library in maps.read_bytes(), "its imports")
            assert command.interrupt() == "interrupted\n"
        finally:
            command.kill()


def _folders_of(command: Command) -> set[Path]:
    """The demo's temporary folders, as its processes' command lines name them."""
    found = set()
    for process in family(command.popen.pid):
        for argument in Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0"):
            found |= {
                Path(*Path(argument).parts[:3]) for part in Path(argument).parts if part.startswith("tidelog-demo-")
            }
    return found
