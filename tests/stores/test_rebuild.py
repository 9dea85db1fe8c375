"""Emptying a store and filling it again."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import pytest
from store_lab import CLUSTER, IDENTITY, Author, Model, all_keys, apply, check

from tidelog.errors import NeedsRebuild, NotFound, SiteBehind, StoreDamaged
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, PositionMoved, Reply
from tidelog.stores.memory import MemoryKeyspace

BLOCK = 512
KEYS = Keys(IDENTITY.group)


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


def _three_copies(author: Author) -> None:
    number = author.create("v", 300 * BLOCK)
    for index in range(3):
        author.write(*((number, block * BLOCK, bytes([index + 1]) * BLOCK) for block in range(index, 300, 3)))
        author.mark(f"m{index}")


def _meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch, nth: int, happens: Callable[[], object]) -> None:
    """``happens`` right before the ``nth`` transaction (0 is the first) of this store's digests."""
    keyspace = store._digests._keyspace
    real, count = keyspace.transact, iter(range(1000))

    def transact(commands: Sequence[Command]) -> list[Reply]:
        if next(count) == nth:
            monkeypatch.undo()
            happens()
        return real(commands)

    monkeypatch.setattr(keyspace, "transact", transact)


@pytest.mark.parametrize("pages", range(5))
@pytest.mark.parametrize("nth", range(12))
def test_a_digest_during_an_erase(monkeypatch: pytest.MonkeyPatch, author: Author, nth: int, pages: int) -> None:
    """Whatever part of an erase falls before whatever read of a digest: it fails or is right, and so is what is
    kept."""
    monkeypatch.setattr("tidelog.stores.digest._BATCH_BYTES", 80 * BLOCK)
    store = Store.create(MemoryKeyspace(), IDENTITY)
    _three_copies(author)
    apply(store, author)
    copy = store.copy("m2")
    right = store.verify(copy)
    store._keyspace.transact([(b"DEL", KEYS.digests)])
    erasing = store.erase()
    _meanwhile(store, monkeypatch, nth, lambda: deque(islice(erasing, pages), maxlen=0))
    try:
        assert store.digest(copy) == right
    except (NeedsRebuild, NotFound):
        pass
    monkeypatch.undo()
    list(erasing)
    list(store.erase())
    apply(store, author)
    assert store.digest(store.copy("m2")) == right


@pytest.mark.parametrize("way", ["digest", "verify"])
@pytest.mark.parametrize("nth", range(20))
def test_a_digest_of_damage_does_not_outlive_the_rebuild(
    monkeypatch: pytest.MonkeyPatch, author: Author, nth: int, way: str
) -> None:
    """A whole rebuild falls into a digest of a store that was damaged: what is kept afterwards is right."""
    monkeypatch.setattr("tidelog.stores.digest._BATCH_BYTES", 80 * BLOCK)
    store = Store.create(MemoryKeyspace(), IDENTITY)
    _three_copies(author)
    apply(store, author)
    copy = store.copy("m2")
    right = store.verify(copy)
    volume = copy.volumes[0].id
    damaged = KEYS.block_format(volume) % 7
    store._keyspace.transact([(b"DEL", KEYS.digests), (b"SET", damaged, b"damaged")])

    def rebuild() -> None:
        list(store.erase())
        apply(store, author)

    _meanwhile(store, monkeypatch, nth, rebuild)
    getattr(store, way)(copy)
    monkeypatch.undo()
    if store._keyspace.transact([(b"GET", damaged)]) == [b"damaged"]:
        rebuild()  # the digest needed fewer transactions
    assert store.digest(store.copy("m2")) == right
