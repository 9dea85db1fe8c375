"""A site's own retention: its copies by time go at that site only, are not made again, and nothing else goes."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.consumers.conftest import SITES, Lab, until, written
from tidelog.clock import wall_us
from tidelog.config import Config
from tidelog.config_tables import KeepRules
from tidelog.consumers.catalogue import Answer
from tidelog.consumers.late_events import LogEvents
from tidelog.consumers.local_retention import apply_local, explain_local, plan_local
from tidelog.consumers.ordered_sets import ordered_sets, with_dropped
from tidelog.errors import NotFound
from tidelog.producers.group import Group
from tidelog.producers.ordering import cancel_order, lead_seconds, order_copy
from tidelog.schemas.control import CopyOrdered, OrderAnswered
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, CopyOrigin
from tidelog.stores.timed import DueCopy

HOUR = 3_600_000_000
KEEP = {"last": 2}
MINUTES = st.integers(0, 5000)


def made(sequence: int, at_us: int, origin: CopyOrigin = CopyOrigin.TIME, **more: object) -> Copy:
    copy = Copy(sequence, sequence, b"s" * 16, f"c{at_us}", at_us, (), 0, 1, b"w" * 16, 9, "cluster", origin=origin)
    return replace(copy, **more)  # type: ignore[arg-type]


@given(
    minutes=st.lists(MINUTES, max_size=30, unique=True),
    counts=st.tuples(*[st.integers(0, 4)] * 3).filter(any),
    protected=st.sets(st.integers(0, 30)),
    ties=st.booleans(),
)
def test_the_plan(minutes: list[int], counts: tuple[int, int, int], protected: set[int], ties: bool) -> None:
    """Only copies by time, never the newest of them, a locked or a kept one; the last ones and those of the newest
    hours and days stay, also where several copies end at one event."""
    last, hourly, daily = counts
    ordered = sorted(minutes)
    timed = [
        made(
            1 + (index // 3 if ties else index),
            minute * 60_000_000,
            kept=index in protected,
            locked_until_us=1 << 52 if index + 7 in protected else 0,
        )
        for index, minute in enumerate(ordered)
    ]
    marked = [made(1000 + minute, minute * 60_000_000, CopyOrigin.MARKER) for minute in ordered[:3]]
    planned = plan_local([*marked, *timed], KeepRules(last=last, hourly=hourly, daily=daily), 1 << 50)
    assert [copy for copy, _ in planned] == timed
    stays = [copy for copy, why in planned if not why.dropped]
    assert all(why.reasons for _, why in planned)
    for index, copy in enumerate(timed):
        newest = index == len(timed) - 1
        hours = sorted({other.timestamp_us // HOUR for other in timed})[-hourly:] if hourly else []
        days = sorted({other.timestamp_us // (24 * HOUR) for other in timed})[-daily:] if daily else []
        ends_hour = newest or timed[index + 1].timestamp_us // HOUR != copy.timestamp_us // HOUR
        ends_day = newest or timed[index + 1].timestamp_us // (24 * HOUR) != copy.timestamp_us // (24 * HOUR)
        expected = (
            newest
            or index >= len(timed) - last
            or (copy.timestamp_us // HOUR in hours and ends_hour)
            or (copy.timestamp_us // (24 * HOUR) in days and ends_day)
            or copy.kept
            or copy.locked_until_us > 1 << 50
        )
        assert (copy in stays) == expected, (index, copy)


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Osaka keeps its last two copies by time; the others keep all."""
    tables = {site: {"redis": {"url": f"redis://memory-{site}"}} for site in SITES}
    config = Config(
        sites=tables | {"osaka": tables["osaka"] | {"keep": KEEP}},
        writer={"heartbeat": 0.03, "write_timeout": 20.0},
        worker={"status_interval": 0.02, "poll_timeout": 0.02},
    )
    lab = Lab(config)
    yield lab
    lab.end()


def timed(store: Store) -> list[str]:
    return [copy.name for copy in store.copies() if copy.origin is CopyOrigin.TIME]


def order(lab: Lab, name: str, *sites: str) -> CopyOrdered:
    """Orders a copy and waits until ``sites`` have it."""
    given_order = order_copy(lab.cluster, name, ["bank"], wall_us() + round((lead_seconds(lab.cluster) + 0.1) * 1e6))
    until(lambda: all(name in timed(lab.store(site)) for site in sites), f"copy {name} at {sites}")
    return given_order


def busy(lab: Lab, *sites: str) -> Group:
    """A group with marker copies, applied at the sites."""
    for site in sites:
        lab.worker(site)
    group = written(lab.group())
    for site in sites:
        lab.caught_up(site)
    return group


def due(*orders: CopyOrdered) -> set[DueCopy]:
    return {DueCopy(order.name, order.at_us) for order in orders}


def test_a_site_drops_its_own_and_no_other(lab: Lab) -> None:
    """Osaka ends with two, tokyo keeps five; marker copies stay at both, and what was dropped is remembered."""
    group = busy(lab, "tokyo", "osaka")
    orders = [order(lab, f"c{index}", "tokyo", "osaka") for index in range(5)]
    head = written(group).session.confirmed.sequence
    for site in ("tokyo", "osaka"):
        until(lambda site=site: lab.store(site).position().head.sequence >= head, f"{site} at the head")
    until(lambda: timed(lab.store("osaka")) == ["c3", "c4"], "osaka's retention")
    assert timed(lab.store("tokyo")) == ["c0", "c1", "c2", "c3", "c4"]
    marked = [
        [copy.sequence for copy in lab.store(site).copies() if copy.origin is CopyOrigin.MARKER]
        for site in ("tokyo", "osaka")
    ]
    assert marked[0] == marked[1] and len(marked[0]) >= 3
    assert lab.store("osaka").forgotten_orders() == due(*orders[:3])
    assert lab.store("tokyo").forgotten_orders() == set()
    assert group.session.ready
    for name in ("c3", "c4"):  # and those that stay are what they are elsewhere
        stores = lab.store("tokyo"), lab.store("osaka")
        assert len({store.verify(store.copy(name)) for store in stores}) == 1


def test_a_late_copy_that_the_site_does_not_keep(lab: Lab) -> None:
    """It goes as soon as it is formed, not with the next cut, and is not made again."""
    group = busy(lab, "tokyo", "osaka")
    at = wall_us()
    until(lambda: wall_us() > at, "the next microsecond")
    written(group, 1)
    for name in ("c0", "c1"):
        order(lab, name, "tokyo", "osaka")
    late = order_copy(lab.cluster, "late", ["bank"], at)
    until(lambda: lab.store("osaka").forgotten_orders() == due(late), "osaka's retention")
    until(lambda: timed(lab.store("tokyo")) == ["late", "c0", "c1"], "the late copy where all are kept")
    assert timed(lab.store("osaka")) == ["c0", "c1"]


def test_retention_waits_while_a_late_copy_is_made(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each drop would have it begin anew."""
    group = busy(lab, "osaka")
    at = wall_us()
    until(lambda: wall_us() > at, "the next microsecond")
    written(group, 1)
    for name in ("c0", "c1"):
        order(lab, name, "osaka")
    real, goes_on = LogEvents.take, threading.Event()
    monkeypatch.setattr(LogEvents, "take", lambda events: real(events) if goes_on.is_set() else [])
    late = order_copy(lab.cluster, "late", ["bank"], at)
    until(lambda: [one for one in lab.control.snapshot().values() if isinstance(one, OrderAnswered)], "the answer")
    order(lab, "c2", "osaka")
    time.sleep(0.3)
    assert timed(lab.store("osaka")) == ["c0", "c1", "c2"]
    goes_on.set()
    until(lambda: timed(lab.store("osaka")) == ["c1", "c2"], "osaka's retention")
    until(lambda: due(late) < lab.store("osaka").forgotten_orders(), "the late copy, formed and dropped")


def test_late_copies_are_made_after_a_rebuild_that_was_refused(lab: Lab) -> None:
    """A worker that has seen its mark takes late commands again once it is gone."""
    group = busy(lab, "osaka")
    at = wall_us()
    until(lambda: wall_us() > at, "the next microsecond")
    written(group, 1)
    before = lab.store("osaka").begin_erase()
    until(lambda: (status := lab.status("osaka")) and status.state == "REBUILDING", "the mark seen")
    lab.store("osaka").withdraw_erase(before)
    order_copy(lab.cluster, "late", ["bank"], at)
    until(lambda: timed(lab.store("osaka")) == ["late"], "the late copy")


def test_what_was_dropped_is_shown_as_dropped_not_as_missing(lab: Lab) -> None:
    """`pitc orders` is no alarm for it."""
    busy(lab, "osaka")
    for index in range(3):
        order(lab, f"c{index}", "osaka")
    until(lambda: timed(lab.store("osaka")) == ["c1", "c2"], "osaka's retention")

    def first() -> Answer:
        sets = {found.order.name: found for found in ordered_sets(lab.control.snapshot(), ("osaka",))}
        assert with_dropped(sets["c0"], lambda *_: ()).answers == sets["c0"].answers
        return with_dropped(sets["c0"], lambda site, _: lab.store(site).forgotten_orders()).answers["osaka"]["bank"]

    until(lambda: first() is Answer.DROPPED, "shown as dropped")


def test_a_worker_that_starts_again_makes_none_anew(lab: Lab) -> None:
    """The commands stand, and what was dropped stays dropped; the plan is applied at the start, too."""
    group = busy(lab, "osaka")
    for index in range(3):
        order(lab, f"c{index}", "osaka")
    until(lambda: timed(lab.store("osaka")) == ["c1", "c2"], "osaka's retention")
    worker, thread = lab._workers[-1]
    worker.stop()
    thread.join(20)
    lab.worker("osaka")
    written(group)
    until(lambda: lab.store("osaka").position().head.sequence >= group.session.confirmed.sequence, "applied")
    layout = lab.store("osaka").position().layout
    time.sleep(1)  # fifty looks at the control topic: a late copy of c0 would raise the layout, and so would its drop
    assert (timed(lab.store("osaka")), lab.store("osaka").position().layout) == (["c1", "c2"], layout)
    order(lab, "c3", "osaka")
    until(lambda: timed(lab.store("osaka")) == ["c2", "c3"], "osaka's retention")


def test_a_replay_makes_them_again_and_they_go_again(lab: Lab) -> None:
    """An erase takes the memory along with the copies; the fold of the log is the same afterwards."""
    busy(lab, "osaka")
    for index in range(4):
        order(lab, f"c{index}", "osaka")
    until(lambda: timed(lab.store("osaka")) == ["c2", "c3"], "osaka's retention")
    before = {name: lab.store("osaka").verify(lab.store("osaka").copy(name)) for name in ("c2", "c3")}
    worker, thread = lab._workers[-1]
    worker.stop()
    thread.join(20)
    store = lab.store("osaka")
    for _ in store.erase():
        pass
    assert store.forgotten_orders() == set() and timed(store) == []
    lab.worker("osaka")
    until(lambda: timed(lab.store("osaka")) == ["c2", "c3"] and len(store.forgotten_orders()) == 2, "dropped again")
    assert {name: store.verify(store.copy(name)) for name in ("c2", "c3")} == before


def test_a_command_that_is_taken_back_is_forgotten_no_longer(lab: Lab) -> None:
    """What is remembered is bounded by the commands that stand."""
    busy(lab, "osaka")
    orders = [order(lab, f"c{index}", "osaka") for index in range(4)]
    until(lambda: lab.store("osaka").forgotten_orders() == due(*orders[:2]), "osaka's retention")
    cancel_order(lab.cluster, "c0")
    until(lambda: lab.store("osaka").forgotten_orders() == due(orders[1]), "pruned")


def test_explaining_drops_nothing_and_twice_is_once(lab: Lab) -> None:
    """The plan by hand, beside a running worker."""
    busy(lab, "tokyo")
    for index in range(3):
        order(lab, f"c{index}", "tokyo")
    store, keep = lab.store("tokyo"), KeepRules(last=1)
    assert [why.dropped for _, why in explain_local(store, keep)] == [True, True, False]
    assert timed(store) == ["c0", "c1", "c2"]  # explaining drops nothing
    assert [why.dropped for why in apply_local(store, keep)] == [True, True, False]
    assert [why.dropped for why in apply_local(store, keep)] == [False]
    with pytest.raises(NotFound):
        store.copy("c0")
