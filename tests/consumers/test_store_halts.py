"""Stores that a site must not go on with: vanished, another's, set up to evict, damaged."""

import pytest

from tests.consumers.conftest import Lab, needs_rebuild, until, written
from tidelog.consumers.replica import State
from tidelog.errors import StoreDamaged, WrongStore
from tidelog.stores.image import Store
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import Identity


def test_a_store_that_vanished(lab: Lab) -> None:
    """Redis is empty, and the site had reported progress: not made anew unasked, it may be the wrong Redis."""
    written(lab.group())
    worker, thread = lab.worker()
    lab.caught_up()
    until(lambda: (found := lab.status()) and found.sequence, "a status")
    lab.keyspace().data.clear()
    until(lambda: worker.replicas["bank"].progress(0).state is State.NEEDS_REBUILD, "an idle replica that notices")
    worker.stop()
    thread.join()
    worker, _ = lab.worker()
    told = "NeedsRebuild: the store of site osaka is empty"
    status = until(lambda: (found := lab.status()) and found.reason.startswith(told) and found, "the status")
    assert status.state == "NEEDS_REBUILD" and "rebuild" in status.hint
    assert not lab.keyspace().data


def test_a_store_that_lost_its_position(lab: Lab) -> None:
    """An erase that was cut short, or keys lost: not taken for an empty store."""
    written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    del lab.keyspace().data[b"tidelog:{bank}:position"]
    needs_rebuild(lab.replica())


@pytest.mark.parametrize("whose", [("bank", "another-id", "osaka"), ("bank", None, "london")])
def test_anothers_store(lab: Lab, whose: tuple[str, str | None, str]) -> None:
    """Another history's, or another site's: refused before anything is written."""
    name, group_id, site = whose
    written(lab.group())
    Store.create(lab.keyspace(), Identity(name, group_id or lab.record.group_id, site))
    before = lab.keyspace().snapshot()
    replica = lab.replica()
    until(lambda: not replica.running, "the halt")
    assert isinstance(replica.progress(0).error, WrongStore)
    assert lab.keyspace().snapshot() == before


def test_a_store_that_may_evict(lab: Lab) -> None:
    """A Redis that may throw keys away is no store."""
    lab.deployment._keyspaces["osaka", "bank"] = MemoryKeyspace(eviction_policy="allkeys-lru")
    replica = lab.replica()
    until(lambda: not replica.running, "the halt")
    error = replica.progress(0).error
    assert isinstance(error, WrongStore) and "noeviction" in error.hint
    assert not lab.keyspace().data


def test_a_damaged_store(lab: Lab) -> None:
    """A key that somebody changed makes a command fail inside a transaction: halted, since EXEC does not roll back."""
    group = written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    blocks = [key for key in lab.keyspace().data if b":b:2:" in key]
    for key in blocks:
        lab.keyspace().data[key] = {b"not": b"a block"}
    next(group.volumes()).write(1, b"x")
    group.flush()
    until(lambda: not replica.running, "the halt")
    assert isinstance(replica.progress(0).error, StoreDamaged)
