"""Digests: equal for equal contents, whatever the way to them."""

import pytest
from store_lab import IDENTITY, Author, apply

from tidelog.schemas.events import Discard
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.memory import MemoryKeyspace

BLOCK = 512
KEYS = Keys(IDENTITY.group)


def test_digests_are_independent_of_the_way(store: Store, author: Author) -> None:
    """From scratch, from an elder, after a drop of the elder: one and the same; zeros written count as absent."""
    number = author.create("v", 10 * BLOCK)
    first = author.mark("empty")
    author.write((number, 0, bytes(BLOCK)), (number, BLOCK, b"short"))
    author.mark("one")
    author.write((number, BLOCK, bytes(5)), (number, 2 * BLOCK, b"x" * BLOCK))
    author.mark("two")
    author.add(Discard, volume=number, offset=0, length=10 * BLOCK)
    author.mark("again empty")
    apply(store, author)
    empty, one, two, again = store.copies()
    assert store.digest(two) == store.verify(two)
    digests = [store.digest(copy) for copy in (empty, one, two, again)]
    assert digests == [store.verify(copy) for copy in (empty, one, two, again)]
    assert digests[0] == digests[3] and len(set(digests)) == 3
    assert store.volume_digest(empty.volumes[0], empty) == bytes(16)
    author.drop(first)
    apply(store, author)
    assert [store.verify(copy) for copy in (one, two, again)] == digests[1:]


@pytest.mark.parametrize("gone", [False, True])
def test_an_elder_that_is_dropped_meanwhile_is_no_base(author: Author, gone: bool) -> None:
    """A drop hands the elder's bits down, out of the span that the difference is taken over."""
    store = Store.create(MemoryKeyspace(), IDENTITY)
    number = author.create("v", BLOCK)
    author.mark("base")
    author.mark("elder")
    author.write((number, 0, b"x"))
    author.mark("newer")
    apply(store, author)
    _, elder, newer = store.copies()
    store.digest(elder)
    store.mark_dropping(elder)
    if gone:
        apply(store, author)
    digest = store._digests.volume(newer.volumes[0], newer, [elder])
    assert digest == store._digests.all(newer.volumes[0], newer) != bytes(16)


def test_a_digest_left_by_a_rewind_is_of_another_copy(author: Author) -> None:
    """Digests stand outside the position; they name a copy by its identity, so a rewind leaves none that is wrong."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    number = author.create("v", BLOCK)
    apply(store, author)
    before = keyspace.snapshot()
    other = Author()
    other.create("v", BLOCK)
    for log, content in ((author, b"x"), (other, b"y")):
        log.write((number, 0, content))
        log.mark("m")
    apply(store, author)
    store.digest(store.copy("m"))
    (left,) = keyspace.transact([(b"HGETALL", KEYS.digests)])
    keyspace.restore(before)
    keyspace.transact([(b"HSET", KEYS.digests, *left)])  # type: ignore[misc]
    apply(store, other)
    copy = store.copy("m")
    assert store.digest(copy) == store.verify(copy)
