"""Locked copies: what a store does with drops, locks and keeps, and what a drop does to other copies (G14)."""

import threading

import pytest
from store_lab import CLUSTER, IDENTITY, Author, Lab, Model, apply, check

from tidelog.errors import Locked, LockInDoubt, StoreUnavailable
from tidelog.schemas.events import CopyDropped, CopyLocked, Heartbeat
from tidelog.stores import copy_changes, local_drop
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace

BLOCK = Lab.BLOCK
SECOND_US = 1_000_000


@pytest.fixture
def lab(keyspace: Keyspace) -> Lab:
    """A store on each kind of keyspace in turn."""
    return Lab(keyspace)


def names(store: Store) -> list[str]:
    return [copy.name for copy in store.copies()]


def test_a_drop_before_the_end_of_the_lock_changes_nothing_but_the_position(lab: Lab) -> None:
    """The event counts, the copy stays; the same event once the log's time has passed the end drops it."""
    marker = lab.author.mark("locked")
    lab.author.lock(marker, lab.author.head.timestamp_us + 4000)
    early = lab.author.drop(marker)
    lab.apply()
    assert names(lab.store) == ["locked"] and lab.store.position().head.sequence == early.sequence
    assert not lab.applier.maintain()
    lab.author.add(Heartbeat)
    lab.author.add(Heartbeat)
    last = lab.author.drop(marker)  # at the very end of the lock
    assert last.timestamp_us == early.timestamp_us + 3000
    lab.apply()
    assert names(lab.store) == []
    lab.check()


@pytest.mark.parametrize("earlier", [0, 1, 3999])
def test_a_lock_is_never_shortened(lab: Lab, earlier: int) -> None:
    """A lock that ends earlier changes nothing, at the store and in the record; one that ends later extends it."""
    marker = lab.author.mark("locked")
    end = lab.author.head.timestamp_us + 4000
    lab.author.lock(marker, end)
    lab.author.lock(marker, earlier and end - earlier)
    lab.apply()
    assert [copy.locked_until_us for copy in lab.store.copies()] == [end]
    lab.author.lock(marker, end + 1)
    lab.apply()
    assert [copy.locked_until_us for copy in lab.store.copies()] == [end + 1]
    lab.check()


def test_a_lock_of_another_identity_is_nobodys(lab: Lab) -> None:
    """Same sequence, another seal: a copy of another history is not meant."""
    marker = lab.author.mark("m")
    lab.author.add(CopyLocked, copy_sequence=marker.sequence, copy_seal=b"x" * 16, until_us=1 << 50)
    lab.author.add(CopyDropped, copy_sequence=marker.sequence, copy_seal=b"x" * 16)
    lab.apply()
    (copy,) = lab.store.copies()
    assert copy.locked_until_us == 0


def test_keep_is_of_the_record_and_can_be_taken_back(lab: Lab) -> None:
    """It does not stand in the way of a drop."""
    marker = lab.author.mark("m")
    lab.author.keep(marker)
    lab.apply()
    assert [copy.kept for copy in lab.store.copies()] == [True]
    lab.author.keep(marker, kept=False)
    lab.apply()
    assert [copy.kept for copy in lab.store.copies()] == [False]
    lab.author.keep(marker)
    lab.author.drop(marker)
    lab.apply()
    assert names(lab.store) == []


def test_mark_dropping_refuses_a_locked_copy(lab: Lab) -> None:
    """At one site alone, too; by the time of the store's own position, and nothing is changed by the refusal."""
    marker = lab.author.mark("locked")
    end = lab.author.head.timestamp_us + 3000
    lab.author.lock(marker, end)
    lab.apply()
    (copy,) = lab.store.copies()
    before = lab.store.position()
    with pytest.raises(Locked, match="locked until 1970-01-01T00:00:00"):
        lab.store.mark_dropping(copy)
    assert lab.store.position() == before and names(lab.store) == ["locked"]
    while lab.author.head.timestamp_us < end:
        lab.author.add(Heartbeat)
    lab.apply()
    assert lab.store.mark_dropping(copy)


def test_mark_dropping_asks_the_machines_clock_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log's time has passed the lock's end and the clock has not: the copy stays."""
    lab = Lab(MemoryKeyspace())
    marker = lab.author.mark("locked")
    lab.author.lock(marker, lab.author.head.timestamp_us + 2000)
    for _ in range(5):
        lab.author.add(Heartbeat)
    lab.apply()
    (copy,) = lab.store.copies()
    monkeypatch.setattr(local_drop, "wall_us", lambda: copy.locked_until_us - 1)
    with pytest.raises(Locked):
        lab.store.mark_dropping(copy)
    monkeypatch.setattr(local_drop, "wall_us", lambda: copy.locked_until_us)
    assert lab.store.mark_dropping(copy)


def test_a_log_whose_time_was_set_forward_drops_nothing_that_was_locked(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site halts in front of such a drop, with everything before it applied, and goes on once its clock agrees."""
    marker = lab.author.mark("locked")
    end = lab.author.head.timestamp_us + 5000
    lab.author.lock(marker, end)
    while lab.author.head.timestamp_us < end:
        lab.author.add(Heartbeat)
    before = lab.author.head.sequence
    drop = lab.author.drop(marker)
    now = end - copy_changes.CLOCK_SKEW_US - 1
    monkeypatch.setattr(copy_changes, "wall_us", lambda: now)
    with pytest.raises(LockInDoubt, match="locked until") as halted:
        lab.apply()
    assert halted.value.sequence == drop.sequence and halted.value.exit_code == 4
    lab.applier.settle()
    assert names(lab.store) == ["locked"] and lab.store.position().head.sequence == before
    now += 1  # as far apart as clocks may be
    lab.apply()
    assert names(lab.store) == []


def test_a_drop_of_what_was_never_locked_asks_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a site whose clock is wrong applies everything else."""
    lab = Lab(MemoryKeyspace())
    monkeypatch.setattr(copy_changes, "wall_us", lambda: -SECOND_US)
    lab.author.drop(lab.author.mark("m"))
    lab.apply()
    assert names(lab.store) == []


def _program() -> Author:
    """Locked, dropped too early, extended, dropped too early again, its lock ended, dropped."""
    author = Author()
    volume = author.create("v", 3 * BLOCK)
    author.write((volume, 0, b"0" * BLOCK))
    author.mark("elder")
    author.write((volume, 0, b"1" * 2 * BLOCK))
    marker = author.mark("locked")
    author.write((volume, BLOCK, b"2" * 2 * BLOCK))
    author.lock(marker, author.head.timestamp_us + 3000)
    author.drop(marker)
    author.lock(marker, author.head.timestamp_us + 4000)
    author.keep(marker)
    author.drop(marker)
    author.mark("newest")
    author.write((volume, 0, b"3" * 3 * BLOCK))
    author.add(Heartbeat)
    author.drop(marker)
    return author


@pytest.mark.usefixtures("small_steps")
def test_a_crash_at_every_transaction_of_a_locked_life() -> None:
    """Wherever it stops, lock and copy are as the log says, and a second run ends as the first."""
    author, crash = _program(), 0
    model = Model()
    model.fold(author.log)
    assert {4, 6} < set(model.copies) and 6 in model.states[author.head.sequence].dropped
    while True:
        crash += 1
        keyspace = MemoryKeyspace()
        store = Store.create(keyspace, IDENTITY)
        start = keyspace.transactions
        keyspace.fail(crash, applied=bool(crash % 2))
        try:
            with store.applier(CLUSTER) as applier:
                for event in author.after(applier.position.head.sequence):
                    applier.submit([event])
                    check(store, keyspace, model)
                while applier.maintain():
                    pass
        except (PositionMoved, StoreUnavailable):
            check(store, keyspace, model)
        done = keyspace.transactions - start < crash
        apply(store, author)
        check(store, keyspace, model, digests=True)
        assert names(store) == ["elder", "newest"]
        if done:
            break


@pytest.mark.parametrize("which", ["oldest", "middle", "newest", "all but one"])
def test_a_drop_while_writing_and_reading_changes_no_other_copy(keyspace: Keyspace, which: str) -> None:
    """A reader reads every remaining copy again and again, while the writer and the drops go on step by step."""
    lab = Lab(keyspace)
    large = lab.author.create("large", 400 * BLOCK)
    markers = []
    for turn in range(5):
        lab.author.write(*((large, block * BLOCK, bytes([65 + turn]) * BLOCK) for block in range(turn, 400, turn + 1)))
        markers.append(lab.author.mark(f"c{turn}"))
    lab.apply()
    gone = {
        "oldest": markers[:1],
        "middle": markers[2:3],
        "newest": markers[4:],
        "all but one": markers[:3] + markers[4:],
    }
    rest = [copy for copy in lab.store.copies() if copy.sequence not in {marker.sequence for marker in gone[which]}]
    wanted = {copy.sequence: lab.store.read(copy.volumes[1], 0, 400 * BLOCK, copy) for copy in rest}
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                wrong.extend(
                    copy.name
                    for copy in rest
                    if lab.store.read(copy.volumes[1], 0, 400 * BLOCK, copy) != wanted[copy.sequence]
                )
        except Exception as error:
            wrong.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for marker in gone[which]:
            lab.author.drop(marker)
        lab.author.mark("later")
        for turn in range(30):
            lab.author.write(*((large, block * BLOCK, bytes([97 + turn % 20]) * 100) for block in range(turn, 400, 7)))
            lab.apply()
            lab.applier.maintain()
        while lab.applier.maintain():
            pass
    finally:
        done.set()
        reader.join()
    assert wrong == []
    assert {copy.sequence for copy in lab.store.copies(dropping=True)} >= set(wanted)
    assert len(lab.store.copies(dropping=True)) == len(rest) + 1
    lab.check(digests=True)
