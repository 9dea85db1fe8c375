"""A small disk is full and has room again, on a real mount; where none can be made it says so."""

import errno
from pathlib import Path

import pytest

from tidelog.testing.fault_fixtures import SmallDiskFactory
from tidelog.testing.servers import ServerError
from tidelog.testing.small_disk import SmallDisk

MIB = 1024 * 1024


def test_full_and_not_full(tidelog_small_disk: SmallDiskFactory) -> None:
    """ENOSPC, then not; the folder beside it has nothing to do with that."""
    disk = tidelog_small_disk(2 * MIB)
    (disk.path / "before").write_bytes(b"x" * 1000)
    disk.fill()
    with pytest.raises(OSError) as raised:
        (disk.path / "during").write_bytes(b"x" * MIB)
    assert raised.value.errno == errno.ENOSPC
    (disk.path.parent / "beside").write_bytes(b"x" * 4 * MIB)
    disk.make_room()
    (disk.path / "after").write_bytes(b"x" * MIB)
    assert (disk.path / "before").read_bytes() == b"x" * 1000
    disk.close()
    assert list(disk.path.iterdir()) == []


def test_where_it_cannot_be_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the program, or without the right: said in words."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="takes root"):
        SmallDisk(tmp_path / "disk", MIB)
