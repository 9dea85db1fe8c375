"""Roll back: a site whose history is not the log's goes back to an elder copy, keeps what it held, and follows."""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from late_lab import BLOCK, LateAuthor, LateSite, end_all, holds, named
from moments_lab import KINDS
from rollback_lab import Fork, Program, beat, common_copy, contents, forked, grown, roll_back, roll_back_with_crashes
from store_lab import check_generations

from tidelog.stores.store import CopyOrigin
from tidelog.stores.timed import DueCopy

PHASES = [phase for phase in Phase if phase is not Phase.shrink or "TIDELOG_SHRINK" in os.environ]
numbers = st.integers(0, 11)
events = st.tuples(st.sampled_from(KINDS), numbers, numbers)
programs = st.lists(events, max_size=9)
times = st.lists(st.integers(1, 60), max_size=3)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in steps of a block or two."""
    for name in ("drop", "plan", "volume_copy", "late", "late_values", "handing", "rollback_blocks", "healing"):
        monkeypatch.setattr(f"tidelog.stores.{name}.STEP_BLOCKS", 2)
    monkeypatch.setattr("tidelog.stores.plan.STEP_SPAN_BLOCKS", 5)


def begun() -> LateAuthor:
    """Three volumes, written to, and a copy."""
    author = LateAuthor()
    for name in ("v1", "v2"):
        author.create(name, 5 * BLOCK)
    author.grow("write", 3, 1)
    author.grow("mark", 0, 0)
    return author


def fork(common: Program, lost: Program, new: Program, at: list[int] = [], steps: int = 99) -> Fork:  # noqa: B006
    """Some of both histories behind a copy, and a site at the end of the one that is lost, copies by time included."""
    author = grown(begun(), common)
    other = forked(author, 1)
    grown(author, lost)
    grown(other, new)
    beat(other)
    site = LateSite(author)
    orders = [DueCopy(f"t{half}", half * 500) for half in at]
    site.order(orders)
    site.apply()
    site.apply()
    site.maintain(steps)
    site.crash()
    return Fork(site, author, other, orders)


def in_time(made: Fork) -> LateSite:
    """A site that has followed the new log alone, with all commands from the beginning."""
    site = LateSite(made.new)
    site.order(made.orders)
    site.finish()
    return site


def compare(site: LateSite, other: LateSite) -> None:
    """What both hold is equal: identity, bytes, digests, counts, pairs."""
    mine, theirs = holds(site), holds(other)
    for key in mine.keys() & theirs.keys():
        assert mine[key] == theirs[key], key


def rolled_back(author: LateAuthor, other: LateAuthor) -> Fork:
    """A site that has followed ``author`` and then follows ``other``, compared with one that knew ``other`` alone."""
    site = LateSite(author)
    site.apply()
    site.maintain(9)
    site.crash()
    made = Fork(site, author, other)
    copy = common_copy(site.store, other)
    assert copy is not None
    roll_back(site, other, copy)
    made.check()
    made.follow()
    made.check()
    compare(site, in_time(made))
    return made


def test_what_only_the_lost_history_named_is_not_asked_for_again() -> None:
    """A copy onto a volume ships what may differ in the present history; that is enough here too [C12]."""
    author = begun()
    author.model.fold(author.log)
    first, second = (info.id for info, _ in author.model.states[author.head.sequence].volumes.values() if info.id > 2)
    other = forked(author, 1)
    author.write((first, 4 * BLOCK, b"x" * BLOCK), (second, 3 * BLOCK, b"y"))
    author.mark("lost")
    other.model.fold(other.log)
    other.copy(first, second, other.model.may_differ(first, second, 0))
    rolled_back(author, other)


def test_a_volume_that_has_the_id_of_a_lost_one() -> None:
    """Ids are sequences: the two have nothing in common, not even the block size; both are read right, and dropping the
    lost one's copies leaves the new one alone."""
    author = begun()
    other = forked(author, 1)
    beat(author)
    lost, new = author.create("lost", 6 * BLOCK), other.create("new", 8 * BLOCK, 2 * BLOCK)
    assert lost == new
    author.write((lost, 100, b"lost" * 500))
    author.mark("lost")
    author.write((lost, 4 * BLOCK, b"and on" * 100))
    other.write((new, 0, b"new!" * 300))
    other.mark("new")
    other.write((new, 3000, b"over" * 100))
    made = rolled_back(author, other)
    for one in made.site.store.copies(lost=True):
        if one.origin is CopyOrigin.LOST:
            made.site.store.mark_dropping(one)
    made.site.crash()
    made.follow()


@pytest.mark.parametrize("further", [False, True])
def test_copies_by_time_that_come_late(further: bool) -> None:
    """Of every moment, before the place that was gone back to and behind it, behind the newest copy too: they are what
    a site in time has."""
    author = begun()
    grown(author, [("write", 2, 5), ("mark", 0, 0)])
    first = author.log[3][0].timestamp_us
    other = forked(author, 1)
    grown(author, [("write", 4, 1), ("write", 3, 7), ("mark", 0, 0), ("discard", 2, 1), ("write", 1, 2)])
    grown(other, [("write", 1, 8), ("discard", 1, 0), ("write", 4, 3)])
    if further:
        grown(other, [("mark", 0, 0), ("write", 2, 2)])
    beat(other)
    times = range(first, other.head.timestamp_us, 1500)
    assert len(times) > 6
    for at in times:
        made = rolled_back(author, other)
        made.orders = [DueCopy("late", at)]
        made.follow()
        assert made.site.store.copy("late").timestamp_us == at
        compare(made.site, in_time(made))
        made.check()


@settings(max_examples=200, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs, programs, programs, times, st.integers(0, 99))
def test_the_site_is_the_fold_of_the_new_log(
    common: Program, lost: Program, new: Program, at: list[int], steps: int
) -> None:
    """Whatever both histories hold: volumes with one id, drops, copies onto volumes, copies by time inside batches."""
    made = fork(common, lost, new, at, steps)
    copy = common_copy(made.site.store, made.new)
    if copy is None:
        return
    roll_back(made.site, made.new, copy)
    made.check()
    check_generations(made.site.keyspace)
    made.follow()
    made.check()
    compare(made.site, in_time(made))
    check_generations(made.site.keyspace)


@settings(max_examples=120, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs, programs, programs, times, st.integers(1, 4), st.booleans())
def test_cut_short_at_every_transaction(
    common: Program, lost: Program, new: Program, at: list[int], every: int, applied: bool
) -> None:
    """Nobody reads or applies before it has ended, and running it again ends it."""
    made = fork(common, lost, new, at)
    copy = common_copy(made.site.store, made.new)
    if copy is None:
        return
    if every > 1 or applied:
        roll_back_with_crashes(made.site, made.new, copy, every, applied=applied)
    else:
        roll_back(made.site, made.new, copy)
    made.check()
    made.follow()
    made.check()
    compare(made.site, in_time(made))


@settings(max_examples=120, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs, programs, programs, programs, st.booleans(), times)
def test_twice(common: Program, lost: Program, new: Program, newest: Program, drop: bool, at: list[int]) -> None:
    """The second history is lost as well, from some place in it on; and in the end nothing is left of any of it."""
    made = fork(common, lost, new, at)
    copy = common_copy(made.site.store, made.new)
    if copy is None:
        return
    roll_back(made.site, made.new, copy)
    made.follow()
    if drop:
        for lost_copy in made.site.store.copies(lost=True)[::2]:
            if lost_copy.origin is CopyOrigin.LOST:
                made.site.store.mark_dropping(lost_copy)
        made.site.crash()
        made.site.maintain(5)
    third = forked(grown(begun(), common), 2)
    grown(third, newest)
    beat(third)
    again = Fork(made.site, made.new, third, made.orders)
    copy = common_copy(again.site.store, third)
    if copy is None:
        return
    roll_back(again.site, third, copy)
    again.check()
    again.follow()
    again.check()
    compare(again.site, in_time(again))
    check_generations(again.site.keyspace)


@settings(max_examples=120, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs, programs, programs, st.integers(0, 9), times)
def test_lost_copies_are_dropped(common: Program, lost: Program, new: Program, order: int, at: list[int]) -> None:
    """In any order: no other copy changes, the site then names what an equal site names, and nothing is left."""
    made = fork(common, lost, new, at)
    copy = common_copy(made.site.store, made.new)
    if copy is None:
        return
    roll_back(made.site, made.new, copy)
    made.follow()
    other = in_time(made)
    left = [one for one in made.site.store.copies(lost=True) if one.origin is CopyOrigin.LOST]
    while left:
        gone = left.pop(order % len(left))
        kept = [one for one in made.site.store.copies(lost=True) if one.generation != gone.generation]
        were = contents(made.site.store, kept)
        assert made.site.store.mark_dropping(gone)
        made.site.crash()
        made.site.finish()
        assert contents(made.site.store, kept) == were
        check_generations(made.site.keyspace)
    compare(made.site, other)
    if holds(made.site).keys() == holds(other).keys():  # or the lost history has dropped some
        assert named(made.site) == named(other)
    made.new.mark("the last")  # a cut lets the generation go that nobody's copy began
    made.follow()
    other.finish()
    assert [key for key in end_all(made.site) if key != b"begun"] == end_all(other)  # it does not vouch alone any more
