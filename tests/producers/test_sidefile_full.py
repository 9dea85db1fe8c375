"""A sidefile, or its disk, that is full; and what is read meanwhile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.producers.sidefile_lab import SIZE, Scene, until, with_timeout
from tidelog.errors import LogUnavailable, SidefileFull
from tidelog.producers.durability import Durability

pytestmark = pytest.mark.usefixtures("quick_outages")


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
    scene.group._writer._settings = with_timeout(scene, 30.0)
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
from tests.producers.test_sidefile_full import fill
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
