"""Discards of which it is not known what they have to name: all of it is, and none fails because of a site."""

import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nbd.client import EINVAL, EIO, ENOSPC, FUA, TRIM, ZEROES
from tests.nbd.disk import BLOCK, BLOCKS, SIZE, Disk
from tidelog.config import Config
from tidelog.config_tables import PacingConfig
from tidelog.consumers.deployment import MemoryDeployment, RealDeployment, open_store
from tidelog.errors import Fenced
from tidelog.gateways.nbd import discards
from tidelog.gateways.nbd.discards import WRITES_MAX, Looks
from tidelog.gateways.nbd.exports import LiveExport
from tidelog.producers.pacing import Pacing
from tidelog.producers.sidefile_group import SidefileGroup
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores import presence
from tidelog.stores.erase import mark_erasing, withdraw_mark
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.presence import NamedSpans
from tidelog.testing.processes import RedisServer
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing


def test_a_site_of_another_history(memory_disk: Disk) -> None:
    """It has come further than this session, with events that the log has lost: what it says counts for nothing."""
    disk = memory_disk
    disk.lose()
    disk.client.trim(0, SIZE)
    assert disk.discards() == [(0, SIZE)]


def test_a_copy_onto_the_volume(disk: Disk) -> None:
    """What it has brought the site alone knows: all is zeroed until that has it, and exactly that afterwards."""
    disk.group.create_volume("source", SIZE).write(500 * BLOCK, b"source")
    disk.applied()
    disk.running.stop_site("tokyo")
    disk.group.copy_volume("source", "ledger")
    disk.client.trim(0, 600 * BLOCK)
    assert disk.discards() == [(0, 600 * BLOCK)]
    disk.running.site("tokyo")
    assert disk.content() == bytes(SIZE)


def test_a_site_that_lags_by_many_writes(memory_disk: Disk) -> None:
    """To tell what they have named would take too long: all is."""
    disk = memory_disk
    disk.applied()
    disk.running.stop_site("tokyo")
    volume = disk.group.volume("ledger")
    for number in range(WRITES_MAX):
        volume.write(number % 5 * BLOCK, b"x")
    disk.client.trim(0, SIZE)
    assert disk.discards() == [(0, 5 * BLOCK)]
    volume.write(0, b"x")
    disk.client.trim(0, SIZE)
    assert disk.discards()[1:] == [(0, SIZE)]


def test_a_site_behind_a_former_session(disk: Disk) -> None:
    """What that wrote last the site does not have, and this session does not know: all is zeroed, until it has."""
    disk.running.stop_site("tokyo")
    disk.client.write(700 * BLOCK, b"of the one before", flags=FUA)
    disk.open()
    disk.connect()
    disk.client.trim(0, SIZE)
    assert disk.discards() == [(0, SIZE)]
    disk.running.site("tokyo")
    assert disk.content() == bytes(SIZE)
    disk.client.trim(0, SIZE)
    assert disk.discards() == [(0, SIZE)] * 2  # the first has named all of it
    disk.group.create_volume("other", SIZE)
    disk.applied()
    disk.opened("other").trim(0, SIZE)
    assert len(disk.discards()) == 2


@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_the_session_has_forgotten_since_the_look(
    memory_disk: Disk, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """A read has seen the site go on: it is looked at again; after some looks that came to nothing all is zeroed."""
    disk, asked, looks = memory_disk, Store.named, list[int]()

    def named(self: Store, volume: VolumeInfo, first: int, end: int) -> NamedSpans:
        found = asked(self, volume, first, end)
        if len(looks) < times:
            looks.append(first)
            disk.group.volume("ledger").write(len(looks) * 300 * BLOCK, b"x")
            disk.applied()
            disk.group.volume("ledger").read(0, 1)
        return found

    monkeypatch.setattr(Store, "named", named)
    disk.client.trim(0, SIZE)
    assert len(looks) == times
    assert disk.discards() == ([(0, SIZE)] if times == 3 else [(at * 300 * BLOCK, BLOCK) for at in range(1, times + 1)])
    assert disk.content() == bytes(SIZE)


def test_what_the_site_applies_between_two_looks(memory_disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not there at the first one, and is not told of by the second: the session names it."""
    disk, asked = memory_disk, Store.named

    def named(self: Store, volume: VolumeInfo, first: int, end: int) -> NamedSpans:
        if first:
            disk.group.volume("ledger").write(50 * BLOCK, b"x")
            disk.applied()
        return asked(self, volume, first, end)

    monkeypatch.setattr(presence, "SPAN_BLOCKS_MAX", 1000)
    monkeypatch.setattr(Store, "named", named)
    disk.client.trim(0, SIZE)
    assert disk.content() == bytes(SIZE)
    assert disk.discards() == [(50 * BLOCK, BLOCK)]


def test_a_volume_that_changes_during_the_look(memory_disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that was made smaller, or deleted, nothing is named any more: that is told, and no success."""
    disk, asked = memory_disk, Store.named

    def during(change: Callable[[], object]) -> None:
        def named(self: Store, volume: VolumeInfo, first: int, end: int) -> NamedSpans:
            change()
            disk.applied()
            return asked(self, volume, first, end)

        monkeypatch.setattr(Store, "named", named)

    during(lambda: disk.group.volume("ledger").resize(BLOCK))
    assert [disk.client.call(command, 0, SIZE).error for command in (TRIM, ZEROES)] == [EINVAL, ENOSPC]
    disk.group.volume("ledger").resize(SIZE)
    during(lambda: disk.group.delete_volume("ledger"))
    assert disk.client.call(TRIM, 0, SIZE).error == EIO
    assert disk.discards() == []


def test_a_site_that_is_rebuilt(memory_disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells nothing, so all is zeroed; it is asked again after a while, by whichever connection."""
    disk = memory_disk
    keyspace, keys = disk.running.deployment.keyspace("tokyo", disk.name), Keys(disk.name)
    disk.applied()
    disk.running.stop_site("tokyo")
    mark_erasing(keyspace, keys)
    disk.client.trim(0, 600 * BLOCK)
    assert disk.discards() == [(0, 600 * BLOCK)]
    withdraw_mark(keyspace, keys, None)
    disk.client = disk.opened("ledger")
    disk.client.trim(700 * BLOCK, 600 * BLOCK)
    assert disk.discards()[1:] == [(700 * BLOCK, 600 * BLOCK)]
    later = time.monotonic() + discards.LOOK_AGAIN
    monkeypatch.setattr(discards.time, "monotonic", lambda: later)
    disk.client.trim(1300 * BLOCK, 600 * BLOCK)
    assert len(disk.discards()) == 2


def test_writes_that_are_held(memory_disk: Disk) -> None:
    """Pacing holds a discard, too, and nobody else meanwhile; even one of nothing fails if that takes too long."""
    disk = memory_disk
    disk.applied()
    session = disk.group.session
    settings = PacingConfig(policy="block", max_lag=1.0)
    pacing = disk.group.pacing = Pacing("bank", settings, ("tokyo",), session.confirmed, timeout=1.0)
    pacing.since_us = 1
    begun = time.monotonic()
    disk.client.request(TRIM, 0, SIZE)
    assert session.order.acquire(timeout=0.5)
    session.order.release()
    assert disk.client.answer().error == EIO
    assert time.monotonic() - begun >= 1.0
    pacing.since_us = 0
    disk.client.trim(0, SIZE)
    assert disk.discards() == []


def test_a_session_that_was_fenced(memory_disk: Disk) -> None:
    """Until it knows, a trim of what nobody has named does nothing and finds out nothing; then none succeeds."""
    disk = memory_disk
    store = open_store(disk.running.deployment, "tokyo", disk.name)
    export = LiveExport(disk.group, disk.group.volume("ledger"), store, Looks())
    disk.running.stop_site("tokyo")  # which would tell of the other one
    disk.open()
    export.trimming(0, SIZE)()
    export.write(0, b"x")
    with pytest.raises(Fenced):
        export.flush()
    for _ in range(2):
        with pytest.raises(Fenced):
            export.trimming(0, SIZE)()
    store.close()


def test_a_session_with_a_sidefile(tmp_path: Path) -> None:
    """Its sequences are not those of the log while that is away: all is zeroed."""
    sites = {"tokyo": {"redis": {"url": "redis://memory"}}}
    config = Config(sites=sites, groups={"bank": {"sidefile": str(tmp_path)}}, writer={"write_timeout": 2})
    with RunningDeployment(MemoryDeployment(config)) as running:
        running.site("tokyo")
        group = running.group("bank")
        assert isinstance(group, SidefileGroup)
        running.wait_for_store("tokyo", "bank")
        volume = group.create_volume("ledger", SIZE)
        volume.write(0, b"x")
        group.flush(applied_at=1)
        store = open_store(running.deployment, "tokyo", "bank")
        LiveExport(group, volume, store, Looks()).trimming(0, SIZE)()
        group.flush(applied_at=1)
        assert store.named(volume.info, 0, BLOCKS).spans == [(0, BLOCKS)]
        store.close()


@pytest.mark.servers
def test_a_site_that_is_away(tidelog_kafka: KafkaServing) -> None:
    """Its Redis is gone: discards succeed as before, and name all."""
    with RedisServer() as redis, ExitStack() as ending:
        config = Config(
            prefix=f"test-{uuid.uuid4().hex[:12]}",
            kafka={"bootstrap_servers": tidelog_kafka.bootstrap_servers},
            sites={"tokyo": {"redis": {"url": redis.url}}},
            worker={"status_interval": 0.2, "poll_timeout": 0.05},
        )
        running = ending.enter_context(RunningDeployment(RealDeployment(config)))
        disk = Disk(running, "bank", ending)
        disk.applied()
        disk.client.trim(0, SIZE)
        running.stop_site("tokyo")
        redis.kill()
        disk.client.trim(0, SIZE, flags=FUA)
        assert disk.discards() == [(0, SIZE)]
