"""Late copies: a site that hears of a time too late makes the copy that a cut in time would have made (G4)."""

import os
from itertools import product

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from late_lab import (
    BLOCK,
    AuthorEvents,
    LateAuthor,
    LateSite,
    end_all,
    has_split,
    holds,
    key_shapes,
    named,
    unfinished,
)

from tidelog.schemas.events import Heartbeat
from tidelog.stores.timed import DueCopy

PHASES = [phase for phase in Phase if phase is not Phase.shrink or "TIDELOG_SHRINK" in os.environ]
KINDS = ["write"] * 6 + ["discard", "resize", "create", "delete", "copy", "copy", "mark", "mark", "drop", "beat"]
numbers = st.integers(0, 11)
programs = st.lists(st.tuples(st.sampled_from(KINDS), numbers, numbers), min_size=2, max_size=16)
# Whole thousands are the times of events and writes.
times = st.lists(st.integers(2, 70).map(lambda half: half * 500), min_size=1, max_size=4)
acts = st.lists(
    st.tuples(st.sampled_from(["apply", "apply", "maintain", "hear", "crash", "save", "rewind", "fault"]), numbers),
    min_size=4,
    max_size=25,
)


@pytest.fixture(autouse=True)
def small_late_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in steps of a block or two."""
    for name in ("drop", "plan", "volume_copy", "late", "late_values", "handing"):
        monkeypatch.setattr(f"tidelog.stores.{name}.STEP_BLOCKS", 2)
    monkeypatch.setattr("tidelog.stores.plan.STEP_SPAN_BLOCKS", 5)


def grown(program: list[tuple[str, int, int]]) -> LateAuthor:
    author = LateAuthor()
    for kind, one, two in program:
        author.grow(kind, one, two)
    author.add(Heartbeat)
    return author


def in_time(author: LateAuthor, orders: list[DueCopy]) -> LateSite:
    """A site that knew of everything from the beginning."""
    site = LateSite(author)
    site.order(orders)
    site.finish()
    return site


def check_equal(late: LateSite, timely: LateSite, *, keys: bool = True) -> None:
    """Every copy the same at both, down to bitmaps; and nothing is left over once the copies are gone."""
    late.author.mark("end")
    for site in (late, timely):
        site.finish()
        assert not unfinished(site) and not has_split(site)
    assert holds(late) == holds(timely)
    assert named(late) == named(timely)
    if keys:
        assert key_shapes(late.keyspace) == key_shapes(timely.keyspace)
    late.author.mark("last")
    for site in (late, timely):
        site.finish()
    assert end_all(late) == end_all(timely)


@given(programs, times, acts)
@settings(max_examples=400, deadline=None, phases=PHASES, suppress_health_check=list(HealthCheck))
def test_a_late_site_ends_as_one_in_time(
    program: list[tuple[str, int, int]], asked: list[int], actions: list[tuple[str, int]]
) -> None:
    """Whenever it hears of each command, with crashes, lost connections and rewinds at any step: every copy is byte for
    byte that of a site that knew in time, with its digest, count, bitmaps and pairs; or none, and the site says why."""
    author = grown(program)
    orders = [DueCopy(f"t{index}", at) for index, at in enumerate(asked)]
    site = LateSite(author)
    heard = 0
    saved = None
    for act, number in actions:
        if act == "apply":
            site.apply(1 + number)
        elif act == "maintain":
            site.maintain(1 + number)
        elif act == "hear":
            heard += 1
            site.order(orders[:heard])
        elif act == "crash":
            site.crash()
        elif act == "save":
            saved = site.keyspace.snapshot()
        elif act == "rewind" and saved is not None:
            site.keyspace.restore(saved)
        elif act == "fault":
            site.keyspace.fail(1 + number // 2, applied=bool(number % 2))
            site.maintain(1 + number // 2)
            site.keyspace._fault = None
    site.finish()
    site.order(orders)
    site.finish()
    before = author.log[0][0].timestamp_us
    refused = {name: reason for name, reason in site.refused().items() if dict_of(orders)[name] >= before}
    if refused:
        assert author.lacks_a_source(), refused
    timely = in_time(author, [order for order in orders if order.name not in refused])
    check_equal(site, timely)


def dict_of(orders: list[DueCopy]) -> dict[str, int]:
    return {order.name: order.at_us for order in orders}
