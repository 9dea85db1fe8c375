"""Discards of live volumes: what no event has named costs nothing, and all else is zeroed."""

from itertools import pairwise

import pytest

from tests.nbd.client import FUA
from tests.nbd.conftest import Bank
from tests.nbd.disk import BLOCK, BLOCKS, SIZE, Disk
from tidelog.consumers.deployment import open_store
from tidelog.gateways.nbd.discards import BLOCKS_MIN, EVENTS_MAX
from tidelog.stores import presence
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys

HOLE = 3


def test_what_was_never_named(disk: Disk) -> None:
    """All of a new volume: no event names a block of it, whether its client wants to wait for the log or not."""
    disk.client.trim(0, SIZE)
    disk.client.trim(0, SIZE, FUA)
    disk.client.flush()
    assert disk.discards() == []
    receipt = disk.group.mark("new").wait(sites=["tokyo"], timeout=60)["tokyo"]
    assert receipt.blocks_changed == 0
    assert disk.client.status(0, SIZE) == [(SIZE, HOLE)]


def test_few_blocks_are_named_without_a_look(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """That costs less."""
    monkeypatch.delattr(Store, "named")
    disk.client.trim(5000, (BLOCKS_MIN - 2) * BLOCK)
    assert disk.discards() == [(5000, (BLOCKS_MIN - 2) * BLOCK)]


def test_zeroes_that_are_written_are_in_the_log(disk: Disk) -> None:
    """All of them: whatever the bitmaps of one site have lost, they are zeros at every site."""
    disk.running.site("osaka")
    disk.client.write(0, b"secret", flags=FUA)
    disk.applied()
    keyspace = disk.running.deployment.keyspace("tokyo", disk.name)
    keyspace.transact([(b"DEL", Keys(disk.name).bitmap(0, disk.group.volume("ledger").id))])
    disk.client.zero(0, SIZE)
    assert disk.discards() == [(0, SIZE)]
    assert disk.content() == disk.content("osaka") == bytes(SIZE)


def test_what_was_written_and_nothing_else(disk: Disk) -> None:
    """Also blocks that a copy keeps, and again what is zeros by now; of blocks in part, no byte too many."""
    client, model = disk.client, bytearray(SIZE)
    for at, data in ((3, b"a" * 10), (100 * BLOCK - 1, b"bc"), (1000 * BLOCK, b"d" * 3 * BLOCK), (SIZE - 1, b"e")):
        client.write(at, data)
        model[at : at + len(data)] = data
    disk.group.mark("written").wait(sites=["tokyo"], timeout=60)
    for offset, end in ((5, 1001 * BLOCK + 5), (1002 * BLOCK, SIZE), (0, SIZE)):
        client.trim(offset, end - offset)
        model[offset:end] = bytes(end - offset)
        assert client.read(0, SIZE) == model
        assert disk.content() == model
    assert disk.discards() == [
        (5, BLOCK - 5),
        (99 * BLOCK, 2 * BLOCK),
        (1000 * BLOCK, BLOCK + 5),
        (1002 * BLOCK, BLOCK),
        (1999 * BLOCK, BLOCK - 100),
        (0, BLOCK),
        (99 * BLOCK, 2 * BLOCK),
        (1000 * BLOCK, 3 * BLOCK),
        (1999 * BLOCK, BLOCK - 100),
    ]
    assert client.status(0, SIZE) == [(SIZE, HOLE)]


def test_a_site_that_stands_still(disk: Disk) -> None:
    """What it has not applied, or the session has not even sent, is zeroed; what is written afterwards is not."""
    disk.client.write(0, b"applied")
    disk.applied()
    disk.running.stop_site("tokyo")
    model = bytearray(SIZE)
    for turn in range(1, 4):
        disk.client.write(turn * 400 * BLOCK, b"sent", flags=FUA)
        disk.client.write(turn * 500 * BLOCK, b"unsent")
        disk.client.trim(0, SIZE)
        after = b"after %d" % turn
        disk.client.write(turn * 600 * BLOCK, after)
        model[:] = bytes(SIZE)
        model[turn * 600 * BLOCK : turn * 600 * BLOCK + len(after)] = after
        assert disk.client.read(0, SIZE) == model
    assert sum(length for _, length in disk.discards()) < 40 * BLOCK
    disk.running.site("tokyo")
    assert disk.content() == model


def test_many_pieces_are_few_events(disk: Disk) -> None:
    """What lies close together is discarded as one."""
    places = [(3 * number + number * number // 4) * BLOCK for number in range(80)]
    for at in places:
        disk.client.write(at, b"x")
    disk.applied()
    disk.client.trim(0, SIZE)
    found = disk.discards()
    assert 10 < len(found) < 50
    assert all(after[0] - sum(before) >= 32 * BLOCK for before, after in pairwise(found))
    assert disk.content() == bytes(SIZE)


def test_more_pieces_than_one_discard_has_events(memory_disk: Disk) -> None:
    """Some are discarded as one, with what is between them."""
    disk, size = memory_disk, 200 * 40 * BLOCK
    disk.group.create_volume("wide", size)
    client = disk.opened("wide")
    for number in range(200):
        client.write(number * 40 * BLOCK, b"x")
    client.trim(0, size)
    assert len(disk.discards()) == EVENTS_MAX
    assert client.read(0, size) == bytes(size)


def test_a_look_in_parts(memory_disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes over a bounded span at a time; what is at a border is there once."""
    monkeypatch.setattr(presence, "SPAN_BLOCKS_MAX", 104)
    disk = memory_disk
    for number in range(0, BLOCKS, 100):
        disk.client.write(number * BLOCK, b"x")
        if number % 300 == 0:
            disk.applied()
    disk.client.trim(50, SIZE - 50)
    assert len(disk.discards()) == 20
    assert disk.content() == b"x" + bytes(SIZE - 1)


def test_in_a_clone(bank: Bank) -> None:
    """Only what its copy had, or was written in it, becomes the clone's own."""
    store = open_store(bank.running.deployment, "tokyo", "bank")
    image = store.clones.image(store.clones.find("drill"))
    (info,) = image.clone.image.volumes
    with bank.opened("ledger@clone:drill") as client:
        client.trim(0, info.size)
        assert list(image.changed(info).blocks()) == [2, 3]
        client.write(100 * BLOCK - 1, b"xy")
        client.trim(100 * BLOCK, info.size - 100 * BLOCK)
        assert client.read(0, info.size) == (bytes(100 * BLOCK - 1) + b"x").ljust(info.size, b"\0")
        client.trim(0, info.size)
        assert client.read(0, info.size) == bytes(info.size)
        assert list(image.changed(info).blocks()) == [2, 3, 99, 100]
    image.close()
    store.close()
