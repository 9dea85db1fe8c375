"""A copy from elsewhere as the base of an empty store: whole or not at all, and a fold like any other from there on."""

from dataclasses import replace

import pytest
from store_lab import CLUSTER, IDENTITY, Author, all_keys, apply, bitmap_blocks

from tidelog.errors import AlreadyExists, NeedsRebuild, SiteBehind, StoreUnavailable
from tidelog.schemas.events import Discard, VolumeDeleted
from tidelog.stores.base import BaseLoad
from tidelog.stores.erase import ERASING
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.loading import Loading
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import Copy

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


def begun(target: Store, copy: Copy, digest: bytes = bytes(16), kind: str = "site") -> BaseLoad:
    base = target.load_base(Loading.of(kind, "elsewhere", copy, digest))
    list(base.erase())
    return base


def finished(base: BaseLoad, copy: Copy) -> Copy:
    return base.finish(copy, [(volume, base.prove(volume)) for volume in copy.volumes], {}, None)


def load(target: Store, source: Store, name: str):
    copy = source.copy(name)
    contents = source.contents(copy)
    with begun(target, copy) as base:
        for volume in copy.volumes:
            for blocks in contents.blocks(volume, contents.named(volume)):
                base.put(volume, blocks)
            assert base.prove(volume) == source.volume_digest(volume, copy)
        held = finished(base, copy)
    assert target.digest(held) == target.verify(held) == source.verify(copy)
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
    with begun(store, copy) as base:
        base.put(volume, [(0, b"old"), (3, b"goes"), (9, b"stays")])
        base.put(volume, [(0, b"new"), (3, b"")])
        finished(base, copy)
    assert store.read(volume, 0, 3) == b"new" and store.read(volume, 3 * BLOCK, 4) == bytes(4)
    assert bitmap_blocks(keyspace, Keys(IDENTITY.group).bitmap(0, volume.id)) == {0, 3, 9}


def test_nothing_is_served_before_it_is_whole(store: Store, source: Store):
    copy = source.copy("two")
    (volume,) = copy.volumes
    with begun(store, copy, b"right" * 3 + b"!") as base:
        base.put(volume, [(0, b"x")])
        for read in (lambda: store.read(volume, 0, 1), store.position, store.copies, lambda: store.applier(CLUSTER)):
            with pytest.raises((NeedsRebuild, SiteBehind)):
                read()
        base.withdraw()
    with pytest.raises(NeedsRebuild, match="cut short"):
        store.position()
    assert store.rebuilding() == ERASING
    there = store.loading()
    assert there is not None and not there.goes_on_with(base.loading.of("site", "elsewhere", copy, b"right" * 3 + b"!"))
    with begun(store, copy) as base:
        base.put(volume, [(0, b"x")])
        held = base.finish(copy, [(volume, base.prove(volume))], {}, copy.sequence + 7)
    for read in (lambda: store.read(volume, 0, 1), lambda: store.read(volume, 0, 1, held)):
        with pytest.raises(SiteBehind):
            read()
    assert store.rebuilding() == copy.sequence + 7


@pytest.mark.parametrize("applied", [False, True])
def test_a_load_goes_on_where_it_was_cut_short(source: Store, applied: bool):
    """At every transaction: what was put before is not put again, and blocks, bits and digest are the same."""
    copy = source.copy("one")
    contents = source.contents(copy)
    parts = [
        (volume, block)
        for volume in copy.volumes
        for part in contents.blocks(volume, contents.named(volume))
        for block in part
    ]
    loading = Loading.of("site", "elsewhere", copy, source.digest(copy))
    cut, nth = True, 0
    while cut:
        nth, cut = nth + 1, False
        memory = MemoryKeyspace()
        store = Store.create(memory, IDENTITY)
        base = begun(store, copy, source.digest(copy))
        memory.fail(nth, applied=applied)
        try:
            for volume, block in parts:
                base.put(volume, [block])
            finished(base, copy)
        except StoreUnavailable:
            cut = True
        base.close()
        if store.loading() is not None:
            there = store.loading()
            assert there is not None and there.goes_on_with(loading)
            with store.resume_load(replace(loading, source="another"), copy.volumes) as again:
                reached = again.loading.volume, again.loading.block
                left = [(volume, block) for volume, block in parts if (volume.id, block[0]) > reached]
                assert len(left) < len(parts) or nth == 1 or (nth == 2 and not applied)
                for volume, block in left:
                    again.put(volume, [block])
                finished(again, copy)
        held = store.copy("one")
        assert store.digest(held) == store.verify(held) == source.verify(copy)
        for volume in copy.volumes:
            named = set(contents.named(volume).blocks())
            assert bitmap_blocks(memory, Keys(IDENTITY.group).bitmap(0, volume.id)) == named
    assert nth > len(parts)


def test_another_copys_load_is_not_gone_on_with(store: Store, source: Store):
    copy = source.copy("one")
    with begun(store, copy) as base:
        base.put(copy.volumes[0], [(0, b"x")])
        base.prove(copy.volumes[0])
    for other in (
        Loading.of("site", "elsewhere", source.copy("two"), bytes(16)),
        Loading.of("export", "elsewhere", copy, bytes(16)),
        Loading.of("site", "elsewhere", copy, b"1" * 16),
    ):
        with pytest.raises(StoreUnavailable):
            store.resume_load(other, copy.volumes)
    assert store.loading() == base.loading


def test_a_load_is_gone_on_with_only_once_all_was_erased(store: Store, source: Store, author: Author):
    """Else what was there before would be among what is loaded."""
    apply(store, author)
    copy = source.copy("one")
    loading = Loading.of("site", "elsewhere", copy, source.digest(copy))

    def refused() -> None:
        with pytest.raises(StoreUnavailable):
            store.resume_load(loading, copy.volumes)

    with store.load_base(loading, over=True) as base:
        refused()
        for _ in base.erase():
            refused()
    assert store.loading() == loading
    with store.resume_load(loading, copy.volumes) as base:
        for volume in copy.volumes:
            for blocks in source.contents(copy).blocks(volume, source.contents(copy).named(volume)):
                base.put(volume, blocks)
        finished(base, copy)
    apply(store, author)
    assert [store.verify(one) for one in store.copies()] == [source.verify(one) for one in source.copies()]


def test_who_goes_on_with_a_load_ends_who_was_at_it(store: Store, source: Store):
    copy = source.copy("two")
    (volume,) = copy.volumes
    first = begun(store, copy)
    first.put(volume, [(1, b"stale")])
    second = store.resume_load(first.loading, copy.volumes)
    first.put(volume, [(2, b"stale")])
    with first, pytest.raises(StoreUnavailable, match="another process"):
        first.put(volume, [(3, b"stale")])
    with second:
        assert second.prove(volume) and second.named(volume) == 1
    with pytest.raises(StoreUnavailable, match="another process"):
        first.prove(volume)


def test_a_worker_may_follow_at_once(source: Store, author: Author):
    """The last transaction sets the position: a worker that applies before its reply is read takes nobody over."""
    memory = MemoryKeyspace()
    store = Store.create(memory, IDENTITY)
    copy = source.copy("two")
    contents = source.contents(copy)
    with begun(store, copy) as base:
        for volume in copy.volumes:
            for blocks in contents.blocks(volume, contents.named(volume)):
                base.put(volume, blocks)
        digests = [(volume, base.prove(volume)) for volume in copy.volumes]
        went: list[bool] = []

        def between(at: str) -> None:
            if at == "watch" and not went:
                went.append(True)
                apply(store, author)

        memory.between = between
        base.finish(copy, digests, {}, None)
    apply(store, author)
    assert store.position().head == source.position().head


def test_a_load_that_was_cut_short_is_done_again_without_what_it_left(keyspace: Keyspace, store: Store, source: Store):
    (volume,) = source.copy("two").volumes
    with begun(store, source.copy("two"), kind="import") as base:
        base.put(volume, [(77, b"left over")])
        base.prove(volume)
    load(store, source, "two")
    assert b"b:%d:%08x" % (volume.id, 77) not in all_keys(keyspace)
    assert store.read(volume, 77 * BLOCK, BLOCK) == bytes(BLOCK)


@pytest.mark.usefixtures("source")
def test_only_an_empty_store_takes_a_base(keyspace: Keyspace, store: Store, author: Author):
    store.begin_rebuild(7)
    loading = Loading("import", "elsewhere", 5, "00" * 16, "00" * 16)
    with pytest.raises(AlreadyExists, match="being rebuilt"):
        store.load_base(loading)
    store._keyspace.transact([(b"DEL", Keys(IDENTITY.group).rebuild)])
    apply(store, author)
    before = all_keys(keyspace)
    with pytest.raises(AlreadyExists, match="not empty"):
        store.load_base(loading)
    assert all_keys(keyspace) == before and store.rebuilding() is None


def test_of_two_loads_the_later_one_goes_on(store: Store, source: Store):
    (volume,) = source.copy("two").volumes
    first = begun(store, source.copy("two"))
    load(store, source, "two")
    first.put(volume, [(1, b"stale")])
    with first, pytest.raises(StoreUnavailable, match="another process"):
        first.finish(source.copy("two"), [], {}, None)
    assert store.verify(store.copy("two")) == source.verify(source.copy("two"))


def test_a_worker_that_was_there_before_applies_nothing_into_a_load(store: Store, source: Store, author: Author):
    applier = store.applier(CLUSTER)
    copy = source.copy("two")
    base = begun(store, copy)
    with pytest.raises(PositionMoved):
        applier.submit(author.log)
    contents = source.contents(copy)
    for volume in copy.volumes:
        for blocks in contents.blocks(volume, contents.named(volume)):
            base.put(volume, blocks)
    finished(base, copy)
    base.close()
    apply(store, author)
    assert store.position().head == author.head
