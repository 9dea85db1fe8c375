"""Leases over time: renewed while they are open, put again after a rewind, ended by Redis's clock."""

import threading
from collections.abc import Callable

import pytest
from store_lab import CLUSTER, IDENTITY, Author, apply

from tidelog.errors import StoreUnavailable
from tidelog.stores.holds import read_holds
from tidelog.stores.image import Store
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import HoldKind


def test_a_lease_that_is_held_is_renewed(monkeypatch: pytest.MonkeyPatch, author: Author) -> None:
    """By a thread, for as long as it is open; where the store went back and has it no more, it is put again."""
    monkeypatch.setattr("tidelog.stores.holds.RENEW_SECONDS", 0.01)
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    author.mark("m")
    apply(store, author)
    before = keyspace.snapshot()
    lease = store.hold(store.copy("m"), HoldKind.VOLUME)
    (first,) = store.holds()
    assert waited(lambda: store.holds()[0].expires_us > first.expires_us)
    keyspace.restore(before, lose_connections=False)
    assert waited(lambda: [hold.id for hold in store.holds()] == [lease.copy.hold])
    store.close()
    assert store.holds() == []
    lease.close()


@pytest.mark.parametrize("error", [StoreUnavailable("Redis does not answer"), ValueError("what nobody thought of")])
def test_a_renewal_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch, author: Author, error: Exception) -> None:
    """Redis is away for a while: the lease is renewed when it is back, for as long as it has not been lost."""
    monkeypatch.setattr("tidelog.stores.holds.RENEW_SECONDS", 0.01)
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    author.mark("m")
    apply(store, author)
    lease = store.hold(store.copy("m"), HoldKind.EXPORT)
    real, tried = keyspace.session, threading.Event()

    def away(_key: bytes) -> None:
        tried.set()
        raise error

    keyspace.session = away  # type: ignore[method-assign,assignment]
    assert tried.wait(20)
    keyspace.session = real  # type: ignore[method-assign]
    (before,) = store.holds()
    assert waited(lambda: store.holds()[0].expires_us > before.expires_us)
    lease.close()
    assert store.holds() == []


def test_leases_end_by_the_clock_of_redis(author: Author) -> None:
    """Not by this machine's: an hour later there, whatever it is here, nobody holds the copy."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    author.mark("m")
    apply(store, author)
    keyspace.now_us = lambda: 1_000_000
    lease = store.hold(store.copy("m"), HoldKind.EXPORT)
    assert [hold.expires_us for hold in store.holds()] == [61_000_000]
    keyspace.now_us = lambda: 60_999_999
    assert store.holds()
    keyspace.now_us = lambda: 61_000_000
    assert store.holds() == []
    lease.close()


def test_what_killed_processes_have_left_is_cleared_away(author: Author) -> None:
    """By whoever takes the next lease, of any copy, once it has ended for long; so nothing gathers beside a copy that
    stays."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    author.mark("m")
    apply(store, author)
    keyspace.now_us = lambda: 1_000_000
    killed = [Store.open(keyspace, IDENTITY).hold(store.copy("m"), HoldKind.EXPORT) for _ in range(3)]
    clone = store.clones.create(store.copy("m"), "drill")
    for seconds, left in ((100, 4), (122, 1)):
        keyspace.now_us = lambda seconds=seconds: seconds * 1_000_000  # type: ignore[misc]
        lease = store.hold(store.copy("m"), HoldKind.VOLUME)
        lease.close()
        assert len(keyspace.transact([(b"HKEYS", store._keys.holds)])[0]) == left  # type: ignore[arg-type]
    assert [hold.id for hold in store.holds()] == [clone.id]
    for lease in killed:
        lease.close()


def waited(condition: Callable[[], bool]) -> bool:
    for _ in range(3000):
        if condition():
            return True
        threading.Event().wait(0.005)
    return False


def test_the_holds_are_read_once_a_step(monkeypatch: pytest.MonkeyPatch, author: Author) -> None:
    """However many dropped copies are held; and not at all while none is dropped."""
    store = Store.create(MemoryKeyspace(), IDENTITY)
    for index in range(5):
        author.mark(f"m{index}")
    apply(store, author)
    leases = [store.hold(copy, HoldKind.EXPORT) for copy in store.copies()[:4]]
    asked = []
    monkeypatch.setattr("tidelog.stores.drop.read_holds", lambda *given: asked.append(1) or read_holds(*given))
    with store.applier(CLUSTER) as applier:
        assert not applier.maintain() and asked == []
    for lease in leases:
        assert store.mark_dropping(lease.copy)
    with store.applier(CLUSTER) as applier:
        assert not applier.maintain() and asked == [1]
    store.close()
