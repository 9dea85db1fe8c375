"""The schedule: copies by the log's time on the session's own thread, and retention behind each."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.producers.conftest import Lab, events, until
from tests.producers.test_time import NOW, Wall
from tidelog.clock import HybridClock
from tidelog.config import KeepConfig
from tidelog.errors import LogUnavailable, UsageError
from tidelog.names import scheduled_name
from tidelog.producers import schedule as schedule_module
from tidelog.producers.group import Group
from tidelog.producers.schedule import Schedule

MINUTE = 60_000_000
QUARTER = 15 * MINUTE
ZERO = NOW - NOW % QUARTER  # a quarter of an hour begins
KEEP = KeepConfig(last=3)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the time as often as it can."""
    monkeypatch.setattr(schedule_module, "LOOK_EVERY", 0.002)
    monkeypatch.setattr(schedule_module, "TRY_AGAIN", 0.001)


def scheduled(lab: Lab, wall: Wall, keep: KeepConfig | None = KEEP, every: float = 900.0, **more: Any) -> Group:
    """The group, open with a schedule."""
    lock_time: Callable[[int], int] = more.pop("lock_time", lambda log_time_us: log_time_us)
    return lab.group(clock=HybridClock(wall), on_turn=Schedule(every, keep, lock_time), **more)


def names(lab: Lab) -> list[str]:
    """Of the copies that there are, by the reference."""
    return [copy.name for copy in lab.reference().copies.values()]


def marked(lab: Lab) -> list[str]:
    """Of every marker in the log."""
    return [event["name"] for event in events(lab.log) if event["kind"] == "Marker"]


def settle() -> None:
    """Lets some turns pass, in which nothing is to happen."""
    time.sleep(0.05)


def test_a_copy_whenever_another_quarter_has_begun(lab: Lab) -> None:
    """The first at once, then each at the first look after a multiple of `every`, called after the log's time."""
    wall = Wall(ZERO + 7 * MINUTE)
    group = scheduled(lab, wall, keep=None)
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    for step, wanted in ((7, 1), (1, 2), (14, 2), (1, 3), (47, 4)):
        wall.now += step * MINUTE
        until(lambda wanted=wanted: len(marked(lab)) == wanted)
        settle()
        assert len(marked(lab)) == wanted
    assert marked(lab) == [scheduled_name(ZERO + minutes * MINUTE) for minutes in (7, 15, 30, 77)]
    stamps = [event["timestamp_us"] for event in events(lab.log) if event["kind"] == "Marker"]
    assert [scheduled_name(stamp) for stamp in stamps] == marked(lab)


def test_a_session_goes_on_where_the_last_one_ended(lab: Lab) -> None:
    """A restart within the quarter makes no copy; after it, one."""
    wall = Wall(ZERO)
    group = scheduled(lab, wall)
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    group.close()
    wall.now += 14 * MINUTE
    again = scheduled(lab, wall)
    settle()
    assert len(marked(lab)) == 1
    again.close()
    wall.now += 60 * MINUTE
    scheduled(lab, wall)
    until(lambda: len(marked(lab)) == 2)


def test_a_group_without_volumes_gets_no_copy(lab: Lab) -> None:
    """There is nothing to copy."""
    scheduled(lab, Wall(ZERO))
    settle()
    assert marked(lab) == []


def test_retention_follows_each_copy(lab: Lab) -> None:
    """Drops are events in the log; named copies stay; the newest three scheduled ones stay."""
    wall = Wall(ZERO)
    group = scheduled(lab, wall)
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    group.mark("by-name")
    made = [ZERO]
    for _ in range(6):
        wall.now += QUARTER
        made.append(wall.now)
        until(lambda: marked(lab)[-1] == scheduled_name(wall.now))
        until(lambda: len(names(lab)) <= 4)
    assert names(lab) == ["by-name", *(scheduled_name(at) for at in made[-3:])]
    assert [copy.name for copy in group.session.state.copies()] == names(lab)


def test_a_clock_set_forward_makes_one_copy_and_drops_no_other(lab: Lab) -> None:
    """Ten days at once are one turn of the schedule: retention counts copies, not days."""
    wall = Wall(ZERO)
    group = scheduled(lab, wall, KeepConfig(last=1, daily=3))
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    wall.now += 10 * 96 * QUARTER
    until(lambda: len(marked(lab)) == 2)
    settle()
    assert len(marked(lab)) == 2 and names(lab) == marked(lab)


def test_a_clock_set_back_makes_no_copy_until_the_logs_time_is_reached(lab: Lab) -> None:
    """The log's time stands still, and so does the schedule."""
    wall = Wall(ZERO)
    group = scheduled(lab, wall)
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    wall.now -= 4 * QUARTER
    settle()
    wall.now += 4 * QUARTER
    settle()
    assert len(marked(lab)) == 1
    wall.now += QUARTER
    until(lambda: len(marked(lab)) == 2)


def test_many_drops_leave_room_for_others(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that has become stricter drops some at a time, until all are gone."""
    monkeypatch.setattr(schedule_module, "DROPS_IN_A_ROW", 2)
    wall = Wall(ZERO)
    group = scheduled(lab, wall, keep=None)
    group.create_volume("v", 1024)
    for wanted in range(1, 12):
        until(lambda wanted=wanted: len(marked(lab)) == wanted)
        wall.now += QUARTER
    group.close()
    scheduled(lab, wall, KeepConfig(last=2))
    until(lambda: len(names(lab)) == 2)
    assert names(lab) == marked(lab)[-2:]


def test_locked_and_kept_copies_stay_and_go_when_they_may(lab: Lab) -> None:
    """A lock that has ended by the log ends for retention when the sites' clocks say so, too."""
    wall, witness = Wall(ZERO), [0]

    def lock_time(log_time_us: int) -> int:
        if not witness[0]:
            raise LogUnavailable("no control topic")
        return min(log_time_us, witness[0])

    group = scheduled(lab, wall, KeepConfig(last=1), lock_time=lock_time)
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    first = marked(lab)[0]
    group.lock_copy(first, timedelta(minutes=20))
    wall.now += QUARTER
    until(lambda: len(marked(lab)) == 2)
    group.keep_copy(marked(lab)[1])
    for minutes, now in ((30, 0), (45, ZERO + 19 * MINUTE)):  # nobody can tell; and the sites say: not yet
        witness[0] = now
        wall.now = ZERO + minutes * MINUTE
        until(lambda minutes=minutes: marked(lab)[-1] == scheduled_name(ZERO + minutes * MINUTE))
        until(lambda: len(names(lab)) == 3)
        assert names(lab)[:2] == marked(lab)[:2]
    witness[0] = wall.now = ZERO + 60 * MINUTE
    until(lambda: names(lab) == [marked(lab)[1], marked(lab)[-1]] and len(marked(lab)) == 5)


def test_a_full_buffer_puts_the_schedule_off(lab: Lab) -> None:
    """The session's own thread must not wait for room, which it may be the one to give."""
    wall = Wall(ZERO)
    group = scheduled(lab, wall, buffer_bytes=64)
    group.create_volume("v", 1024).write(0, b"x" * 100)
    until(lambda: len(marked(lab)) == 1)
    lab.log.hold()
    group.volume("v").write(0, b"y" * 100)
    group.session._close_batch()
    wall.now += QUARTER
    settle()
    assert len(marked(lab)) == 1 and group.session._thread.is_alive()
    lab.log.release()
    until(lambda: len(marked(lab)) == 2)


def test_nobody_else_gives_the_schedules_names(lab: Lab) -> None:
    """Retention goes by them."""
    group = lab.group()
    with pytest.raises(UsageError, match="schedule"):
        group.mark("auto-20261125t180000z")
    group.mark("auto-20261125")


def test_nothing_is_dropped_before_it_is_archived(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the plan drops exactly those that are in the archive, at the next question; those alone."""
    monkeypatch.setattr(schedule_module, "ASK_ARCHIVES_EVERY", 0.005)
    wall, archived = Wall(ZERO), set[tuple[int, bytes, str]]()
    on_turn = Schedule(900.0, KeepConfig(last=1), lambda log_time_us: log_time_us, lambda: frozenset(archived))
    group = lab.group(clock=HybridClock(wall), on_turn=on_turn)
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    for count in (2, 3, 4):
        wall.now += QUARTER
        until(lambda count=count: len(marked(lab)) == count)
    settle()
    assert names(lab) == marked(lab)
    known = group.session.state.copies()
    archived.add((known[1].sequence, known[1].seal, known[1].name))
    archived.add((known[0].sequence, b"another" + bytes(9), known[0].name))
    archived.add((known[0].sequence, known[0].seal, "by-time"))  # of a group that stood still
    until(lambda: names(lab) == [known[0].name, known[2].name, known[3].name])
    archived.update((copy.sequence, copy.seal, copy.name) for copy in known)
    until(lambda: names(lab) == [known[3].name])


def test_kafka_away_while_archives_are_asked_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies stay, the session goes on, and it is asked again."""
    monkeypatch.setattr(schedule_module, "ASK_ARCHIVES_EVERY", 0.005)
    wall, asked = Wall(ZERO), []

    def away() -> frozenset[tuple[int, bytes, str]]:
        asked.append(1)
        raise LogUnavailable("Kafka does not answer")

    on_turn = Schedule(900.0, KeepConfig(last=1), lambda log_time_us: log_time_us, away)
    group = lab.group(clock=HybridClock(wall), on_turn=on_turn)
    group.create_volume("v", 1024)
    until(lambda: len(marked(lab)) == 1)
    wall.now += QUARTER
    until(lambda: len(marked(lab)) == 2 and len(asked) > 3)
    assert names(lab) == marked(lab) and group.session.ready
