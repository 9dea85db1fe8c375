"""Copies by time that are locked or kept: by a command on the control topic, obeyed by every site that hears of it."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.consumers.conftest import Lab, until, written
from tests.consumers.test_local_retention import busy, lab, order, timed
from tidelog.clock import wall_us
from tidelog.config_tables import KeepRules
from tidelog.consumers.local_retention import explain_local
from tidelog.errors import AlreadyExists, Locked, NotFound, UsageError
from tidelog.producers.ordering import cancel_order, keep_order, lock_order, order_copy
from tidelog.schemas.control import OrderProtected, order_key, protection_key

__all__ = ("lab",)

DAY = timedelta(days=1)


@pytest.fixture
def copied(lab: Lab) -> Iterator[Lab]:
    """Copies c0 and c1 by time at osaka, which keeps two, and tokyo, which keeps all."""
    busy(lab, "tokyo", "osaka")
    for name in ("c0", "c1"):
        order(lab, name, "tokyo", "osaka")
    return lab


def marks(lab: Lab, site: str, name: str) -> tuple[bool, bool]:
    """Whether the site's copy is locked, and kept."""
    copy = lab.store(site).copy(name)
    return copy.locked_until_us > wall_us(), copy.kept


def test_a_locked_copy_stays_at_every_site(copied: Lab) -> None:
    """Retention drops others in its place, a cancel is refused, and so is a shorter lock; a longer one is not."""
    end = lock_order(copied.cluster, "c0", DAY).locked_until_us
    for site in ("tokyo", "osaka"):
        until(lambda site=site: marks(copied, site, "c0") == (True, False), f"the lock at {site}")
    for name in ("c2", "c3"):
        order(copied, name, "tokyo", "osaka")
    until(lambda: timed(copied.store("osaka")) == ["c0", "c2", "c3"], "osaka's retention")
    with pytest.raises(Locked):
        cancel_order(copied.cluster, "c0")
    with pytest.raises(Locked):
        lock_order(copied.cluster, "c0", timedelta(hours=1))
    with pytest.raises(Locked):
        copied.store("osaka").mark_dropping(copied.store("osaka").copy("c0"))
    longer = lock_order(copied.cluster, "c0", 2 * DAY).locked_until_us
    assert longer > end
    until(lambda: copied.store("osaka").copy("c0").locked_until_us == longer, "the longer lock")
    assert len({copied.store(site).verify(copied.store(site).copy("c0")) for site in ("tokyo", "osaka")}) == 1


def test_a_lock_outlives_a_command_that_says_nothing_of_it(copied: Lab) -> None:
    """Whoever takes the command back, by another program or from a view that was behind: the store's word counts, and
    nothing halts."""
    lock_order(copied.cluster, "c0", DAY)
    until(lambda: marks(copied, "osaka", "c0")[0], "the lock")
    copied.control.put(protection_key("c0").encode(), None)
    cancel_order(copied.cluster, "c0")
    cancel_order(copied.cluster, "c1")
    until(lambda: timed(copied.store("osaka")) == ["c0"], "the other one dropped")
    assert marks(copied, "osaka", "c0")[0]
    for site in ("tokyo", "osaka"):
        until(lambda site=site: (status := copied.status(site)) and status.state == "STREAMING", f"{site} goes on")


def test_the_clock_of_who_takes_it_back_opens_nothing(copied: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by what the sites' clocks last said."""
    lock_order(copied.cluster, "c0", DAY)
    monkeypatch.setattr("tidelog.producers.ordering.wall_us", lambda: time.time_ns() // 1000 + 10 * 86_400_000_000)
    with pytest.raises(Locked):
        cancel_order(copied.cluster, "c0")


def test_who_has_not_heard_of_a_lock_takes_none_away(copied: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """`keep`, a shorter lock and a cancel, each from a view of before the lock: the lock is in the last record too."""
    control, real = copied.control, copied.control.snapshot
    stale = real()
    end = lock_order(copied.cluster, "c0", DAY).locked_until_us
    for call in (
        lambda: keep_order(copied.cluster, "c0", kept=True),
        lambda: lock_order(copied.cluster, "c0", timedelta(hours=1)),
    ):
        views = iter([stale])
        published: list[object] = []
        with monkeypatch.context() as patched:
            patched.setattr(control, "snapshot", lambda *rest, views=views: next(views, None) or real(*rest))
            patched.setattr(control, "publish", _recorded(control.publish, published))
            call()
        assert published[-1].locked_until_us == end  # type: ignore[attr-defined]
    views = iter([stale])
    with monkeypatch.context() as patched:
        patched.setattr(control, "snapshot", lambda *rest: next(views, None) or real(*rest))
        patched.setattr("tidelog.producers.ordering.lock_time_us", lambda now, *_: now)
        with pytest.raises(Locked):
            cancel_order(copied.cluster, "c0")
    assert real()[order_key("c0")].dropped_us == 0  # type: ignore[attr-defined]


def test_a_copy_that_is_still_to_come_is_locked_when_it_is_there(lab: Lab) -> None:
    """In time, made late, or made again by a replay."""
    group = busy(lab, "tokyo", "osaka")
    past = wall_us()
    until(lambda: wall_us() > past, "the next microsecond")
    written(group, 1)
    order_copy(lab.cluster, "early", ["bank"], wall_us() + 400_000)
    order_copy(lab.cluster, "late", ["bank"], past)
    for name in ("early", "late"):
        lock_order(lab.cluster, name, DAY)
    for name in ("early", "late"):
        for site in ("tokyo", "osaka"):
            until(lambda name=name, site=site: name in timed(lab.store(site)) and marks(lab, site, name)[0], name)
    worker, thread = lab._workers[-1]
    worker.stop()
    thread.join(20)
    for _ in lab.store("osaka").erase():
        pass
    lab.worker("osaka")
    for name in ("early", "late"):
        until(lambda name=name: name in timed(lab.store("osaka")) and marks(lab, "osaka", name)[0], f"{name} again")


def test_kept_and_released(copied: Lab) -> None:
    """Retention leaves it alone; afterwards no longer. A cancel drops it all the same."""
    keep_order(copied.cluster, "c0", kept=True)
    for site in ("tokyo", "osaka"):
        until(lambda site=site: marks(copied, site, "c0") == (False, True), f"kept at {site}")
    order(copied, "c2", "tokyo", "osaka")
    order(copied, "c3", "tokyo", "osaka")
    until(lambda: timed(copied.store("osaka")) == ["c0", "c2", "c3"], "osaka's retention")
    assert [why.dropped for _, why in explain_local(copied.store("osaka"), KeepRules(last=1))] == [False, True, False]
    keep_order(copied.cluster, "c0", kept=False)
    until(lambda: "c0" not in timed(copied.store("osaka")), "retention")
    keep_order(copied.cluster, "c3", kept=True)
    until(lambda: marks(copied, "osaka", "c3")[1], "kept")
    cancel_order(copied.cluster, "c3")
    until(lambda: "c3" not in timed(copied.store("osaka")), "taken back")


def test_a_command_that_changes_nothing_moves_nothing(copied: Lab) -> None:
    """Who locks twice does not have the sites' appliers read everything anew for ever."""
    lock_order(copied.cluster, "c0", DAY)
    until(lambda: marks(copied, "osaka", "c0")[0], "the lock")
    layout = copied.store("osaka").position().layout
    lock_order(copied.cluster, "c0", datetime.fromtimestamp(_locked(copied) / 1e6, UTC))
    time.sleep(0.5)  # twenty-five looks at the control topic
    assert copied.store("osaka").position().layout == layout


def test_what_cannot_be(lab: Lab) -> None:
    """No such command; a time that has passed; one name for two copies, whichever came first."""
    group = busy(lab, "osaka")
    for call in (lambda: lock_order(lab.cluster, "never", DAY), lambda: keep_order(lab.cluster, "never", kept=True)):
        with pytest.raises(NotFound):
            call()
    order_copy(lab.cluster, "noon", ["bank"], wall_us() + 60_000_000)
    with pytest.raises(UsageError, match="would have ended"):
        lock_order(lab.cluster, "noon", -DAY)
    with pytest.raises(AlreadyExists):
        group.mark("noon")
    with pytest.raises(UsageError, match="schedule"):
        order_copy(lab.cluster, "auto-20261125t180000z", ["bank"], wall_us() + 60_000_000)
    lab.cluster.create_group("orders")
    order_copy(lab.cluster, "mine", ["orders"], wall_us() + 60_000_000)
    assert group.mark("mine").name == "mine"  # names are a group's


def _locked(lab: Lab) -> int:
    record = lab.control.snapshot()[protection_key("c0")]
    return record.locked_until_us  # type: ignore[attr-defined, no-any-return]


def _recorded(publish: Callable[..., None], into: list[object]) -> Callable[..., None]:
    def recorded(record: object, *rest: object) -> None:
        if isinstance(record, OrderProtected):
            into.append(record)
        publish(record, *rest)

    return recorded
