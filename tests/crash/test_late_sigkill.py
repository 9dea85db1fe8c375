"""SIGKILL of a worker in the midst of a late copy: the next one ends it, as if the cut had come in time."""

import signal
import time
from pathlib import Path

import pytest

from tests.crash.child import BLOCK, BLOCKS, content
from tests.crash.test_sigkill import start
from tests.faults.folded import all_equal
from tidelog.clock import wall_us
from tidelog.producers.ordering import order_copy
from tidelog.schemas.control import CopyFormed
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

POINTS = [
    ("before-transaction", 1),
    ("after-transaction", 1),
    ("after-transaction", 2),
    ("before-settle", 3),
    ("after-transaction", 4),
    ("after-transaction", 5),
    ("after-settle", 6),
    ("before-receipt", 3),
]


@pytest.mark.parametrize(("point", "nth"), POINTS)
def test_a_worker_killed_while_it_makes_a_late_copy(
    point: str, nth: int, group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """Between two markers; the other site cuts it in time, since it replays the log."""
    cluster = tidelog_deployment.deployment.cluster
    group = tidelog_deployment.group(group_name)
    tidelog_deployment.site("osaka")
    volume = group.create_volume("data", BLOCK * BLOCKS)
    group.mark("before")
    for number in range(1, 100):
        volume.write(number % BLOCKS * BLOCK, content(number))
    group.flush()
    at = wall_us()
    while wall_us() == at:
        pass
    for number in range(100, 150):
        volume.write(number * 7 % BLOCKS * BLOCK + number, content(number)[: BLOCK - number])
    group.mark("behind").wait(["osaka"], timeout=60)
    tidelog_deployment.stop_site("osaka")

    order_copy(cluster, "noon", [group_name], at)
    child = start("worker", config_path, group_name, point, nth)
    assert child.wait(timeout=60) == -signal.SIGKILL, "the point was not reached"
    for site in ("osaka", "tokyo"):
        tidelog_deployment.site(site)

    def receipts() -> list[CopyFormed]:
        view = cluster.control.snapshot().values()
        return [record for record in view if isinstance(record, CopyFormed) and record.name == "noon"]

    deadline = time.monotonic() + 60
    while len(receipts()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert {receipt.site for receipt in receipts()} == {"osaka", "tokyo"}
    assert len({(r.sequence, r.seal, r.digest, r.blocks_changed) for r in receipts()}) == 1
    group.mark("after").wait(sites=["tokyo", "osaka"], timeout=60)
    held = [tidelog_deployment.site(site).group(group_name).copies() for site in ("tokyo", "osaka")]
    assert [copy.name for copy in held[0]] == [copy.name for copy in held[1]] == ["before", "noon", "behind", "after"]
    for one, other in zip(*held, strict=True):
        assert one.volume("data").read(0, BLOCK * BLOCKS) == other.volume("data").read(0, BLOCK * BLOCKS)
    all_equal(tidelog_deployment.deployment, group_name, ("tokyo", "osaka"))
