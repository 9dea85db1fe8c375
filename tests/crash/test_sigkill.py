"""SIGKILL of a writer and of a worker at marked points: flushed writes are all there, copies equal at all sites."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.child import BLOCK, BLOCKS, WRITES_PER_FLUSH, content
from tests.faults.folded import all_equal
from tidelog.consumers.site_view import CopyView, SiteGroup
from tidelog.producers.group import Group
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

WRITER_POINTS = [
    ("before-encode", 1),
    ("after-send", 1),
    ("before-acknowledged", 1),
    ("after-acknowledged", 1),
    ("before-emit", 2),
    ("after-emit", 2),
    ("before-encode", 9),
    ("before-send", 10),
    ("after-send", 11),
    ("before-acknowledged", 12),
    ("after-flush", 6),
]
WORKER_POINTS = [
    ("before-decode", 9),
    ("before-submit", 1),
    ("after-submit", 4),
    ("before-transaction", 6),
    ("after-transaction", 7),
    ("before-settle", 8),
    ("after-settle", 9),
    ("before-maintain", 3),
    ("after-maintain", 4),
    ("before-receipt", 2),
    ("after-receipt", 3),
]


def start(role: str, config_path: Path, group: str, point: str, nth: int) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]  # no test leaves it behind
    command = [sys.executable, "-m", "tests.crash.child", role, str(config_path), group, point, str(nth)]
    return subprocess.Popen(launcher + command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def expected(last: int) -> Iterator[bytes]:
    """Each block after writes 1 to ``last``."""
    for block in range(BLOCKS):
        newest = last - (last - block) % BLOCKS
        yield content(newest) if newest > 0 else bytes(BLOCK)


def last_write(data: bytes) -> int:
    """The number k for which ``data`` is exactly writes 1 to k; fails if there is none."""
    last = max(int.from_bytes(data[block * BLOCK : block * BLOCK + 8], "big") for block in range(BLOCKS))
    assert data == b"".join(expected(last)), f"the volume is no prefix of the writes (newest: {last})"
    return last


def copies_are_equal(sites: list[SiteGroup]) -> int:
    """Every copy is a whole prefix and equal at all sites; how many there are."""
    held: list[list[CopyView]] = [site.copies() for site in sites]
    assert len({tuple((copy.sequence, copy.seal) for copy in copies) for copies in held}) == 1
    for same in zip(*held, strict=True):
        data = [copy.volume("data").read(0, BLOCK * BLOCKS) for copy in same]
        assert len(set(data)) == 1, f"{same[0]} differs between sites"
        assert len({copy.digest() for copy in same}) == 1
        if same[0].name.startswith("copy-"):
            assert last_write(data[0]) == int(same[0].name.removeprefix("copy-"))
    return len(held[0])


@pytest.mark.parametrize(("point", "nth"), WRITER_POINTS)
def test_a_killed_writer_loses_nothing_that_it_flushed(
    point: str, nth: int, group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """Killed anywhere in publishing, the log holds every flushed write and a prefix of the rest; the next goes on."""
    tidelog_deployment.deployment.cluster.create_group(group_name)
    sites = [tidelog_deployment.site(name) for name in ("tokyo", "osaka")]
    child = start("writer", config_path, group_name, point, nth)
    output, _ = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, f"the point was not reached: {child.returncode}"
    flushed = int(output.split()[-1]) if output.split() else 0

    group = tidelog_deployment.group(group_name)
    volume = group.create_volume("data", BLOCK * BLOCKS)
    last = last_write(volume.read(0, BLOCK * BLOCKS))
    assert flushed <= last <= flushed + WRITES_PER_FLUSH
    group.mark("after").wait(sites=["tokyo", "osaka"], timeout=60)
    assert copies_are_equal([site.group(group_name) for site in sites]) >= 1
    all_equal(tidelog_deployment.deployment, group_name, ("tokyo", "osaka"))


def keep_writing(group: Group, child: subprocess.Popen[str]) -> None:
    """Writes, marks and drops until the child is dead."""
    volume = group.create_volume("data", BLOCK * BLOCKS)
    number, marks = 0, []
    deadline = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < deadline:
        for _ in range(WRITES_PER_FLUSH):
            number += 1
            volume.write(number % BLOCKS * BLOCK, content(number))
        marks.append(f"copy-{number}")
        group.mark(marks[-1])
        if len(marks) > 4:
            group.drop_copy(marks.pop(1))
        time.sleep(0.02)


@pytest.mark.parametrize(("point", "nth"), WORKER_POINTS)
def test_a_killed_worker_applies_nothing_twice_and_nothing_not(
    point: str, nth: int, group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """Killed anywhere in applying, cutting, dropping or answering, the next worker makes the site equal again."""
    tokyo = tidelog_deployment.site("tokyo")
    group = tidelog_deployment.group(group_name)
    child = start("worker", config_path, group_name, point, nth)
    keep_writing(group, child)
    assert child.wait(timeout=60) == -signal.SIGKILL, "the point was not reached"

    osaka = tidelog_deployment.site("osaka")
    group.mark("after").wait(sites=["tokyo", "osaka"], timeout=60)
    sites = [site.group(group_name) for site in (tokyo, osaka)]
    deadline = time.monotonic() + 60
    while any(site.position.head != sites[0].position.head for site in sites) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert copies_are_equal(sites) >= 1
    live = [site.volume("data").read(0, BLOCK * BLOCKS) for site in sites]
    assert live[0] == live[1] and last_write(live[0]) > 0
    all_equal(tidelog_deployment.deployment, group_name, ("tokyo", "osaka"))
