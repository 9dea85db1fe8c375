"""SIGKILL of a resync at every marked point: all copies read as before or right, and a second one ends it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.faults.folded import all_equal
from tidelog.consumers.deployment import open_store
from tidelog.gateways.cli import main
from tidelog.stores.image import Store
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

BLOCK = 4096
BLOCKS = 64
POINTS = [
    ("before-bits", 1),
    ("after-bits", 1),
    ("after-unname", 1),
    ("before-blocks", 1),
    ("after-blocks", 1),
    ("after-blocks", 2),
    ("after-swap", 1),
    ("after-digests", 1),
    ("after-transaction", 10),
    ("after-settle", 8),
]


def killed(config_path: Path, group: str, point: str, nth: int) -> int:
    """What the child ends with."""
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]  # no test leaves it behind
    command = [sys.executable, "-m", "tests.crash.resync_child", str(config_path), group, point, str(nth)]
    done = subprocess.run(
        launcher + command, capture_output=True, text=True, timeout=120, check=False, cwd=Path(__file__).parents[2]
    )
    return done.returncode


def wrong(one: Store, other: Store) -> set[tuple[str, int]]:
    """The blocks that differ, by copy; the live volume is ``""``."""
    found = set()
    for copy in (*one.copies(), None):
        data = [store.read(store.volume("data"), 0, BLOCK * BLOCKS, copy) for store in (one, other)]
        places = range(0, BLOCK * BLOCKS, BLOCK)
        blocks = (at // BLOCK for at in places if data[0][at : at + BLOCK] != data[1][at : at + BLOCK])
        found |= {(copy.name if copy else "", block) for block in blocks}
    return found


def test_a_resync_that_is_killed_is_run_again(
    group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """Its site's worker runs all the while."""
    group = tidelog_deployment.group(group_name)
    for site in ("tokyo", "osaka"):
        tidelog_deployment.wait_for_store(site, group_name)
    volume = group.create_volume("data", BLOCK * BLOCKS)
    volume.write(0, b"first" * (BLOCK * BLOCKS // 5))
    for name in ("one", "two"):
        group.mark(name).wait(["tokyo", "osaka"], timeout=60)
        volume.write(3 * BLOCK, name.encode() * (4 * BLOCK // 3))
    group.flush()
    stores = [open_store(tidelog_deployment.deployment, site, group_name) for site in ("osaka", "tokyo")]
    for site in ("tokyo", "osaka"):
        assert tidelog_deployment.site(site).group(group_name).wait_until(group.session.confirmed.sequence, 60)
    assert wrong(*stores) == set()
    one, two = (copy.generation for copy in stores[0].copies())
    number = volume.info.id
    url = tidelog_deployment.deployment.config.sites["osaka"].redis.url
    with redis.Redis.from_url(url) as server:
        for point, nth in POINTS:
            for key, bit in (
                (f"g:{one}:{number}:{4:08x}", 777),
                (f"b:{number}:{20:08x}", 5),
                (f"b:{number}:{4:08x}", 33),
                (f"m:{one}:{number}", 5),
                (f"m:{two}:{number}", 3),
                (f"m:{two}:{number}", 1),
            ):
                whole = f"tidelog:{{{group_name}}}:{key}"
                server.setbit(whole, bit, 1 - server.getbit(whole, bit))
            before = wrong(*stores)
            assert before
            assert killed(config_path, group_name, point, nth) == -signal.SIGKILL, f"{point} {nth} was not reached"
            assert wrong(*stores) <= before, (point, nth)
            assert main(["-c", str(config_path), "site", "resync", "osaka", "--from", "tokyo", "-g", group_name]) == 0
            assert wrong(*stores) == set(), (point, nth)
    for store in stores:
        store.close()
    group.mark("after").wait(["tokyo", "osaka"], timeout=60)
    assert main(["-c", str(config_path), "site", "verify", "osaka", "--against", "tokyo", "-g", group_name]) == 0
    all_equal(tidelog_deployment.deployment, group_name, ("osaka", "tokyo"))
