"""Each rule of the log and the schedule that breaks a log without it (``L1`` to ``L11`` of the protocol notes).

A schedule must pass as the code is, and fail once its rule is broken on purpose (`plants`): a schedule that passes
either way would prove nothing. What is not here: L7 (two logs merged into one topic) belongs to mirrors, which are not
built yet; L8 (a position inside a batch) is ``tests/stores/test_timed.py::test_a_batch_is_cut_in_parts_in_one_step``;
L9 (an idle group dies of retention) is kept by the rules of the topic, which every open checks (``tests/log``).
"""

from dataclasses import dataclass

import pytest
from blake3 import blake3

from tests.simulation import plants
from tests.simulation.search import failure
from tests.simulation.stepped import without_threads
from tests.simulation.world import GROUP_ID, Op, World
from tidelog.errors import CorruptEvent, StoreDamaged
from tidelog.producers.follower import Follower
from tidelog.schemas import codec as codec_module
from tidelog.schemas.chain import origin
from tidelog.schemas.codec import SEAL_SIZE, Codec
from tidelog.stores import memory as memory_module


@dataclass(frozen=True)
class Case:
    """A schedule, what it is about, and the breakage that it must show."""

    name: str
    story: str
    schedule: list[Op]
    plant: plants.Plant


CASES = (
    Case(
        "L1-last-record",
        "0 and 1 open on an empty log; 1 loses the race and its void record is the last one; 2 opens behind it",
        [
            *(Op("open", writer) for writer in (0, 1)),
            *(Op("go", writer, 3) for writer in (0, 1, 0, 1, 0, 1)),
            *(Op("land", writer) for writer in (0, 1)),
            Op("deliver", 0),
            Op("go", 0, 3),
            Op("crash", 1),
            Op("opens", 2),
            Op("write", 2, 1),
            Op("deliver", 2, 3),
        ],
        plants.extends_the_last_record,
    ),
    Case(
        "L1-end-fetched-apart",
        "0 reads the log, 1 opens meanwhile, 0 asks where the end is and sends",
        [
            Op("open", 0),
            Op("go", 0, 3),
            Op("go", 0, 1),
            Op("opens", 1),
            Op("opens", 0),
            Op("mark", 0),
            Op("deliver", 0),
        ],
        plants.fetches_the_end_apart_from_the_fold,
    ),
    Case(
        "L2-lost-send",
        "of two sends the first is lost and the second lands: every site waits, and the next opening ends it",
        [Op("opens", 0), Op("sync", 0), Op("write", 0, 1), Op("lose", 0), Op("late", 1), Op("sync", 0), Op("sync", 1)],
        plants.halts_at_a_gap_for_ever,
    ),
    Case(
        "L2-late-send",
        "the lost one lands after all, behind the one that it should be before: who reads it then must not apply it",
        [Op("opens", 0), Op("write", 0, 1), Op("lose", 0), Op("late", 1), Op("late", 0), Op("sync", 0)],
        plants.applies_what_lies_in_a_gap,
    ),
    Case(
        "L3-false-fence",
        "a late write of the session before lands between two writes of the current one",
        [
            Op("opens", 0),
            Op("mark", 0),
            Op("opens", 1),
            Op("land", 0),
            Op("mark", 1),
            Op("deliver", 1),
            Op("go", 1),
        ],
        plants.takes_every_stranger_for_a_fence,
    ),
    Case(
        "no-fence",
        "another session opens, and the one before has its write acknowledged behind it",
        [Op("opens", 0), Op("mark", 0), Op("opens", 1), Op("deliver", 0)],
        plants.believes_every_acknowledgement,
    ),
    Case(
        "L4-dead-history",
        "a site has applied an opening that the log loses; the next one has the same epoch, another writer",
        [Op("opens", 0), Op("sync", 0), Op("truncate", 4, 1)],
        plants.never_looks_at_its_own_head,
    ),
    Case(
        "L4-in-flight",
        "a site's head is lost, something else stands in its place, and a write that chains to it lands behind that",
        [
            Op("opens", 0),
            Op("write", 0, 1),
            Op("deliver", 0, 3),
            Op("sync", 0),
            Op("mark", 0),
            Op("truncate", 0, 1),
            Op("again", 0),
            Op("land", 0),
        ],
        plants.overlooks_new_leaders,
    ),
    Case(
        "L4-in-flight-at-the-first-record",
        "the same, and the site has just connected: its head was there when it looked",
        [
            Op("opens", 0),
            Op("write", 0, 1),
            Op("deliver", 0, 3),
            Op("sync", 0),
            Op("mark", 0),
            Op("restart", 0),
            Op("connect", 0),
            Op("truncate", 0, 1),
            Op("again", 0),
            Op("land", 0),
        ],
        plants.does_not_ask_at_its_first_record,
    ),
    Case(
        "L4-truncated-gap",
        "a site sees a gap; what made it is lost, and the missing event lands late: for all others there was no gap",
        [
            Op("opens", 0),
            Op("sync", 0),
            Op("write", 0, 1),
            Op("lose", 0),
            Op("late", 1),
            Op("sync", 0),
            Op("truncate", 0, 1),
            Op("late", 0),
        ],
        plants.remembers_a_truncated_gap,
    ),
    Case(
        "L5-two-workers",
        "one worker applies everything between the other's EXEC and its WATCH",
        [Op("opens", 0), Op("write", 0, 1), Op("mark", 0), Op("deliver", 0, 3), Op("race", 0, 0, 1)],
        plants.watches_without_reading,
    ),
    Case(
        "L6-layout",
        "a copy is dropped by another process between a worker's EXEC and its WATCH",
        [
            Op("opens", 0),
            Op("write", 0, 1),
            Op("mark", 0),
            Op("deliver", 0, 3),
            Op("sync", 0),
            Op("write", 0, 1, 2),
            Op("write", 0, 1, 2),
            Op("deliver", 0, 3),
            Op("race", 0, 8, 1),
        ],
        plants.overlooks_the_layout,
    ),
    Case(
        "row-4-epoch",
        "a write of the session before, whose opening the current one has overtaken, extends nothing",
        [Op("opens", 0), Op("write", 0, 1), Op("lose", 0), Op("late", 1), Op("late", 0)],
        plants.applies_void_events,
    ),
    Case(
        "row-4-writer",
        "the opening of a session is lost by the log, and another opens in the same epoch",
        [Op("opens", 0), Op("truncate", 4, 1), Op("opens", 1), Op("write", 0, 1), Op("deliver", 0, 3)],
        plants.forgets_the_writer,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_schedule_holds(case: Case) -> None:
    """As the code is, nothing is violated."""
    with without_threads():
        assert failure(case.schedule) is None, case.story


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_schedule_has_teeth(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its rule broken, the same schedule shows it."""
    case.plant(monkeypatch)
    with without_threads():
        assert failure(case.schedule) is not None, case.story


def test_every_plant_has_a_schedule() -> None:
    """No rule without the schedule that needs it."""
    assert {case.plant for case in CASES} == set(plants.PLANTS)


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "errors in EXEC overlooked"])
def test_l10_exec_does_not_roll_back(monkeypatch: pytest.MonkeyPatch, planted: bool) -> None:
    """L10: a block's key was damaged, one command of a transaction fails and the others are done: halt, visibly."""
    if planted:
        monkeypatch.setattr(memory_module, "check_results", lambda _commands, _results: None)
    with without_threads():
        world = World()
        for op in (Op("opens", 0), Op("write", 0, 1, 2), Op("deliver", 0, 3), Op("sync", 0)):
            getattr(world, op.name)(op.a, op.b, op.c)
        site = world.sites[0]
        for key in [key for key in site.keyspace.data if b":b:" in key]:
            site.keyspace.data[key] = {}
        world.write(0, 1, 0)
        world.deliver(0, 3, 0)
        worker = site.workers[0]
        worker.sync()
        assert isinstance(worker.halt, StoreDamaged) is not planted
        if not planted:
            assert worker.halt.hint


@pytest.mark.parametrize("planted", [False, True], ids=["as it is", "seals not checked"])
def test_l11_the_newest_event_is_authenticated(monkeypatch: pytest.MonkeyPatch, planted: bool) -> None:
    """L11: the newest record is altered and keeps its `previous` and its seal: no site applies it."""
    with without_threads():
        world = World()
        for op in (Op("opens", 0), Op("write", 0, 1, 0), Op("deliver", 0, 3)):
            getattr(world, op.name)(op.a, op.b, op.c)
        newest = world.log._records[-1]
        before = newest.value
        altered = before[: -SEAL_SIZE - 1] + bytes([before[-SEAL_SIZE - 1] ^ 1]) + before[-SEAL_SIZE:]
        world.log._records[-1] = newest._replace(value=altered)
        if planted:
            monkeypatch.setattr(codec_module.Codec, "seal", lambda _self, message: _seal_behind(altered, message))
        worker = world.sites[0].workers[0]
        worker.sync()
        if planted:
            assert worker.halt is None
            return
        assert isinstance(worker.halt, CorruptEvent) and worker.halt.offset == newest.offset
        assert world.sites[0].store.position().head.offset == newest.offset - 1


def _seal_behind(altered: bytes, message: bytes | memoryview) -> bytes:
    """What a seal that is not checked would be: whatever stands there."""
    if bytes(message) == altered[:-SEAL_SIZE]:
        return altered[-SEAL_SIZE:]
    return blake3(message).digest(SEAL_SIZE)


def test_l11_without_the_key_nothing_is_injected() -> None:
    """L11: who can write to the topic but has not the group's key writes nothing that counts, however well chained."""
    with without_threads():
        world = World()
        key = b"k" * 32
        for part in (world, *(worker for site in world.sites for worker in site.workers)):
            part.codec = Codec(key)
        for op in (Op("opens", 0), Op("write", 0, 1, 0), Op("deliver", 0, 3)):
            getattr(world, op.name)(op.a, op.b, op.c)
        newest = world.log._records[-1]
        forged, _ = Codec().encode(Codec(key).decode(newest.value))
        world.log._records[-1] = newest._replace(value=forged)
        worker = world.sites[0].workers[0]
        worker.sync()
        assert isinstance(worker.halt, CorruptEvent) and worker.halt.offset == newest.offset


def test_a_follower_asks_only_when_it_must() -> None:
    """The rule of L4 costs one look at the log a connection and leader, none for an event that simply follows."""
    with without_threads():
        world = World()
        for op in (Op("opens", 0), Op("write", 0, 1, 0), Op("write", 0, 1, 0), Op("deliver", 0, 3)):
            getattr(world, op.name)(op.a, op.b, op.c)
        looks = []
        real = world.log.record_at
        world.log.record_at = lambda offset: looks.append(offset) or real(offset)  # type: ignore[method-assign,func-returns-value]
        follower = Follower(world.log, world.codec, origin(GROUP_ID))
        for record in world.log._records[:2]:
            follower.leader_changed(record)
            assert follower.take(record) is not None
        looks.clear()
        for record in world.log._records[2:]:
            assert not follower.leader_changed(record)
            assert follower.take(record) is not None
        assert not looks and follower.head.sequence == 4
