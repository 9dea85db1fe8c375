"""Timestamps that only grow, and heartbeats that say so while nothing is written."""

import time
from itertools import pairwise

import pytest

from tests.producers.conftest import Lab, events, until
from tidelog.clock import HybridClock
from tidelog.errors import SessionClosed

KIB = 1024
NOW = 1_700_000_000_000_000


class Wall:
    """A wall clock that a test sets."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def stamps(lab: Lab) -> list[int]:
    """Every timestamp in the log, of each write and each event."""
    return [
        stamp
        for event in events(lab.log)
        for stamp in (event["timestamps_us"] if event["kind"] == "WriteBatch" else [event["timestamp_us"]])
    ]


@pytest.mark.parametrize("step", [0, -5_000_000, -3_600_000_000, 1, 3_000_000])
def test_a_stepped_clock_never_makes_time_go_back(lab: Lab, step: int) -> None:
    """The wall clock stands still, is set back or set forward: stamps grow strictly."""
    wall = Wall()
    group = lab.group(clock=HybridClock(wall))
    volume = group.create_volume("v", KIB)
    for index in range(10):
        volume.write(index, b"x")
        if index % 3 == 0:
            volume.discard(index, 1)
            wall.now += step
    group.mark("m")
    found = stamps(lab)
    assert all(before < after for before, after in pairwise(found)) and len(found) == 17
    assert found[0] == NOW


def test_time_grows_over_sessions_with_clocks_of_their_own(lab: Lab) -> None:
    """Each session begins above the head that it found, however far its own clock is behind."""
    for ahead in (20_000_000, 0, -10_000_000, 5_000_000):
        group = lab.group(clock=HybridClock(Wall(NOW + ahead)))
        group.create_volume("v", KIB).write(0, b"x")
        group.close()
    found = stamps(lab)
    assert all(before < after for before, after in pairwise(found))
    assert found[-1] < NOW + 20_000_100


def test_sessions_of_a_process_share_one_clock(lab: Lab) -> None:
    """Times of two groups compare exactly: no stamp is given twice."""
    other = Lab()
    clock = HybridClock(Wall())
    first, second = lab.group(clock=clock), other.group(clock=clock)
    for group in (first, second, first, second):
        group.create_volume(f"v{len(list(group.volumes()))}", KIB)
    both = stamps(lab) + stamps(other)
    assert len(set(both)) == len(both)
    other.end()


def test_an_idle_session_beats(lab: Lab) -> None:
    """Heartbeats move the group's time on; they count, and change nothing."""
    group = lab.group(heartbeat=0.02)
    group.create_volume("v", KIB)
    until(lambda: lab.reference().sequence >= 5, "three heartbeats")
    group.close()
    reference = lab.reference()
    assert {event.kind for event in reference.counted[2:]} == {"Heartbeat"}
    assert reference.timestamp_us == stamps(lab)[-1] > stamps(lab)[1]


def test_a_busy_session_does_not_beat(lab: Lab) -> None:
    """Whoever writes more often than the heartbeat is its own heartbeat."""
    group = lab.group(heartbeat=5.0)
    volume = group.create_volume("v", KIB)
    for _ in range(50):
        volume.write(0, b"x")
        group.flush()
    assert "Heartbeat" not in {event["kind"] for event in events(lab.log)}


def test_no_heartbeats_while_something_is_unconfirmed(lab: Lab) -> None:
    """They would say nothing new, and pile up behind a log that is away; they go on once it is back."""
    group = lab.group(heartbeat=0.02)
    volume = group.create_volume("v", KIB)
    lab.log.hold()
    volume.write(0, b"x")
    group.session._close_batch()
    until(lambda: lab.log.pending)
    waiting = len(lab.log.pending)
    time.sleep(0.3)  # the time itself is what is tested: fifteen heartbeats would be due
    assert len(lab.log.pending) == waiting
    lab.log.release()
    before = lab.reference().sequence
    until(lambda: lab.reference().sequence > before + 1, "heartbeats again")


def test_no_heartbeat_after_the_end(lab: Lab) -> None:
    """A closed session says nothing more."""
    group = lab.group(heartbeat=0.01)
    until(lambda: lab.reference().sequence > 2, "heartbeats")
    group.close()
    count = len(events(lab.log))
    with pytest.raises(SessionClosed):
        group.flush()
    time.sleep(0.1)  # the time itself is what is tested: ten heartbeats would be due
    assert len(events(lab.log)) == count


def test_closing_does_not_wait_for_a_long_linger(lab: Lab) -> None:
    """A linger of seconds holds up neither close() nor the fence."""
    group = lab.group(linger=10.0)
    group.create_volume("v", KIB).write(0, b"x")
    started = time.monotonic()
    group.close()
    assert time.monotonic() - started < 5.0
    assert not group.session._thread.is_alive() and lab.reference().sequence == 3
