"""A deployment in memory with a group, its writer, and what the log has done to it."""

from collections.abc import Callable, Iterator

import pytest

from tests.consumers.conftest import Lab
from tests.consumers.mirror_lab import MirrorLab
from tests.recovery.promote_lab import SITES as PROMOTABLE
from tests.recovery.rebuild_lab import BLOCK, RebuildLab
from tidelog.clock import wall_us
from tidelog.config import Config
from tidelog.consumers import replica as replica_module
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.worker import SiteWorker
from tidelog.gateways.exports import blocks as blocks_module
from tidelog.producers.group import Group
from tidelog.recovery import base_load, rebuild
from tidelog.schemas.control import SiteStatus, copy_key, status_key
from tidelog.stores import base as base_module
from tidelog.stores import contents as contents_module
from tidelog.stores.image import Store
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

SITES = ("tokyo", "osaka")
MIB = 1024 * 1024


@pytest.fixture
def deployment() -> MemoryDeployment:
    sites = {site: {"redis": {"url": f"redis://memory-{site}"}} for site in SITES}
    return MemoryDeployment(Config(sites=sites, worker={"status_interval": 0.1}, writer={"heartbeat": 60}))


@pytest.fixture
def group(deployment: MemoryDeployment) -> Iterator[Group]:
    """Open for writing, with copies ``one`` and ``two`` of a volume that changed in between."""
    deployment.cluster.create_group("bank")
    with open_group("bank", deployment=deployment) as opened:
        ledger = opened.create_volume("ledger", MIB)
        ledger.write(0, b"first" * 10_000)
        opened.mark("one")
        ledger.write(4096, b"second" * 5_000)
        opened.mark("two")
        yield opened


@pytest.fixture
def replicate(deployment: MemoryDeployment, group: Group) -> Callable[..., None]:
    """Brings sites to the log's end, with receipts, and stops their workers."""

    def run(*names: str) -> None:
        with RunningDeployment(_Kept(deployment)) as running:
            for site in names or SITES:
                running.wait_for_store(site, "bank")
                assert running.site(site).group("bank").wait_until(group.session.confirmed.sequence)
            last = open_store(deployment, SITES[0], "bank").copies()[-1]
            done = {copy_key("bank", last.sequence, last.name, site) for site in names or SITES}
            assert deployment.cluster.control.wait_for(lambda view: done <= view.keys(), 10)

    return run


class _Kept:
    """The deployment, not closed by who uses it."""

    def __init__(self, deployment: MemoryDeployment) -> None:
        self.config, self.cluster, self.keyspace = deployment.config, deployment.cluster, deployment.keyspace

    def close(self) -> None:
        pass


@pytest.fixture
def a() -> Iterator[Lab]:
    """Region a, in which the group is written."""
    there = Lab()
    yield there
    there.end()


@pytest.fixture
def b(a: Lab) -> Iterator[MirrorLab]:
    """Region b, which mirrors it."""
    there = MirrorLab(a)
    yield there
    there.end()


@pytest.fixture
def worker(deployment: MemoryDeployment) -> Callable[[str], SiteWorker]:
    return lambda site: SiteWorker(deployment, site, SoleWorker)


@pytest.fixture
def running() -> Iterator[RunningDeployment]:
    """The group ``bank`` served by three sites; tokyo is the configured primary."""
    sites = {site: {"redis": {"url": f"redis://memory-{site}"}} for site in PROMOTABLE}
    config = Config(sites=sites, worker={"status_interval": 0.2}, writer={"heartbeat": 0.2, "write_timeout": 5})
    with RunningDeployment(MemoryDeployment(config)) as running:
        running.deployment.cluster.create_group("bank")
        for site in PROMOTABLE:
            running.wait_for_store(site, "bank")
        assert wait_until(
            lambda: all(
                status_key("bank", site) in running.deployment.cluster.control.snapshot() for site in PROMOTABLE
            ),
            timeout_s=20,
        )
        yield running


def status(store: Store, state: str = "STREAMING", **changes: object) -> SiteStatus:
    """What a worker of the store's site would say now."""
    head = store.position().head
    found = SiteStatus(
        site=store.identity.site,
        group=store.identity.group,
        state=state,
        sequence=head.sequence,
        seal=head.seal,
        epoch=head.epoch,
        timestamp_us=head.timestamp_us,
        offset=head.offset,
        end_offset=head.offset + 1,
        events_applied=1,
        redelivered=0,
        void=0,
        reported_us=wall_us(),
        worker="somewhere:1",
    )
    return found.model_copy(update=changes)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small steps, and no waiting: interruptions are many here."""
    monkeypatch.setattr(replica_module, "RETRY_FIRST", 0.005)
    monkeypatch.setattr(replica_module, "RETRY_MOST", 0.02)
    monkeypatch.setattr(replica_module, "IDLE", 0.02)
    monkeypatch.setattr(rebuild, "STEP", 0.002)
    monkeypatch.setattr(base_load, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(blocks_module, "_BATCH_BLOCKS", 8)
    for module in (base_module, contents_module):
        monkeypatch.setattr(module, "WINDOW_BYTES", 8 * BLOCK)


@pytest.fixture
def lab(soon: None) -> Iterator[RebuildLab]:  # noqa: ARG001
    """See `RebuildLab`."""
    lab = RebuildLab()
    yield lab
    lab.end()
