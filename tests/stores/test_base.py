"""A copy from elsewhere as the base of an empty store: whole or not at all, and a fold like any other from there on."""

import pytest
from store_lab import CLUSTER, IDENTITY, Author, all_keys, apply, bitmap_blocks

from tidelog.errors import AlreadyExists, NeedsRebuild, SiteBehind, StoreUnavailable
from tidelog.schemas.events import Discard, VolumeDeleted
from tidelog.stores.erase import ERASING
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace

BLOCK = 512


@pytest.fixture
def source(author: Author) -> Store:
    """A store with copies ``one`` and ``two``, and events behind both."""
    number = author.create("v", 100 * BLOCK)
    gone = author.create("gone", BLOCK)
    author.write((number, 0, b"a" * BLOCK), (number, 50 * BLOCK, b"part"), (gone, 0, b"x"))
    author.mark("one")
    author.write((number, BLOCK, b"b" * BLOCK))
    author.add(Discard, volume=number, offset=50 * BLOCK, length=BLOCK)
    author.add(VolumeDeleted, volume=gone)
    author.mark("two")
    author.write((number, 2 * BLOCK, b"c" * 700), (number, 7, b"patched"))
    author.mark("three")
    store = Store.create(MemoryKeyspace(), IDENTITY)
    apply(store, author)
    return store


def load(target: Store, source: Store, name: str):
    copy = source.copy(name)
    contents = source.contents(copy)
    with target.load_base() as base:
        for volume in copy.volumes:
            for blocks in contents.blocks(volume, contents.named(volume)):
                base.put(volume, blocks)
        held = base.finish(copy, {})
        assert target.verify(held) == source.verify(copy)
        base.accept()
    return held


@pytest.mark.parametrize("name", ["one", "two"])
def test_the_fold_goes_on_from_the_base(keyspace: Keyspace, store: Store, source: Store, author: Author, name: str):
    held = load(store, source, name)
    assert store.position().head == source.copy(name).head == held.head
    assert (store.position().cluster_id, store.rebuilding()) == (CLUSTER, None)
    apply(store, author)
    assert store.position().head == source.position().head and store.volumes() == source.volumes()
    for copy in store.copies():
        there = source.copy(f"#{copy.sequence}")
        assert store.digest(copy) == store.verify(copy) == source.verify(there)
        assert (copy.name, copy.volumes, copy.blocks_changed) == (there.name, there.volumes, there.blocks_changed)
    for volume in store.volumes():
        assert store.read(volume, 0, volume.size) == source.read(volume, 0, volume.size)
    newest = store.copies()[-1].generation
    assert bitmap_blocks(keyspace, Keys(IDENTITY.group).bitmap(newest, 2)) == set()


def test_blocks_put_later_win_and_those_without_content_go(keyspace: Keyspace, store: Store, source: Store):
    copy = source.copy("two")
    (volume,) = copy.volumes
    with store.load_base() as base:
        base.put(volume, [(0, b"old"), (3, b"goes"), (9, b"stays")])
        base.put(volume, [(0, b"new"), (3, b"")])
        base.finish(copy, {})
        base.accept()
    assert store.read(volume, 0, 3) == b"new" and store.read(volume, 3 * BLOCK, 4) == bytes(4)
    assert bitmap_blocks(keyspace, Keys(IDENTITY.group).bitmap(0, volume.id)) == {0, 3, 9}


def test_nothing_is_served_before_it_is_whole(store: Store, source: Store):
    copy = source.copy("two")
    (volume,) = copy.volumes
    with store.load_base() as base:
        base.put(volume, [(0, b"x")])
        for read in (lambda: store.read(volume, 0, 1), store.position, store.copies, lambda: store.applier(CLUSTER)):
            with pytest.raises((NeedsRebuild, SiteBehind)):
                read()
        held = base.finish(copy, {})
        for read in (lambda: store.read(volume, 0, 1), lambda: store.read(volume, 0, 1, held)):
            with pytest.raises(SiteBehind):
                read()
        base.withdraw()
    with pytest.raises(NeedsRebuild, match="cut short"):
        store.position()
    assert store.rebuilding() == ERASING


def test_a_load_that_was_cut_short_is_done_again_without_what_it_left(keyspace: Keyspace, store: Store, source: Store):
    (volume,) = source.copy("two").volumes
    with store.load_base() as base:
        base.put(volume, [(77, b"left over")])
        base._settle(base._name)
    load(store, source, "two")
    assert b"b:%d:%08x" % (volume.id, 77) not in all_keys(keyspace)
    assert store.read(volume, 77 * BLOCK, BLOCK) == bytes(BLOCK)


@pytest.mark.usefixtures("source")
def test_only_an_empty_store_takes_a_base(keyspace: Keyspace, store: Store, author: Author):
    store.begin_rebuild(7)
    with pytest.raises(AlreadyExists, match="being rebuilt"):
        store.load_base()
    store._keyspace.transact([(b"DEL", Keys(IDENTITY.group).rebuild)])
    apply(store, author)
    before = all_keys(keyspace)
    with pytest.raises(AlreadyExists, match="not empty"):
        store.load_base()
    assert all_keys(keyspace) == before and store.rebuilding() is None


def test_of_two_loads_the_later_one_goes_on(store: Store, source: Store):
    (volume,) = source.copy("two").volumes
    first = store.load_base()
    load(store, source, "two")
    first.put(volume, [(1, b"stale")])
    with first, pytest.raises(StoreUnavailable, match="another process"):
        first.finish(source.copy("two"), {})
    assert store.verify(store.copy("two")) == source.verify(source.copy("two"))


def test_a_worker_that_was_there_before_applies_nothing_into_a_load(store: Store, source: Store, author: Author):
    applier = store.applier(CLUSTER)
    base = store.load_base()
    with pytest.raises(PositionMoved):
        applier.submit(author.log)
    base.finish(source.copy("two"), {})
    base.accept()
    base.close()
    apply(store, author)
    assert store.position().head == author.head
