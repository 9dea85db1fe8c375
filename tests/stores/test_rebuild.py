"""Emptying a store and filling it again."""

import pytest
from store_lab import CLUSTER, IDENTITY, Author, Model, all_keys, check

from tidelog.errors import NeedsRebuild, SiteBehind, StoreDamaged
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved

BLOCK = 512
KEYS = Keys(IDENTITY.group)


@pytest.fixture
def store(keyspace: Keyspace) -> Store:
    return Store.create(keyspace, IDENTITY)


@pytest.fixture
def author() -> Author:
    return Author()


def apply(store: Store, author: Author) -> None:
    with store.applier(CLUSTER) as applier:
        applier.submit(author.after(applier.position.head.sequence))
        applier.settle()
        while applier.maintain():
            pass


def test_a_rebuild(store: Store, keyspace: Keyspace, author: Author) -> None:
    """Erased and replayed, a store is what it was; meanwhile it is not read as good, and appliers notice."""
    number = author.create("v", 4 * BLOCK)
    for index in range(3):
        author.write((number, index * BLOCK, b"%d" % index * BLOCK))
        author.mark(f"m{index}")
    apply(store, author)
    digests = [store.digest(copy) for copy in store.copies()]
    before = all_keys(keyspace)
    applier = store.applier(CLUSTER)
    volume = store.volume("v")
    store.begin_rebuild(author.head.sequence)
    erased = list(store.erase())
    assert erased[-1] == len(before) - 2 and all_keys(keyspace) == {b"identity", b"position", b"rebuild"}
    assert store.rebuilding() == author.head.sequence and store.position().head.sequence == 0
    author.mark("late")
    applier.submit(author.after(applier.position.head.sequence))
    with pytest.raises(PositionMoved):
        applier.settle()
    with pytest.raises(StoreDamaged):
        store.end_rebuild()
    apply(store, author)
    copy = store.copies()[0]
    for where in (None, copy):
        with pytest.raises(SiteBehind):
            store.read(volume, 0, 1, where)
    assert [store.digest(copy) for copy in store.copies()][:3] == digests
    store.end_rebuild()
    model = Model()
    model.fold(author.log)
    check(store, keyspace, model, digests=True)


def test_an_erase_that_was_cut_short_is_no_store(store: Store, keyspace: Keyspace, author: Author) -> None:
    """Without a position nothing is read or applied; erasing again ends it."""
    number = author.create("v", 300 * BLOCK)
    author.write((number, 0, b"x" * 300 * BLOCK))
    apply(store, author)
    next(store.erase())
    for use in (store.position, store.volumes, store.copies, lambda: store.applier(CLUSTER)):
        with pytest.raises(NeedsRebuild):
            use()
    list(store.erase())
    assert all_keys(keyspace) == {b"identity", b"position"}
    apply(store, author)
    assert store.read(store.volume("v"), 0, 300 * BLOCK) == b"x" * 300 * BLOCK
