"""A real file system on a live volume: every copy of it, at the other site, is one that a power cut would have left."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.nbd.mounting import mounted, require_mounting, run
from tests.tools import tool
from tidelog.producers.group import Group
from tidelog.schemas.control import CopyFormed
from tidelog.testing.child import ChildProcess
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = pytest.mark.servers

SIZE, LARGE, BLOCK = 64 << 20, 16 << 30, 4096
TURNS = 3
SOURCES = Path(__file__).parents[2] / "docs"


@contextmanager
def as_file(uri: str, folder: Path) -> Iterator[Path]:
    """A device as a file, by nbdfuse."""
    folder.mkdir()
    fuse = ChildProcess("nbdfuse", [tool("nbdfuse"), str(folder / "disk"), uri], folder.with_suffix(".log"))
    try:
        assert wait_until(lambda: (folder / "disk").exists(), 60), fuse.log_tail()
        yield folder / "disk"
    finally:
        subprocess.run(["fusermount3", "-u", str(folder)], capture_output=True, check=False)
        fuse.terminate(60)


def digests(tree: Path, below: str = "*") -> dict[str, str]:
    """Of every file below what is called so."""
    files = (path for top in tree.glob(below) for path in (top, *top.rglob("*")) if path.is_file())
    return {str(path.relative_to(tree)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def keep(target: Path, turn: int) -> None:
    """A tree of files, large and small, that is not touched again."""
    shutil.copytree(SOURCES, target / f"kept-{turn}")
    (target / f"kept-{turn}" / "large").write_bytes(os.urandom(300_000 + turn))


@pytest.fixture
def mark(tidelog_deployment: RunningDeployment, tidelog_group: Group) -> Callable[[str], dict[str, CopyFormed]]:
    """Marks a copy and waits until both sites have it; osaka runs, too."""
    tidelog_group.create_volume("ledger", SIZE)
    tidelog_deployment.wait_for_store("osaka", tidelog_group.name, timeout=60)

    return lambda name: tidelog_group.mark(name).wait(sites=["tokyo", "osaka"], timeout=60)


def test_a_file_system_from_a_copy(
    tidelog_nbd: RunningNbd,
    tidelog_deployment: RunningDeployment,
    mark: Callable[[str], dict[str, CopyFormed]],
    tmp_path: Path,
) -> None:
    """Made in a file and copied in; from its copy at the other site it is clean, and has the same files. This mounts
    nothing."""
    image, back = tmp_path / "image.img", tmp_path / "back.img"
    with image.open("wb") as file:
        file.truncate(SIZE)
    run("mkfs.ext4", "-q", "-F", "-d", SOURCES, image)
    run("nbdcopy", "--flush", image, tidelog_nbd.uri("ledger"))
    mark("made")
    with RunningNbd(tidelog_deployment.deployment, tidelog_nbd.group, "osaka") as there:
        run("nbdcopy", there.uri("ledger@made"), back)
    run("e2fsck", "-fn", back)
    out = tmp_path / "out"
    out.mkdir()
    run("debugfs", "-R", f"rdump / {out}", back)
    shutil.rmtree(out / "lost+found", ignore_errors=True)
    assert digests(out) == digests(SOURCES)


def test_a_large_file_system_on_a_new_volume(
    tidelog_nbd: RunningNbd,
    tidelog_deployment: RunningDeployment,
    tidelog_group: Group,
    mark: Callable[[str], dict[str, CopyFormed]],
    tmp_path: Path,
) -> None:
    """Made as anybody makes one, which trims the whole device first: the copy's blocks, which its receipt counts and
    its digest asks for, are those that were written, and its journal, which is. From the other site's copy it is
    clean."""
    require_mounting(tmp_path)
    tidelog_group.create_volume("large", LARGE)
    tidelog_group.flush(applied_at=2, sites=["tokyo", "osaka"], timeout=60)
    with as_file(tidelog_nbd.uri("large"), tmp_path / "fuse") as disk:
        run("mkfs.ext4", "-q", "-F", disk)
    receipts = mark("made")
    changed = {receipt.blocks_changed for receipt in receipts.values()}
    assert len(changed) == 1 and changed.pop() < LARGE // BLOCK // 20
    back = tmp_path / "back.img"
    with RunningNbd(tidelog_deployment.deployment, tidelog_nbd.group, "osaka") as there:
        run("nbdcopy", there.uri("large@made"), back)
    run("e2fsck", "-fn", back)


@pytest.mark.slow
def test_copies_of_a_file_system_in_use(
    tidelog_nbd: RunningNbd,
    tidelog_deployment: RunningDeployment,
    mark: Callable[[str], dict[str, CopyFormed]],
    tmp_path: Path,
) -> None:
    """Mounted by the kernel, over nbdfuse and a loop device; copies are cut while trees come and go. Each, at
    the other site, replays its journal, is clean, and has every tree that was synced before it."""
    require_mounting(tmp_path)
    expected: dict[str, dict[str, str]] = {}
    with as_file(tidelog_nbd.uri("ledger"), tmp_path / "fuse") as disk:
        run("mkfs.ext4", "-q", "-F", disk)
        with mounted(disk, tmp_path / "mounted") as folder:
            for turn in range(TURNS):
                there = digests(folder, "kept-*")
                busy = f"cp -r {SOURCES} {folder}/busy && sync -f {folder} && rm -r {folder}/busy && sync -f {folder}"
                with subprocess.Popen(["sh", "-c", busy]) as working:
                    for name in (f"busy-{turn}-{number}" for number in range(3)):
                        mark(name)
                        expected[name] = there
                assert working.returncode == 0
                keep(folder, turn)
                run("sync", "-f", folder)
                expected[f"synced-{turn}"] = digests(folder, "kept-*")
                mark(f"synced-{turn}")
    assert len(expected["synced-2"]) > 30
    with RunningNbd(tidelog_deployment.deployment, tidelog_nbd.group, "osaka") as osaka:
        for name, files in expected.items():
            back = tmp_path / f"{name}.img"
            run("nbdcopy", osaka.uri(f"ledger@{name}"), back)
            run("e2fsck", "-y", "-E", "journal_only", back, codes=(0, 1))
            run("e2fsck", "-fn", back)
            with mounted(back, tmp_path / "back", "ro") as folder:
                assert digests(folder, "kept-*") == files, name
