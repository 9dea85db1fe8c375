"""A sidefile that was torn, changed, is another's or cannot be there: cut where nobody was told of it, else refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.producers import sidefile_lab
from tests.producers.sidefile_lab import SIZE, Scene, until
from tidelog.errors import (
    ConfigError,
    LogUnavailable,
    SidefileDamaged,
    SidefileFull,
    SidefileInUse,
)
from tidelog.producers import sidefile_session
from tidelog.producers.durability import Durability
from tidelog.producers.sidefile import SPOOLED, Sidefile
from tidelog.producers.sidefile_folder import summary
from tidelog.producers.sidefile_header import HEADER_SIZE, Header
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Discard

CODEC = Codec(b"k" * 16)
HEADER = Header("bank", "id", "tidelog.bank", b"i" * 16, Head(7, b"s" * 16, 3, b"w" * 16, 99, 12), 100)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidefile_session, "LOOK_EVERY", 0.005)
    monkeypatch.setattr(sidefile_session, "TRY_AGAIN", 0.005)


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


def fill(scene: Scene) -> int:
    """Writes until it is full; how many were taken."""
    volume, count = scene.group.volume("b"), 0
    try:
        while True:
            volume.write(count % 16 * 65536, b"%08d" % count * 8192)
            count += 1
    except (SidefileFull, LogUnavailable):
        return count


def test_full_and_told_at_once(tmp_path: Path) -> None:
    """What was taken is safe, what was refused is not there; reads are right; it goes on once there is room."""
    scene = Scene(tmp_path, sidefile_size="1MiB", sidefile_full="fail")
    scene.away()
    count = fill(scene)
    assert 10 < count < 16
    with pytest.raises(SidefileFull, match="at most 1048576"):
        scene.group.volume("b").write(0, b"x" * 65536)
    assert scene.group.flush() is Durability.IN_SIDEFILE
    assert scene.active.stat().st_size <= 1 << 20
    scene.back()
    found = [data for name, _, data in scene.folded().changes if name == "b"]
    assert found == [b"%08d" % number * 8192 for number in range(count)]
    scene.group.volume("b").write(0, b"goes on")
    assert scene.group.flush() is Durability.IN_LOG
    scene.group.close()


def test_full_and_waiting(tmp_path: Path) -> None:
    """For the log, as long as the writer's timeout; when it comes in time the write is taken, and in order."""
    scene = Scene(tmp_path, sidefile_size="1MiB", writer={"write_timeout": 0.5})
    scene.away()
    count = fill(scene)
    with pytest.raises(LogUnavailable, match="Kafka is away, and the sidefile"):
        scene.group.volume("b").write(0, b"x" * 65536)
    scene.group._writer._settings = sidefile_lab.with_timeout(scene, 30.0)
    scene.log.restore()
    scene.group.volume("b").write(0, b"x" * 65536)
    scene.group.flush(in_log=True)
    found = [data for name, _, data in scene.folded().changes if name == "b"]
    assert found == [*(b"%08d" % number * 8192 for number in range(count)), b"x" * 65536]
    scene.group.close()


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from tests.producers.sidefile_lab import Scene
from tests.producers.test_sidefile_damage import fill
from tidelog.errors import SidefileFull
scene = Scene(Path(sys.argv[1]), sidefile_full="fail")
scene.away()
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
count = fill(scene)
try:
    scene.group.flush()
    full = False
except SidefileFull:
    full = True
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
scene.group.flush()
scene.back()
scene.group.flush()
found = [data[:8].decode() for name, _, data in scene.folded().changes if name == "b"]
print(json.dumps([count, full, found]))
scene.group.close()
"""


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """By the operating system's own limit of file sizes: what was taken stays taken, and is safe once there is room."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert done.returncode == 0, done.stderr
    count, full, found = json.loads(done.stdout)
    assert full and 4 <= count <= 9 and found == [f"{number:08d}" for number in range(count)]
    assert list(tmp_path.iterdir()) == []


def test_what_is_read_while_the_log_is_away(tmp_path: Path) -> None:
    """Own writes, also those of the sidefile; what the overlay no longer holds is waited for, and said."""
    scene = Scene(tmp_path, writer={"overlay_bytes": 300_000})
    worker = scene.worker()
    volume = scene.group.volume("a")
    volume.write(0, b"logged")
    scene.group.flush()
    until(lambda: scene.applied() >= scene.group._writer.confirmed.sequence)
    scene.away()
    volume.write(100, b"spooled")
    assert volume.read(100, 7) == b"spooled" and volume.read(0, 3) == b"the"
    volume.discard(100, 2)
    scene.group.flush()
    assert volume.read(99, 8) == b"\0\0\0ooled"
    scene.back()
    assert volume.read(99, 8) == b"\0\0\0ooled"
    until(lambda: scene.applied() >= scene.group._writer.confirmed.sequence)
    assert volume.read(99, 8) == b"\0\0\0ooled" and volume.size == SIZE
    scene.group.close()
    worker.stop()
