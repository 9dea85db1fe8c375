"""How every fault scenario ends: each site, and each copy of it, beside the independent fold of the log as it is."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from copy import deepcopy
from typing import Any

from tests.reference import Reference
from tests.reference_image import Cut, Frozen
from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import TidelogError
from tidelog.producers.kafka_clients import open_admin
from tidelog.producers.kafka_topics import LOG_RULES, make_topic
from tidelog.schemas.chain import Head
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, CopyOrigin

DEADLINE = 90.0
Records = Sequence[tuple[int, bytes]]


def wait_until(done: Callable[[], object], what: str, timeout: float = DEADLINE) -> None:
    """Waits for a condition, and fails by name when it does not come."""
    deadline = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.05)


class FoldToTime(Reference):
    """The fold of a log up to a time, in the midst of a batch where that falls there."""

    def __init__(self, group_id: str, at_us: int) -> None:
        super().__init__(group_id)
        self._at_us = at_us

    def _apply(self, event: dict[str, Any]) -> None:
        if event["kind"] == "WriteBatch":
            count = sum(at <= self._at_us for at in event["timestamps_us"])
            data = event["data"][: sum(event["lengths"][:count])]
            parts = ("volumes", "offsets", "lengths", "timestamps_us")
            event = event | {part: event[part][:count] for part in parts} | {"data": data}
        elif event["timestamp_us"] > self._at_us:
            return
        super()._apply(event)


def records_of(deployment: Deployment, group: str, start: int = 0) -> Records:
    """What the log holds now, from that offset on: offset and value."""
    record = deployment.cluster.find_group(group)
    with (
        closing(deployment.cluster.log(record)) as log,
        closing(log.reader(max(start, log.bounds().start))) as reader,
    ):
        return [(one.offset, one.value) for one in reader.records(log.bounds().end, DEADLINE)]


def reference_of(deployment: Deployment, group: str) -> Reference:
    """The fold of the log to its end now."""
    return Reference(deployment.cluster.find_group(group).group_id).fold(records_of(deployment, group))


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


def all_equal(
    deployment: Deployment, group: str, sites: Iterable[str], *, since: int = 0, trimmed: Records = ()
) -> Reference:
    """Waits until each site has come to the log's end, and compares it; one that began from a copy has none before
    ``since``, that one's sequence. ``trimmed`` are the records that the log holds no more. A writer may beat on."""
    records = [*trimmed, *records_of(deployment, group)]
    end = Reference(deployment.cluster.find_group(group).group_id).fold(records)
    for site in sites:
        wait_until(lambda site=site: _stands_at(deployment, site, group) >= end.sequence, f"{site} at the end")
        with closing(open_store(deployment, site, group)) as store:
            head = store.position().head
            beats = records_of(deployment, group, records[-1][0] + 1) if head.sequence > end.sequence else []
            compare(store, deepcopy(end).fold(beats, head.sequence), [*records, *beats], since, head)
    return end


def compare(store: Store, reference: Reference, records: Records, since: int = 0, stood: Head | None = None) -> None:
    """A store is the fold: position (``stood``, if only heartbeats came since), live volumes, and its copies, in every
    byte and by digest. Copies by time are compared with the fold up to their time, whichever there are: with them
    around, a marker's copy counts fewer changed blocks than the fold, which knows no commands."""
    head = stood or store.position().head
    assert (head.sequence, head.seal) == (reference.sequence, reference.seal), (head, reference.sequence)
    live = {info.id: (info.name, info.block_size, store.read(info, 0, info.size)) for info in store.volumes()}
    assert live == reference.image()
    copies = {copy.sequence: copy for copy in store.copies() if copy.origin is CopyOrigin.MARKER}
    timed = [copy for copy in store.copies() if copy.origin is CopyOrigin.TIME]
    assert copies.keys() == {sequence for sequence in reference.copies if sequence >= since}
    for sequence, copy in copies.items():
        cut = reference.copies[sequence]
        assert (copy.seal, copy.name) == (cut.seal, cut.name)
        assert (copy.locked_until_us, copy.kept) == (cut.locked_until_us, cut.kept)
        assert content_of(store, copy) == cut.volumes
        assert store.digest(copy) == cut.digest == store.verify(copy)
        assert timed or copy.blocks_changed == cut.blocks_changed
    for copy in timed:
        image = FoldToTime(store.identity.group_id, copy.timestamp_us).fold(records).image()
        assert content_of(store, copy) == image
        assert store.digest(copy) == Cut(0, b"", "", 0, image, 0).digest == store.verify(copy)


def content_of(store: Store, copy: Copy) -> Frozen:
    """What a copy holds, as the reference says it."""
    return {info.id: (info.name, info.block_size, store.read(info, 0, info.size, copy)) for info in copy.volumes}


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
