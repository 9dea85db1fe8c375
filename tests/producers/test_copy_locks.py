"""Locking and keeping copies through the library: what is refused before the log, and what a session knows of it."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.producers.author import following, put
from tests.producers.conftest import Lab
from tests.producers.test_time import NOW, Wall
from tidelog.clock import HybridClock, iso, microseconds, utc
from tidelog.config import KeepConfig
from tidelog.errors import Fenced, Locked, LogDiverged, NotFound, UsageError
from tidelog.producers.group import Group
from tidelog.producers.group_state import KnownCopy
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.events import CopyDropped, CopyKept, CopyLocked

DAY = timedelta(days=1)
DAY_US = 86_400_000_000


@pytest.fixture
def wall() -> Wall:
    """The writer's clock."""
    return Wall()


@pytest.fixture
def group(lab: Lab, wall: Wall) -> Group:
    """With a volume and a copy ``m``."""
    group = lab.group(clock=HybridClock(wall))
    group.create_volume("v", 1024)
    group.mark("m")
    return group


def held(lab: Lab, name: str = "m") -> tuple[int, bool] | None:
    """Lock and keep of a copy, by the reference; None if it is gone."""
    return next(((c.locked_until_us, c.kept) for c in lab.reference().copies.values() if c.name == name), None)


def report(lab: Lab, clock_us: int, site: str = "osaka", group: str = "bank") -> None:
    """What a site's worker says, by its own clock."""
    numbers = dict.fromkeys(
        ("sequence", "epoch", "timestamp_us", "offset", "end_offset", "events_applied", "redelivered", "void"), 1
    )
    texts = {"state": "STREAMING", "reason": "", "hint": "", "worker": "x:1"}
    status = SiteStatus(site=site, group=group, seal=bytes(16), reported_us=clock_us, **numbers, **texts)  # type: ignore[arg-type]
    lab.control.publish(status)


def test_a_locked_copy_is_dropped_by_nobody_before_its_time(lab: Lab, group: Group, wall: Wall) -> None:
    """Refused with the time, and nothing of it is in the log; dropped once the log's time is there."""
    end = group.lock_copy("m", 2 * DAY)
    before = lab.reference().sequence
    for forward in (0, DAY_US, DAY_US - 10):
        wall.now += forward
        with pytest.raises(Locked, match=f"m is locked until {iso(microseconds(end))}") as refused:
            group.drop_copy("m")
        assert refused.value.exit_code == 2 and refused.value.hint
        assert group.apply_retention(KeepConfig(last=1, named=True))[0].dropped is False
    assert lab.reference().sequence == before and held(lab) == (microseconds(end), False)
    wall.now = microseconds(end)
    group.drop_copy("m")
    assert held(lab) is None and group.session.state.copies() == []


def test_a_lock_is_extended_and_never_shortened(lab: Lab, group: Group) -> None:
    """In any way of saying the time; what is given back is its end in UTC."""
    tokyo = timezone(timedelta(hours=9))
    end = datetime.fromtimestamp(NOW / 1_000_000 + 864_000, tokyo)
    assert group.lock_copy("m", end) == end
    with pytest.raises(Locked, match="locked until"):
        group.lock_copy("m", end - timedelta(microseconds=1))
    with pytest.raises(Locked):
        group.lock_copy("m", DAY)
    assert group.lock_copy("m", end) == end
    later = group.lock_copy("m", 20 * DAY)
    assert held(lab) == (microseconds(later), False) and later.tzinfo is UTC


@pytest.mark.parametrize(
    ("until", "says"),
    [
        (timedelta(0), "would have ended"),
        (-DAY, "would have ended"),
        (utc(NOW - 1), "would have ended"),
        (datetime(2500, 1, 1), "no offset"),
        (timedelta(days=40_000), "hundred years"),
        (datetime(9999, 12, 31, tzinfo=UTC), "hundred years"),
    ],
)
def test_a_time_that_cannot_be(lab: Lab, group: Group, until: datetime | timedelta, says: str) -> None:
    """Refused before the log."""
    before = lab.reference().sequence
    with pytest.raises(UsageError, match=says):
        group.lock_copy("m", until)
    assert lab.reference().sequence == before


def test_a_copy_that_is_not_there(group: Group) -> None:
    """Neither by name nor by sequence."""
    for name in ("never", "#1", "#m"):
        with pytest.raises(NotFound):
            group.lock_copy(name, DAY)
        with pytest.raises(NotFound):
            group.keep_copy(name)


def test_a_copy_is_named_by_sequence_too(lab: Lab, group: Group) -> None:
    """As the command line shows it."""
    group.keep_copy("#3")
    assert held(lab) == (0, True)
    group.drop_copy("#3")
    assert held(lab) is None


def test_keep_is_for_retention_alone(lab: Lab, group: Group) -> None:
    """A kept copy is dropped by name; released, retention takes it."""
    for name in ("n", "o"):
        group.mark(name)
    policy = KeepConfig(last=1, named=True)
    group.keep_copy("m")
    group.keep_copy("n")
    group.apply_retention(policy)
    assert held(lab) == held(lab, "n") == (0, True)
    group.keep_copy("n", kept=False)
    group.apply_retention(policy)
    group.drop_copy("m")
    assert [copy.name for copy in lab.reference().copies.values()] == ["o"]


def test_the_writers_own_clock_set_forward_ends_no_lock(lab: Lab, group: Group, wall: Wall) -> None:
    """The log's time goes with it; the sites' clocks do not, and they are asked. Retention is refused likewise."""
    end = microseconds(group.lock_copy("m", 30 * DAY))
    group.mark("newest")
    report(lab, NOW, "osaka")
    report(lab, NOW + DAY_US, "tokyo")
    report(lab, end + DAY_US, "paris", group="another")
    wall.now += 40 * DAY_US
    for _ in range(2):  # also for a session that finds the log's time already forward
        with pytest.raises(Locked):
            group.drop_copy("m")
        assert not any(decision.dropped for decision in group.apply_retention(KeepConfig(last=1, named=True)))
        group = lab.group(clock=HybridClock(wall))
    report(lab, end, "tokyo")
    group.drop_copy("m")
    assert held(lab) is None


def test_events_by_hand(lab: Lab, group: Group, wall: Wall) -> None:
    """Who writes to the log past the library fences the session, and neither drops nor shortens: a session that opens
    behind it reads it as the reference does."""
    end = microseconds(group.lock_copy("m", DAY))
    group.keep_copy("m")
    copy = group.session.state.copy("m")
    assert copy is not None
    named = {"copy_sequence": copy.sequence, "copy_seal": copy.seal}
    head = group.session.confirmed
    head = put(lab.log, following(CopyLocked, head, until_us=0, **named))
    head = put(lab.log, following(CopyDropped, head, **named))
    head = put(lab.log, following(CopyDropped, head, timestamp_us=end - 1, **named))
    head = put(
        lab.log,
        following(CopyKept, head, kept=False, copy_sequence=copy.sequence, copy_seal=b"y" * 16, timestamp_us=end),
    )
    wall.now = end
    again = lab.group(clock=HybridClock(wall))
    volumes = tuple(again.session.state.volumes)
    known = KnownCopy(copy.sequence, copy.seal, "m", copy.timestamp_us, volumes, end, True)
    assert again.session.state.copies() == [known]
    assert held(lab) == (end, True)
    group.volume("v").write(0, b"x")
    with pytest.raises((Fenced, LogDiverged)):
        group.flush()
    again.drop_copy("m")
    assert held(lab) is None
