"""A sidefile that was torn, changed, is another's or cannot be there: cut where nobody was told of it, else refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.producers.sidefile_lab import Scene
from tidelog.errors import (
    ConfigError,
    SidefileDamaged,
    SidefileInUse,
)
from tidelog.producers.sidefile import SPOOLED, Sidefile
from tidelog.producers.sidefile_folder import summary
from tidelog.producers.sidefile_header import HEADER_SIZE, Header
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Discard

CODEC = Codec(b"k" * 16)
HEADER = Header("bank", "id", "tidelog.bank", b"i" * 16, Head(7, b"s" * 16, 3, b"w" * 16, 99, 12), 100)


pytestmark = pytest.mark.usefixtures("quick_outages")


def discard(number: int) -> bytes:
    event = Discard(
        epoch=3,
        writer=bytes(16),
        sequence=number,
        timestamp_us=100 + number,
        previous=bytes(16),
        volume=2,
        offset=number,
        length=5,
    )
    return CODEC.encode(event)[0]


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Path, list[int]]:
    """A sidefile of three records, and where each ends."""
    path = tmp_path / "bank.sidefile"
    sidefile = Sidefile.create(path, CODEC, HEADER)
    found = []
    for number in range(1, 4):
        sidefile.append(SPOOLED, discard(number))
        sidefile.sync()
        found.append(sidefile.size)
    sidefile.close()
    return path, found


def numbers(path: Path) -> list[int] | None:
    """The offsets of what can be read; None if there is nothing."""
    sidefile = Sidefile.open(path, CODEC)
    if sidefile is None:
        return None
    assert sidefile.header == HEADER
    found = [entry.event.offset for entry in sidefile.entries() if isinstance(entry.event, Discard)]
    sidefile.close()
    return found


def test_it_is_read_as_it_was_written(ends: tuple[Path, list[int]]) -> None:
    """And goes on where it ended."""
    path, _ = ends
    assert numbers(path) == [1, 2, 3]
    sidefile = Sidefile.open(path, CODEC)
    assert sidefile is not None and sidefile.cut == 0
    sidefile.append(SPOOLED, discard(4))
    sidefile.close()
    assert numbers(path) == [1, 2, 3, 4]


def test_torn_at_every_byte(ends: tuple[Path, list[int]]) -> None:
    """What is whole stays, and more can be added behind it; also where the file's length was ahead of its bytes."""
    path, where = ends
    whole = path.read_bytes()
    for length in range(len(whole)):
        for zeros in (0, 1, 500):
            if zeros and length not in (where[1], where[1] + 3, where[2] - 3, where[2] - 20):
                continue
            path.write_bytes(whole[:length] + bytes(zeros))
            expected = [n for n, end in enumerate(where, 1) if end <= length]
            assert numbers(path) == (expected if length >= HEADER_SIZE else None), (length, zeros)
            if length < HEADER_SIZE:
                continue
            assert path.stat().st_size == ([HEADER_SIZE, *where][len(expected)])


def test_a_flipped_bit_is_named_and_nothing_is_cut(ends: tuple[Path, list[int]]) -> None:
    """Wherever it is; what is whole before it can still be read."""
    path, where = ends
    whole = path.read_bytes()
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(SidefileDamaged, match=r"bank\.sidefile is damaged at byte"):
            Sidefile.open(path, CODEC)
        assert path.read_bytes() == flipped
        if at >= HEADER_SIZE:
            found = summary(path, CODEC)
            assert found is not None and found.writes == sum(end <= at for end in where) and found.problem


def test_another_key_reads_nothing(ends: tuple[Path, list[int]]) -> None:
    """Nor does none."""
    for codec in (Codec(), Codec(b"x" * 16)):
        with pytest.raises(SidefileDamaged, match="another key"):
            Sidefile.open(ends[0], codec)


def test_one_process_at_a_time(ends: tuple[Path, list[int]]) -> None:
    """Another can look, not take."""
    path, _ = ends
    holder = Sidefile.open(path, CODEC)
    assert holder is not None
    script = (
        "import sys; from pathlib import Path; from tidelog.schemas.codec import Codec;"
        "from tidelog.producers.sidefile import Sidefile; Sidefile.open(Path(sys.argv[1]), Codec(b'k' * 16))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "SidefileInUse" in done.stderr
    found = summary(path, CODEC)
    assert found is not None and found.writes == 3
    with pytest.raises(SidefileInUse):
        Sidefile.create(path, CODEC, HEADER)
    holder.close()
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == 0


def test_damage_keeps_the_group_shut_until_somebody_decides(tmp_path: Path) -> None:
    """Nobody is fenced, nothing is drained, nothing is cut."""
    scene = Scene(tmp_path)
    scene.away()
    scene.group.flush()
    scene.die()
    scene.log.restore()
    content = bytearray(scene.active.read_bytes())
    content[-30] ^= 4
    scene.active.write_bytes(content)
    records = len(scene.log._records)
    with pytest.raises(SidefileDamaged):
        scene.open()
    assert scene.active.read_bytes() == content and len(scene.log._records) == records


def test_a_group_made_anew_under_the_same_name(tmp_path: Path) -> None:
    """Its sidefile is another group's."""
    scene = Scene(tmp_path)
    scene.away()
    scene.die()
    scene.log.restore()
    codec = scene.deployment.cluster.codec(scene.record)
    sidefile = Sidefile.open(scene.active, codec)
    assert sidefile is not None
    header = sidefile.header
    sidefile.remove()
    fields = {name: getattr(header, name) for name in ("group", "log", "id", "base", "made_us")}
    Sidefile.create(scene.active, codec, Header(**fields, group_id="another")).close()
    with pytest.raises(SidefileDamaged, match="another group of the name bank"):
        scene.open()
    assert scene.active.exists()


def test_no_folder_and_no_permission(tmp_path: Path) -> None:
    """Said when the group is opened, before anybody is fenced."""
    with pytest.raises(ConfigError, match="there is no folder"):
        Scene(tmp_path / "missing")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="there is no folder"):
        Scene(tmp_path / "file")
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom tidelog.producers.sidefile_folder import check_folder\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: check_folder(Path(sys.argv[1]), 'bank')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    done = subprocess.run([sys.executable, "-c", script, str(closed)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ConfigError no sidefile can be made in") and "Permission denied" in done.stdout
