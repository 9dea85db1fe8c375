"""What a site has dropped on its own it remembers in the same transaction, for as long as the command stands."""

import pytest
from store_lab import CLUSTER, IDENTITY, Lab

from tidelog.errors import StoreDamaged, StoreUnavailable
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import CopyOrigin
from tidelog.stores.timed import DueCopy

KEYS = Keys(IDENTITY.group)


def timed_lab(keyspace: Keyspace) -> tuple[Lab, list[DueCopy]]:
    """Three copies by time, and one of a marker behind them."""
    lab = Lab(keyspace)
    orders = []
    for name in ("a", "b", "c"):
        write = lab.author.write((lab.volume, 0, name.encode() * 512))
        orders.append(DueCopy(name, write.timestamp_us + 5))
    lab.author.mark("marked")
    lab.applier.order(orders)
    lab.apply()
    assert [copy.name for copy in lab.store.copies()] == ["a", "b", "c", "marked"]
    return lab, orders


def test_what_is_forgotten_is_a_command_not_a_marker(keyspace: Keyspace) -> None:
    """Only with ``forget``, once; and it goes with the commands that do not stand any more, and with an erase."""
    lab, (a, b, c) = timed_lab(keyspace)
    store = lab.store
    assert store.forgotten_orders() == set()
    assert store.mark_dropping(store.copy("a"), forget=True)
    assert store.mark_dropping(store.copy("b"))
    assert store.mark_dropping(store.copy("marked"), forget=True)
    gone = store.copies(dropping=True)[0]
    assert gone.origin is CopyOrigin.TIME and not store.mark_dropping(gone, forget=True)
    assert store.forgotten_orders() == {a}
    assert store.mark_dropping(store.copy("c"), forget=True)
    store.prune_forgotten([a, b, c])
    assert store.forgotten_orders() == {a, c}
    store.prune_forgotten([b, c])
    assert store.forgotten_orders() == {c}
    store.prune_forgotten([])
    assert store.forgotten_orders() == set()
    assert store.mark_dropping(store.copies(dropping=True)[0]) is False
    for _ in store.erase():
        pass
    assert store.forgotten_orders() == set()


@pytest.mark.parametrize("applied", [False, True])
def test_drop_and_memory_are_one_transaction(applied: bool) -> None:
    """Whether it took effect or not when the connection was lost: both or neither; and a rewind takes both back."""
    keyspace = MemoryKeyspace()
    lab, (a, *_) = timed_lab(keyspace)
    before = keyspace.snapshot()
    keyspace.fail(1, applied=applied)
    with pytest.raises(StoreUnavailable):
        lab.store.mark_dropping(lab.store.copy("a"), forget=True)
    assert ("a" in {copy.name for copy in lab.store.copies()}) is (lab.store.forgotten_orders() == set()) is not applied
    keyspace.restore(before)
    assert lab.store.forgotten_orders() == set() and lab.store.copy("a")
    assert lab.store.mark_dropping(lab.store.copy("a"), forget=True) and lab.store.forgotten_orders() == {a}


def test_it_outlives_the_copy(keyspace: Keyspace) -> None:
    """When the last block of the copy is gone, and another applier is at work with the same commands: none is cut."""
    lab, orders = timed_lab(keyspace)
    for name in ("a", "b"):
        lab.store.mark_dropping(lab.store.copy(name), forget=True)
    with lab.store.applier(CLUSTER) as applier:
        applier.order(orders)
        lab.author.write((lab.volume, 512, b"later"))
        lab.apply(applier)
        while applier.maintain():
            pass
    assert [copy.name for copy in lab.store.copies(dropping=True)] == ["c", "marked"]
    assert lab.store.forgotten_orders() == set(orders[:2])


def test_a_field_that_tidelog_did_not_write(keyspace: Keyspace) -> None:
    """Said so, as of every key of the store."""
    lab, _ = timed_lab(keyspace)
    keyspace.transact([(b"HSET", KEYS.forgotten, b"noon", b"1")])
    with pytest.raises(StoreDamaged, match="noon"):
        lab.store.forgotten_orders()
