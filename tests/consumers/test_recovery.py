"""What comes and goes: the log, Redis, a second worker, the worker itself. Nothing is applied twice or lost."""

import threading
from random import Random

import pytest

from tests.consumers.conftest import DEADLINE, Lab, state, until, written
from tidelog.consumers import replica as replica_module
from tidelog.consumers.replica import Replica, State
from tidelog.errors import LogUnavailable, StoreUnavailable, Unavailable
from tidelog.stores.memory import MemoryKeyspace


@pytest.fixture(autouse=True)
def _retry_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interruptions are many here."""
    monkeypatch.setattr(replica_module, "RETRY_FIRST", 0.005)
    monkeypatch.setattr(replica_module, "RETRY_MOST", 0.02)
    monkeypatch.setattr(replica_module, "IDLE", 0.02)


def unavailable(replica: Replica) -> Unavailable | None:
    """Why a replica waits, None if it does not."""
    progress = replica.progress(0)
    return progress.error if progress.state is State.STARTING and isinstance(progress.error, Unavailable) else None


def test_the_log_is_away_at_the_start(lab: Lab) -> None:
    """The replica says so and waits; it needs nobody to go on."""
    written(lab.group())
    lab.log.cut_off()
    replica = lab.replica()
    assert isinstance(until(lambda: unavailable(replica), "the reason"), LogUnavailable)
    assert replica.running
    lab.log.restore()
    lab.caught_up()
    until(lambda: state(replica) is State.STREAMING and replica.progress(0).error is None, "streaming")


def test_the_log_goes_away_in_the_middle(lab: Lab) -> None:
    """Again and again, while it applies: the store is a fold all the time, and ends at the head."""
    group = lab.group()
    replica = lab.replica()
    for _ in range(5):
        written(group)
        lab.log.cut_off()
        assert isinstance(until(lambda: unavailable(replica), "the reason"), LogUnavailable)
        lab.compare()
        lab.log.restore()
    lab.caught_up()
    assert replica.running


def test_clones_come_and_go_and_the_log_stays_connected(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is read anew each time, nothing is lost or applied twice, and the one connection to the log goes on."""
    opened: list[str] = []
    open_log = lab.cluster.log
    monkeypatch.setattr(
        lab.cluster, "log", lambda record: opened.append(threading.current_thread().name) or open_log(record)
    )
    group = lab.group()
    group.mark("base")
    lab.replica()
    lab.caught_up()
    store = lab.store()
    for number in range(10):
        name = f"drill-{number}"
        store.clones.create(store.copy("base"), name)
        written(group)
        lab.caught_up()
        store.clones.drop(name)
        written(group)
        lab.caught_up()
    lab.compare()
    assert opened.count("tidelog-replica-bank") == 1


def test_redis_connections_break_in_the_middle(lab: Lab) -> None:
    """Around any transaction, before or after it took effect: read anew, applied once."""
    random = Random(1)
    group = lab.group()
    replica = lab.replica()
    lab.caught_up()
    for turn in range(30):
        lab.keyspace().fail(random.randint(1, 4), applied=turn % 2 == 0)
        written(group, rounds=1)
    lab.keyspace()._fault = None
    lab.caught_up()
    assert replica.running


def test_redis_is_full_for_a_while(lab: Lab) -> None:
    """Redis refuses to write: the replica waits, with the reason, and goes on when there is room."""
    group = lab.group()
    replica = lab.replica()
    lab.caught_up()
    lab.keyspace().out_of_memory = True
    written(group)
    error = until(lambda: unavailable(replica), "the reason")
    assert isinstance(error, StoreUnavailable) and "maxmemory" in error.hint
    lab.keyspace().out_of_memory = False
    lab.caught_up()


@pytest.mark.parametrize("cut_off", [True, False])
def test_redis_goes_back(lab: Lab, cut_off: bool) -> None:
    """Data and position go back together, with or without a lost connection: replay brings them to the same bytes,
    also when there is nothing new in the log, and the copies come back with the same digests."""
    group = lab.group()
    replica = lab.replica()
    lab.caught_up()  # else the first one may hold no store, and of an emptied Redis the replica asks for a rebuild
    snapshots = []
    for _ in range(4):
        snapshots.append(lab.keyspace().snapshot())
        written(group, rounds=2)
        lab.caught_up()
    for snapshot in (snapshots[2], snapshots[0], snapshots[3], snapshots[1]):
        lab.keyspace().restore(snapshot, lose_connections=cut_off)
        lab.caught_up()
    assert replica.running


def test_two_workers_at_once(lab: Lab) -> None:
    """Both believe they own the group, through writes, cuts, drops and broken connections: every event is applied
    once, by one of them, and the store is the same as one worker alone makes it."""
    group = lab.group()
    first, second = lab.replica(), lab.replica()
    alone = lab.replica("tokyo")
    random = Random(3)
    for turn in range(12):
        written(group, rounds=2)
        if turn % 4 == 3:
            group.drop_copy(random.choice(list(lab.reference().copies.values())).name)
        if turn % 5 == 4:
            lab.keyspace().lose_connections()
    both, one = lab.caught_up("osaka"), lab.caught_up("tokyo")
    assert first.running and second.running and alone.running
    until(lambda: not both.copies(dropping=True)[:-1] or both.copies() == both.copies(dropping=True), "the drops done")
    assert [both.digest(copy) for copy in both.copies()] == [one.digest(copy) for copy in one.copies()]
    assert [copy.blocks_changed for copy in both.copies()] == [copy.blocks_changed for copy in one.copies()]
    events = len(lab.reference().counted)
    until(lambda: alone.progress(0).records_applied == events, "all applied by the one")


def test_every_position_is_moved_from_its_predecessor(lab: Lab) -> None:
    """Two workers and a hostile schedule at each point of a transaction: no position is written twice or backwards."""
    moves: list[tuple[int, int]] = []
    keyspace = lab.keyspace()
    position = b"tidelog:{bank}:position"
    real = keyspace._set

    def witness(key: bytes, value: object) -> None:
        if key == position and isinstance(value, bytes) and isinstance(keyspace.data.get(key), bytes):
            old, new = (int.from_bytes(at[1:9], "big") for at in (keyspace.data[key], value))
            moves.append((old, new))
        real(key, value)

    keyspace._set = witness  # type: ignore[method-assign,assignment]
    points: list[str] = []
    keyspace.between = lambda point: (points.append(point), threading.Event().wait(0.001 if len(points) % 3 else 0.0))
    group = lab.group()
    lab.replica()
    lab.replica()
    for _ in range(6):
        written(group, rounds=2)
    lab.caught_up()
    assert all(old <= new for old, new in moves)
    reached = [new for old, new in moves if new > old]
    assert reached == sorted(set(reached)) and reached[-1] == lab.reference().sequence


def test_a_stop_is_graceful(lab: Lab) -> None:
    """It ends after the transaction on its way, at a whole event; the next one goes on from there."""
    group = lab.group()
    for _ in range(8):
        replica = lab.replica()
        written(group)
        replica.stop()
        assert not replica.running and state(replica) is State.STOPPED
        if b"tidelog:{bank}:position" in lab.keyspace().data:
            lab.compare()
    lab.replica()
    lab.caught_up()


def test_a_stop_ends_what_waits(lab: Lab) -> None:
    """Also while the log or Redis is away."""
    lab.log.cut_off()
    replica = lab.replica()
    until(lambda: unavailable(replica), "the reason")
    replica.stop(5.0)
    assert not replica.running


def test_a_stop_ends_all_threads(lab: Lab) -> None:
    """Ten replicas that came and went leave no thread and no connection behind."""
    written(lab.group()).close()

    def ours() -> int:
        names = ("tidelog-replica", "tidelog-fetch", "tidelog-receipts")  # other tests' servers have threads, too
        return sum(thread.name.startswith(names) for thread in threading.enumerate())

    for _ in range(10):
        replica = lab.replica()
        lab.caught_up()
        replica.stop()
    until(lambda: ours() == 0, "no thread left")
    assert all(session.lost for session in lab.keyspace()._sessions)


def test_a_store_that_others_change_is_not_waited_for_as_one_that_is_away(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clones that come and go leave a site no further behind than a reading of its tables takes."""
    for name in ("RETRY_FIRST", "RETRY_MOST"):
        monkeypatch.setattr(replica_module, name, 10 * DEADLINE)
    group = written(lab.group())
    replica, keyspace = lab.replica(), lab.keyspace()
    for _ in range(4):
        until(lambda: replica.progress(0).head.sequence >= group.session.confirmed.sequence, "what was written there")
        keyspace.restore(keyspace.snapshot(), lose_connections=False)  # changes nothing, which nobody can know
        written(group, rounds=1)
    lab.caught_up()


def test_every_store_that_was_opened_is_closed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each interruption opens a new one: the connections of the old one do not pile up."""
    closed: list[int] = []
    monkeypatch.setattr(MemoryKeyspace, "close", lambda _self: closed.append(1))
    opened: list[int] = []
    real = lab.store

    def store(site: str = "osaka", *, create: bool = False) -> object:
        found = real(site, create=create)  # or nothing was opened
        opened.append(1)
        return found

    lab.store = store  # type: ignore[method-assign,assignment]
    group = lab.group()
    replica = lab.replica()
    before = len(closed)
    written(group, rounds=1)
    until(lambda: replica.progress(0).head.sequence >= group.session.confirmed.sequence, "the first writes there")
    for turn in range(5):
        lab.keyspace().lose_connections()
        written(group, rounds=1)
        until(lambda turn=turn: len(opened) >= turn + 2, "a new store")
        # Opened is not yet connected: who is cut off before that loses nothing.
        until(lambda: replica.progress(0).head.sequence >= group.session.confirmed.sequence, "what was written there")
    replica.stop()
    assert len(closed) - before >= len(opened)
