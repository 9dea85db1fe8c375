"""A deployment in memory with sites and a writer, and the reference to compare every store with."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.reference import Reference
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.consumers.membership import Membership, SoleWorker
from tidelog.consumers.replica import Replica, State
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import NeedsRebuild, NotFound, SessionClosed, TidelogError
from tidelog.producers.group import Group
from tidelog.producers.memory_log import MemoryLog
from tidelog.schemas.control import CopyFormed, SiteStatus, status_key
from tidelog.stores.image import Store
from tidelog.stores.memory import MemoryKeyspace

DEADLINE = 20.0
KIB = 1024
SITES = ("tokyo", "osaka", "london")


def until(condition: Callable[[], object], what: str = "the condition") -> Any:
    """Waits until ``condition`` is true, at most `DEADLINE` seconds; what it was then. Of a store that no worker
    has made yet nothing is true."""
    deadline = time.monotonic() + DEADLINE
    while True:
        with contextlib.suppress(NotFound):
            if found := condition():
                return found
        assert time.monotonic() < deadline, f"{what} did not come about within {DEADLINE:g} s"
        time.sleep(0.002)


def configuration(**more: Any) -> Config:
    """Sites in memory whose workers look often."""
    return Config(
        sites={name: {"redis": {"url": f"redis://memory-{name}"}} for name in SITES},
        writer={"heartbeat": 3600, "write_timeout": DEADLINE},
        worker={"status_interval": 0.02, "poll_timeout": 0.02},
        **more,
    )


class Lab:
    """The group `bank`, its log, its sites' stores and workers; everything started is ended with the test."""

    def __init__(self, config: Config | None = None) -> None:
        self.deployment = MemoryDeployment(config or configuration())
        self.cluster = self.deployment.cluster
        self.control = self.cluster.control
        self.record = self.cluster.create_group("bank")
        self.codec = self.cluster.codec(self.record)
        self._replicas: list[Replica] = []
        self._workers: list[tuple[SiteWorker, threading.Thread]] = []
        self._groups: list[Group] = []

    @property
    def log(self) -> MemoryLog:
        found = self.cluster.log(self.record)
        assert isinstance(found, MemoryLog)
        return found

    def keyspace(self, site: str = "osaka") -> MemoryKeyspace:
        found = self.deployment.keyspace(site, "bank")
        assert isinstance(found, MemoryKeyspace)
        return found

    def store(self, site: str = "osaka", *, create: bool = False) -> Store:
        return open_store(self.deployment, site, "bank", create=create)

    def group(self, site: str | None = None) -> Group:
        group = open_group("bank", deployment=self.deployment, site=site)
        self._groups.append(group)
        return group

    def replica(self, site: str = "osaka") -> Replica:
        replica = Replica(
            "bank",
            self.codec,
            lambda: self.cluster.log(self.record),
            lambda: self.store(site, create=True),
            self.control,
            self.deployment.config.worker,
        )
        self._replicas.append(replica)
        replica.start()
        return replica

    def worker(
        self, site: str = "osaka", membership: Callable[[], Membership] = SoleWorker, groups: tuple[str, ...] = ()
    ) -> tuple[SiteWorker, threading.Thread]:
        worker = SiteWorker(self.deployment, site, membership, groups)
        thread = threading.Thread(target=worker.run, daemon=True)
        self._workers.append((worker, thread))
        thread.start()
        return worker, thread

    def reference(self, until_sequence: int | None = None) -> Reference:
        records = [(record.offset, record.value) for record in self.log._records]
        return Reference(self.record.group_id).fold(records, until_sequence)

    def receipt(self, sequence: int, site: str = "osaka") -> CopyFormed | None:
        receipts = (record for record in self.control.snapshot().values() if isinstance(record, CopyFormed))
        return next((r for r in receipts if (r.group, r.sequence, r.site) == ("bank", sequence, site)), None)

    def status(self, site: str = "osaka", group: str = "bank") -> SiteStatus | None:
        found = self.control.snapshot().get(status_key(group, site))
        return found if isinstance(found, SiteStatus) else None

    def caught_up(self, site: str = "osaka") -> Store:
        """Waits until a site has applied all that counts, and compares it."""
        wanted = self.reference().sequence

        def there() -> bool:
            try:
                return self.store(site).position().head.sequence >= wanted
            except TidelogError:
                return False

        until(there, f"{site} at sequence {wanted}")
        return self.compare(site)

    def compare(self, site: str = "osaka") -> Store:
        """A site's store is the fold at its own position, with its copies and their digests."""
        store = self.store(site)
        head = store.position().head
        reference = self.reference(head.sequence)
        assert (reference.sequence, reference.seal) == (head.sequence, head.seal)
        live = {info.id: (info.name, info.block_size, store.read(info, 0, info.size)) for info in store.volumes()}
        assert live == reference.image()
        copies = {copy.sequence: copy for copy in store.copies()}
        assert copies.keys() == reference.copies.keys()
        for sequence, copy in copies.items():
            cut = reference.copies[sequence]
            content = {
                info.id: (info.name, info.block_size, store.read(info, 0, info.size, copy)) for info in copy.volumes
            }
            assert (copy.seal, copy.name, copy.timestamp_us) == (cut.seal, cut.name, cut.timestamp_us)
            assert content == cut.volumes and copy.blocks_changed == cut.blocks_changed
            assert (copy.locked_until_us, copy.kept) == (cut.locked_until_us, cut.kept)
            assert store.digest(copy) == cut.digest
        return store

    def end(self) -> None:
        for group in self._groups:
            group.abandon()
        for worker, _ in self._workers:
            worker.stop()
        for replica in self._replicas:
            replica.stop()
        for _, thread in self._workers:
            thread.join(DEADLINE)


def written(group: Group, rounds: int = 3) -> Group:
    """Some of everything: volumes, writes, a discard, markers; flushed."""
    name = f"v{group.session.confirmed.sequence}"
    volume = group.create_volume(name, 20 * KIB, block_size=512)
    for index in range(rounds):
        volume.write(index * 700, bytes([index + 1]) * 1500)
        volume.discard(index * 100, 300)
        group.mark(f"m{group.session.confirmed.sequence}")
        volume.write(5, b"between")
    group.flush()
    return group


def state(replica: Replica) -> State:
    """What a replica says of itself."""
    return replica.progress(0).state


def needs_rebuild(replica: Replica) -> NeedsRebuild:
    """Waits for a replica to say that its site must be rebuilt; why."""
    until(lambda: not replica.running, "the halt")
    progress = replica.progress(0)
    assert progress.state is State.NEEDS_REBUILD
    assert isinstance(progress.error, NeedsRebuild) and "rebuild" in progress.error.hint
    return progress.error


@pytest.fixture
def lab() -> Iterator[Lab]:
    """See `Lab`."""
    lab = Lab()
    yield lab
    try:
        lab.end()
    except SessionClosed:
        pass
