"""SIGKILL of a rebuild from another site's copy, or an export, at every marked point: nothing is served before it is
whole, and the same command goes on."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.rebuild_child import REBUILD_POINTS
from tests.faults.folded import all_equal
from tidelog.consumers.deployment import open_store
from tidelog.errors import NeedsRebuild, NotFound, SiteBehind
from tidelog.gateways.cli import main
from tidelog.producers.volume import Volume
from tidelog.stores.image import Store
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

BLOCK = 4096
BLOCKS = 1200  # some parts of a MiB
# Whether the next one erases anew, and whether a part of the base is there and not loaded again.
POINTS = {
    "begun": [
        ("after-mark", 1, True, False),
        ("before-take", 1, True, False),
        ("after-take", 1, True, False),
        ("before-watch", 1, False, False),
        ("before-put", 1, False, False),
        ("after-transaction", 4, True, False),  # in the midst of the erase
    ],
    "loaded": [
        ("after-put", 2, False, True),
        ("before-put", 4, False, True),
        ("after-sent", 3, False, True),
        ("after-landed", 4, False, True),
        ("before-prove", 1, False, True),
    ],
    "replayed": [
        ("before-finish", 1, False, True),
        ("after-finish", 1, False, True),
        ("before-replay", 1, False, True),
        ("after-submit", 1, False, True),
    ],
    "export": [("after-check", 1, True, False), ("after-put", 2, False, True), ("after-finish", 1, False, True)],
}

FROM_THE_LOG = [
    ("after-mark", 1),
    ("after-transaction", 3),  # in the midst of the erase
    ("before-begun", 1),
    ("after-begun", 1),
    ("before-replay", 1),
    ("after-submit", 1),
    ("before-settle", 3),
]


def killed(config_path: Path, group: str, point: str, nth: int, source: str) -> int:
    """What the child ends with."""
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]  # no test leaves it behind
    command = [sys.executable, "-m", "tests.crash.rebuild_child", str(config_path), group, point, str(nth), source]
    done = subprocess.run(
        launcher + command, capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2]
    )
    return done.returncode


def not_served(store: Store, volume: Volume) -> bool:
    """Whether reads are refused; what is read at a store that is whole is looked at later."""
    try:
        store.read(volume.info, 0, 1)
    except (NeedsRebuild, SiteBehind, NotFound):
        return True
    return False


def same(one: Store, other: Store) -> None:
    """The live volume and every copy that the first holds, by bytes."""
    for copy in (*one.copies(), None):
        there = None if copy is None else other.copy(f"#{copy.sequence}")
        data = [store.read(store.volume("data"), 0, BLOCK * BLOCKS, at) for store, at in ((one, copy), (other, there))]
        assert data[0] == data[1], copy


@pytest.mark.parametrize("points", POINTS)
def test_a_rebuild_that_is_killed_is_run_again(
    points: str,
    group_name: str,
    config_path: Path,
    tidelog_deployment: RunningDeployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The writer goes on all the while."""
    chance = random.Random(3)
    group = tidelog_deployment.group(group_name)
    tidelog_deployment.wait_for_store("tokyo", group_name)
    volume = group.create_volume("data", BLOCK * BLOCKS)
    volume.write(0, chance.randbytes(BLOCK * (BLOCKS - 50)))
    group.mark("one").wait(["tokyo"], timeout=60)
    volume.write(0, b"over it" * 5000)
    group.mark("base").wait(["tokyo"], timeout=60)
    source = "tokyo"
    if points == "export":
        source = str(tmp_path / "export")
        export = ["pitc", "export", "base", "-g", group_name, "--site", "tokyo", "--to", source]
        assert main(["-c", str(config_path), *export]) == 0
    tokyo = open_store(tidelog_deployment.deployment, "tokyo", group_name)
    command = ["site", "rebuild", "osaka", "--from", source, "--group", group_name, "--yes", "--json"]
    for point, nth, erases, goes_on in POINTS[points]:
        volume.write(chance.randrange(BLOCK * (BLOCKS - 2)), chance.randbytes(BLOCK))
        group.flush()
        assert killed(config_path, group_name, point, nth, source) == -signal.SIGKILL, f"{point} {nth} was not reached"
        osaka = open_store(tidelog_deployment.deployment, "osaka", group_name)
        if point != "after-mark" or osaka.rebuilding() is not None:
            assert not_served(osaka, volume), point
        capsys.readouterr()
        assert main(["-c", str(config_path), *command]) == 0
        done = json.loads(capsys.readouterr().out)
        assert done["plan"]["erase"] is erases, (point, nth)
        assert goes_on is (done["report"]["bytes_loaded"] < BLOCK * (BLOCKS - 50)), (point, nth)
        assert osaka.rebuilding() is None
        assert tidelog_deployment.site("tokyo").group(group_name).wait_until(osaka.position().head.sequence, 60)
        newest = [copy.name for copy in osaka.copies()]
        assert newest[0] == "base" and "one" not in newest
        same(osaka, tokyo)  # nobody writes in between
        osaka.close()
    tidelog_deployment.wait_for_store("osaka", group_name)
    group.mark("after").wait(["tokyo", "osaka"], timeout=60)
    osaka = open_store(tidelog_deployment.deployment, "osaka", group_name)
    assert [copy.name for copy in osaka.copies()] == ["base", "after"]
    all_equal(tidelog_deployment.deployment, group_name, ["osaka"], since=osaka.copies()[0].sequence)
    all_equal(tidelog_deployment.deployment, group_name, ["tokyo"])
    osaka.close()
    tokyo.close()


def test_a_rebuild_from_the_log_that_is_killed_is_run_again(
    group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """Every copy comes back, whenever it was cut short; nothing is served before."""
    chance = random.Random(4)
    group = tidelog_deployment.group(group_name)
    tidelog_deployment.wait_for_store("tokyo", group_name)
    volume = group.create_volume("data", BLOCK * BLOCKS)
    for name in ("one", "two"):
        volume.write(0, chance.randbytes(BLOCK * 300))
        group.mark(name).wait(["tokyo"], timeout=60)
    tokyo = open_store(tidelog_deployment.deployment, "tokyo", group_name)
    command = ["site", "rebuild", "osaka", "--from", "log", "--group", group_name, "--yes"]
    for point, nth in FROM_THE_LOG:
        volume.write(chance.randrange(BLOCK * (BLOCKS - 2)), chance.randbytes(BLOCK))
        group.flush()
        assert killed(config_path, group_name, point, nth, "log") == -signal.SIGKILL, f"{point} {nth} was not reached"
        osaka = open_store(tidelog_deployment.deployment, "osaka", group_name)
        if osaka.rebuilding() is not None:
            assert not_served(osaka, volume), point
        assert main(["-c", str(config_path), *command]) == 0
        assert osaka.rebuilding() is None
        assert tidelog_deployment.site("tokyo").group(group_name).wait_until(osaka.position().head.sequence, 60)
        assert [copy.name for copy in osaka.copies()] == ["one", "two"]
        same(osaka, tokyo)
        osaka.close()
    tidelog_deployment.wait_for_store("osaka", group_name)
    group.mark("after").wait(["tokyo", "osaka"], timeout=60)
    all_equal(tidelog_deployment.deployment, group_name, ["tokyo", "osaka"])
    tokyo.close()


def test_every_marked_point_is_one_that_something_is_killed_at() -> None:
    """A new one is not forgotten."""
    used = {point.partition("-")[2] for points in POINTS.values() for point, *_ in points}
    used |= {point.partition("-")[2] for point, _ in FROM_THE_LOG}
    assert used >= REBUILD_POINTS.keys()
