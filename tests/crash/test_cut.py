"""SIGKILL inside the cut of a copy, at its writer and at a site: each copy of the log is at each site, once, equal."""

import signal
from pathlib import Path

import pytest

from tests.crash.child import BLOCK, BLOCKS, WRITES_PER_FLUSH
from tests.crash.cuts import WORKER_POINTS, WRITER_POINTS
from tests.crash.test_sigkill import copies_are_equal, keep_writing, last_write, start
from tests.faults.folded import all_equal
from tidelog.consumers.deployment import open_store
from tidelog.producers.group import Group
from tidelog.schemas.control import CopyFormed
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SITES = ("tokyo", "osaka")


def copy_hit(output: str, point: str) -> str:
    """The copy at whose cut the process has killed itself; fails if it was not at that point."""
    hits = [line.split() for line in output.splitlines() if line.startswith("hit ")]
    assert [hit[1] for hit in hits] == [point], f"the point {point} was not reached: {output[-500:]}"
    return hits[0][2]


def every_copy_is_everywhere_once(running: RunningDeployment, group: Group) -> list[str]:
    """What the log says there is, is what each site holds: none missing, none double, equal bytes. Their names."""
    group.mark("after").wait(sites=SITES, timeout=60)
    wanted = [(copy.sequence, copy.seal, copy.name) for copy in group.session.state.copies()]
    names = [name for _, _, name in wanted]
    assert len(set(names)) == len(names)
    sites = [running.site(site).group(group.name) for site in SITES]

    def held() -> list[list[tuple[int, bytes, str]]]:
        return [[(copy.sequence, copy.seal, copy.name) for copy in site.copies()] for site in sites]

    assert wait_until(lambda: held() == [wanted] * len(sites), timeout_s=60), (wanted, held())
    assert copies_are_equal(sites) == len(wanted)
    wait_until(lambda: len({site.position.head for site in sites}) == 1, timeout_s=60)
    live = {site.volume("data").read(0, BLOCK * BLOCKS) for site in sites}
    assert len(live) == 1 and last_write(live.pop()) > 0
    all_equal(running.deployment, group.name, SITES)
    return names


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", WRITER_POINTS)
def test_a_writer_killed_in_a_mark(
    point: str, nth: int, group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """A marker that Kafka has acknowledged is a copy at every site; one that nobody has acknowledged is one at every
    site or at none."""
    tidelog_deployment.deployment.cluster.create_group(group_name)
    for site in SITES:
        tidelog_deployment.site(site)
    child = start("writer", config_path, group_name, point, nth)
    output, _ = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    killed_with = copy_hit(output, point)
    flushed = int([line for line in output.splitlines() if line.isdigit()][-1])
    assert killed_with == f"copy-{flushed}"

    group = tidelog_deployment.group(group_name)
    assert last_write(group.volume("data").read(0, BLOCK * BLOCKS)) == flushed
    names = every_copy_is_everywhere_once(tidelog_deployment, group)
    if point != "mark-sent":
        assert killed_with in names
    elder = [f"copy-{number}" for number in range(WRITES_PER_FLUSH, flushed, WRITES_PER_FLUSH) if number % 3 == 0]
    assert names == [*elder, *([killed_with] if killed_with in names else []), "after"]


@pytest.mark.parametrize("nth", [1, 4])
@pytest.mark.parametrize("point", WORKER_POINTS)
def test_a_worker_killed_in_a_cut(
    point: str, nth: int, group_name: str, config_path: Path, tidelog_deployment: RunningDeployment
) -> None:
    """Before its EXEC the copy is not there, after it the copy is whole; the next worker cuts it once, if at all, and
    sends the receipt."""
    tidelog_deployment.site("tokyo")
    group = tidelog_deployment.group(group_name)
    child = start("worker", config_path, group_name, point, nth)
    keep_writing(group, child)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    killed_with = copy_hit(output, point)

    store = open_store(tidelog_deployment.deployment, "osaka", group_name)
    held = {copy.name: copy for copy in store.copies()}
    if point == "cut-planned":
        assert killed_with not in held
    elif point != "cut-sent":  # what is sent may still be on its way to Redis
        assert killed_with in held
        view = tidelog_deployment.deployment.cluster.control.snapshot()
        receipts = [record for record in view.values() if isinstance(record, CopyFormed) and record.site == "osaka"]
        assert (group_name, killed_with) not in {(receipt.group, receipt.name) for receipt in receipts}
        assert held[killed_with].sequence <= store.position().head.sequence
    store.close()
    tidelog_deployment.site("osaka")
    names = every_copy_is_everywhere_once(tidelog_deployment, group)
    assert names[-1] == "after"
