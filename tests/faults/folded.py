"""How every fault scenario ends: each site, and each copy of it, beside the independent fold of the log as it is."""

import time
from collections.abc import Callable, Iterable
from contextlib import closing

from tests.reference import Reference
from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import TidelogError
from tidelog.producers.kafka_clients import open_admin
from tidelog.producers.kafka_topics import LOG_RULES, make_topic
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.stores.image import Store

DEADLINE = 90.0


def wait_until(done: Callable[[], object], what: str, timeout: float = DEADLINE) -> None:
    """Waits for a condition, and fails by name when it does not come."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)


def reference_of(deployment: Deployment, group: str) -> Reference:
    """The fold of the log to its end now."""
    record = deployment.cluster.find_group(group)
    with closing(deployment.cluster.log(record)) as log, closing(log.reader(log.bounds().start)) as reader:
        records = [(one.offset, one.value) for one in reader.records(log.bounds().end, DEADLINE)]
    return Reference(record.group_id).fold(records)


def status_of(deployment: Deployment, site: str, group: str) -> SiteStatus | None:
    """What a site last said of itself."""
    found = deployment.cluster.control.snapshot().get(status_key(group, site))
    return found if isinstance(found, SiteStatus) else None


def halts(deployment: Deployment, site: str, group: str, reason: str) -> SiteStatus:
    """Waits until a site says that it has halted, and why."""

    def halted() -> bool:
        status = status_of(deployment, site, group)
        return status is not None and status.state in ("HALTED", "NEEDS_REBUILD") and reason in status.reason

    wait_until(halted, f"{site} halts with {reason}")
    status = status_of(deployment, site, group)
    assert status is not None
    return status


def all_equal(deployment: Deployment, group: str, sites: Iterable[str]) -> Reference:
    """Waits until each site has come to the log's end, and compares it."""
    reference = reference_of(deployment, group)
    for site in sites:
        wait_until(lambda site=site: _stands_at(deployment, site, group) == reference.sequence, f"{site} at the end")
        with closing(open_store(deployment, site, group)) as store:
            compare(store, reference)
    return reference


def compare(store: Store, reference: Reference) -> None:
    """A store is the fold: position, live volumes, and its copies, in every byte and by digest."""
    head = store.position().head
    assert (head.sequence, head.seal) == (reference.sequence, reference.seal)
    live = {info.id: (info.name, info.block_size, store.read(info, 0, info.size)) for info in store.volumes()}
    assert live == reference.image()
    copies = {copy.sequence: copy for copy in store.copies()}
    assert copies.keys() == reference.copies.keys()
    for sequence, copy in copies.items():
        cut = reference.copies[sequence]
        content = {info.id: (info.name, info.block_size, store.read(info, 0, info.size, copy)) for info in copy.volumes}
        assert (copy.seal, copy.name) == (cut.seal, cut.name)
        assert content == cut.volumes
        assert store.digest(copy) == cut.digest == store.verify(copy)
        assert copy.blocks_changed == cut.blocks_changed


def cut_back(deployment: Deployment, group: str, keep: int) -> None:
    """The group's topic made anew with its first ``keep`` records: a log that has lost its tail, on a Kafka whose files
    are not ours to edit."""
    record = deployment.cluster.find_group(group)
    with closing(deployment.cluster.log(record)) as log, closing(log.reader(0)) as reader:
        values = [one.value for one in reader.records(keep, DEADLINE)]
    with closing(open_admin(deployment.config)) as admin:
        admin.delete_topics([record.topic])
        wait_until(lambda: make_topic(admin, deployment.config, record.topic, LOG_RULES), "the topic is made anew")
    landed: list[object] = []
    with closing(deployment.cluster.log(record)) as log:
        appender = log.appender()
        for value in values:
            appender.send(value, lambda offset, error: landed.append((offset, error)))
        appender.close(DEADLINE)
    assert landed == [(offset, None) for offset in range(keep)]


def _stands_at(deployment: Deployment, site: str, group: str) -> int:
    try:
        with closing(open_store(deployment, site, group)) as store:
            return store.position().head.sequence if store.rebuilding() is None else -1
    except TidelogError:
        return -1
