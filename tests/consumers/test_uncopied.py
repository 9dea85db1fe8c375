"""Since when a site has changes that none of its copies holds, against what the log itself says."""

import random
import time

import pytest

from tests.consumers.conftest import Lab, until
from tests.reference import decode
from tidelog.producers.group import Group
from tidelog.schemas.control import CopyOrdered
from tidelog.schemas.reports import UncopiedSince, uncopied_key

CHANGES = {"VolumeCreated", "VolumeResized", "VolumeDeleted", "WriteBatch", "Discard", "VolumeCopied"}


def oldest_change(lab: Lab, after: int) -> int:
    """The time of the first change behind sequence ``after``, read from the log by the independent decoder."""
    for record in lab.log._records:
        event = decode(record.value)
        times = event.get("timestamps_us") or [event["timestamp_us"]]
        for index, time_us in enumerate(times):
            if event["kind"] in CHANGES and event["sequence"] + index > after:
                return time_us
    return 0


def newest_copy(lab: Lab) -> int:
    return max((copy.sequence for copy in lab.store().copies()), default=0)


def connected(lab: Lab):
    replica = lab.replica()
    until(lambda: replica.uncopied is not None, "a replica that is connected")
    return replica


def settled(lab: Lab, replica) -> int:
    wanted_sequence = lab.reference().sequence
    until(lambda: replica.progress(0).head.sequence >= wanted_sequence, "the replica at the log's end")
    return replica.uncopied.since_us


def step(group: Group, rng: random.Random, names: list[str]) -> None:
    volume = next(iter(group.volumes()))
    what = rng.choice(["write", "write", "discard", "mark", "flush", "resize"])
    if what == "write":
        volume.write(rng.randrange(1000), bytes([rng.randrange(1, 256)]) * 100)
    elif what == "discard":
        volume.discard(rng.randrange(1000), 200)
    elif what == "resize":
        volume.resize(4096 + 512 * rng.randrange(1, 5))
    elif what == "mark":
        names.append(f"c{len(names)}")
        group.mark(names[-1])
    else:
        group.flush()


@pytest.mark.parametrize("seed", range(12))
def test_random_programs(lab: Lab, seed: int) -> None:
    """Exact at each rest, also after the worker began anew."""
    rng = random.Random(seed)
    group, replica, names = lab.group(), lab.replica(), list[str]()
    group.create_volume("v", 4096, block_size=512)
    for _ in range(4):
        for _ in range(rng.randrange(1, 8)):
            step(group, rng, names)
        group.flush()
        assert settled(lab, replica) == oldest_change(lab, newest_copy(lab))
        lab.compare()
        if rng.random() < 0.4:
            replica.stop()
            replica = connected(lab)
            assert settled(lab, replica) == oldest_change(lab, newest_copy(lab))


def test_nothing_but_heartbeats_is_nothing(lab: Lab) -> None:
    from tidelog.schemas.events import Heartbeat

    group, replica = lab.group(), lab.replica()
    group.create_volume("v", 4096)
    group.mark("one")
    for _ in range(300):
        group.session.emit(Heartbeat)
    group.flush()
    assert settled(lab, replica) == 0
    replica.stop()
    again = connected(lab)
    assert settled(lab, again) == 0


def test_a_change_far_behind_the_copy_is_not_younger_than_told(lab: Lab) -> None:
    """More heartbeats than a worker that begins looks through: then a moment before it is told, never one after."""
    from tidelog.schemas.events import Heartbeat

    group, replica = lab.group(), lab.replica()
    volume = group.create_volume("v", 4096)
    group.mark("one")
    for _ in range(300):
        group.session.emit(Heartbeat)
    volume.write(0, b"x")
    group.flush()
    told = settled(lab, replica)
    exact = oldest_change(lab, newest_copy(lab))
    assert told == exact
    replica.stop()
    again = connected(lab)
    copied_us = lab.store().copies()[-1].timestamp_us
    assert settled(lab, again) == copied_us < exact


def test_a_dropped_copy_takes_its_word_back(lab: Lab) -> None:
    group, replica = lab.group(), lab.replica()
    volume = group.create_volume("v", 4096)
    group.mark("one")
    volume.write(0, b"x")
    group.mark("two")
    assert settled(lab, replica) == 0
    exact = oldest_change(lab, lab.store().copy("one").sequence)
    group.drop_copy("two")
    one_us = lab.store().copy("one").timestamp_us
    assert one_us <= settled(lab, replica) <= exact
    group.drop_copy("one")
    assert settled(lab, replica) == oldest_change(lab, 0)
    group.mark("three")
    assert settled(lab, replica) == 0


def test_a_dropped_copy_that_held_nothing_new_takes_nothing_back(lab: Lab) -> None:
    """An idle group must not begin to age."""
    group, replica = lab.group(), lab.replica()
    group.create_volume("v", 4096).write(0, b"x")
    for name in ("one", "two"):
        group.mark(name)
    assert settled(lab, replica) == 0
    group.drop_copy("two")
    assert settled(lab, replica) == 0


@pytest.mark.parametrize("late", [False, True])
def test_a_copy_by_time_in_the_middle_of_a_batch(lab: Lab, late: bool) -> None:
    """Exact for one that is cut in time; of one that was made late its own time stands for what is behind it."""
    group, replica = lab.group(), lab.replica()
    volume = group.create_volume("v", 4096)
    settled(lab, replica)
    at_us = group.session.time_us + 1_000_000
    order = CopyOrdered(name="half", groups="bank", at_us=at_us, ordered_us=0, ordered_by="test")
    if not late:
        replica.orders = (order,)  # heard within half a second
    until(lambda: group.session.time_us > at_us - 300_000, "a little before the time")
    with group.session.order:  # one batch over the time
        while group.session.time_us < at_us + 10_000:
            volume.write(0, b"y")
            time.sleep(0.001)
    group.flush()
    if late:
        settled(lab, replica)
        replica.orders = (order,)
    until(lambda: [copy.name for copy in lab.store().copies()] == ["half"], "the copy by time")
    exact = oldest_change(lab, newest_copy(lab))
    assert exact > at_us
    until(lambda: settled(lab, replica) == (at_us if late else exact), "what is told after the copy")


def test_the_worker_tells_it(lab: Lab) -> None:
    """On the control topic, when it changes."""
    group = lab.group()
    lab.worker()
    volume = group.create_volume("v", 4096)
    group.mark("one")
    volume.write(0, b"x")
    group.flush()

    def told() -> int | None:
        found = lab.control.snapshot().get(uncopied_key("bank", "osaka"))
        return found.since_us if isinstance(found, UncopiedSince) else None

    lab.caught_up()
    until(lambda: told() == oldest_change(lab, newest_copy(lab)) != 0, "the worker's word of a change")
    group.mark("two")
    until(lambda: told() == 0, "the worker's word of a copy")
