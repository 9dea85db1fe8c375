"""Late copies: a site that hears of a time too late makes the copy that a cut in time would have made (G4)."""

import os
from itertools import permutations, product

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from late_lab import (
    LateAuthor,
    LateSite,
    end_all,
    has_split,
    holds,
    key_shapes,
    named,
    unfinished,
)
from store_lab import check_generations

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


def check_equal(late: LateSite, timely: LateSite, *, keys: bool = True, counts: bool = True) -> None:
    """Every copy the same at both, down to bitmaps; and nothing is left over once the copies are gone."""
    late.author.mark("end")
    for site in (late, timely):
        site.finish()
        assert not unfinished(site) and not has_split(site)
        check_generations(site.keyspace)
    assert holds(late, counts=counts) == holds(timely, counts=counts)
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
        check_generations(site.keyspace)
    site.finish()
    site.order(orders)
    site.finish()
    before = author.log[0][0].timestamp_us
    refused = {name: reason for name, reason in site.refused().items() if dict_of(orders)[name] >= before}
    for reason in refused.values():  # both can only be where volumes are copied
        lacking = "does not hold any more" in reason and author.lacks_a_source()
        assert lacking or "is deleted since, and a copy went onto it" in reason, reason
    timely = in_time(author, [order for order in orders if order.name not in refused])
    check_equal(site, timely, counts=not refused)  # a cut that a site could not make counts in some numbers only


def dict_of(orders: list[DueCopy]) -> dict[str, int]:
    return {order.name: order.at_us for order in orders}


# What happens between two copies, before the time and behind it.
SHORT = {
    "write": ("write", 1, 0),
    "other": ("write", 3, 5),
    "discard": ("discard", 9, 1),
    "resize": ("resize", 0, 3),
    "create": ("create", 0, 5),
    "delete": ("delete", 0, 0),
    "copy": ("copy", 1, 0),
    "restore": ("copy", 0, 1),
    "mark": ("mark", 0, 0),
}


def short_program(names: tuple[str, ...]) -> tuple[LateAuthor, list[DueCopy]]:
    """Some content, a copy, the operations, a copy; and every time at and between them."""
    author = LateAuthor()
    author.grow("create", 0, 6)
    author.grow("write", 4, 2)
    author.grow("mark", 0, 0)
    first = author.head.timestamp_us
    for name in names:
        author.grow(*SHORT[name])
    last = author.head.timestamp_us
    author.grow("mark", 0, 0)
    author.grow("write", 2, 3)
    return author, [DueCopy(f"t{at}", at) for at in range(first, last + 1000, 1000)]


@pytest.mark.parametrize("first", SHORT)
def test_every_short_program_with_a_crash_at_every_step(first: str) -> None:
    """Two operations between two copies, a late copy of every moment, cut short at each of its transactions in turn,
    before it took effect or after: it ends as if nothing had happened."""
    for names in [(first,), *product([first], SHORT)]:
        author, orders = short_program(names)
        for order in orders:
            timely = in_time(author, [order])
            expected = holds(timely), named(timely), key_shapes(timely.keyspace)
            nth = 0
            while True:
                nth += 1
                site = LateSite(author)
                site.finish()
                site.order([order])
                before = site.keyspace.transactions
                site.keyspace.fail(nth, applied=bool(nth % 2))
                site.finish()
                site.keyspace._fault = None
                assert site.refused() == {} and not unfinished(site)
                assert (holds(site), named(site), key_shapes(site.keyspace)) == expected
                if site.keyspace.transactions - before < nth:
                    break


def test_readers_see_the_same_between_every_step() -> None:
    """While a late copy is slipped in, with writes going on: every other copy stays byte for byte what it is."""
    for names in product(("write", "other", "discard", "copy"), repeat=3):
        author, orders = short_program(names)
        site = LateSite(author)
        site.finish()
        before = {copy.sequence: copy for copy in site.store.copies()}
        steps = [0]

        author.model.fold(author.log)
        images = {sequence: author.model.copies[sequence][1].volumes for sequence in before}

        def check(site: LateSite = site, before: dict = before, images: dict = images, steps: list = steps) -> None:
            steps[0] += 1
            for sequence, elder in before.items():
                for info in elder.volumes:
                    data = images[sequence][info.id][1]
                    assert site.store.read(info, 0, info.size, elder) == data

        site.after_step = check
        site.order(orders)
        site.maintain(4)
        author.grow("write", 4, 1)
        site.finish()
        assert steps[0] > 20 and len(site.store.copies()) == len(before) + len(orders)


def test_copies_of_one_time() -> None:
    """Of three commands of one time, two late in any order: each has a copy, counted in the order of their names."""
    for late in permutations((0, 1, 2)):
        author, orders = short_program(("write", "other", "discard"))
        same = [DueCopy(name, orders[2].at_us) for name in "abc"]
        site = LateSite(author)
        site.order([same[late[0]]])
        site.finish()
        site.order([same[index] for index in late[:2]])
        site.finish()
        site.order(same)
        check_equal(site, in_time(author, same))


def test_twice_is_once() -> None:
    """A command heard again, and after it was obeyed, changes nothing."""
    author, orders = short_program(("write", "other"))
    site = LateSite(author)
    site.finish()
    for _ in range(3):
        site.order([*orders[:2], *orders[:2]])
        site.finish()
        site.crash()
    assert sorted(copy.name for copy in site.store.copies() if copy.name[0] == "t") == sorted(
        o.name for o in orders[:2]
    )


def test_taken_back_at_every_step() -> None:
    """A command that is taken back while its copy is made leaves no key behind."""
    author, orders = short_program(("write", "create", "other"))
    idle = in_time(author, [])
    shapes = key_shapes(idle.keyspace)
    for steps in range(60):
        site = LateSite(author)
        site.finish()
        site.order(orders[1:2])
        site.maintain(steps)
        site.order(())
        site.finish()
        for copy in site.store.copies():
            if copy.name == orders[1].name:
                site.store.mark_dropping(copy)
                site.crash()
        site.finish()
        assert key_shapes(site.keyspace) == shapes


def test_a_copy_that_is_dropped_meanwhile() -> None:
    """The copy before, or the one behind, is dropped at every step: the late one is right, and so is what stays."""
    for which, steps in product((0, 1), range(1, 30)):
        author, orders = short_program(("write", "other", "discard"))
        site, timely = LateSite(author), in_time(author, orders[2:3])
        site.finish()
        site.order(orders[2:3])
        site.maintain(steps)
        for one in (site, timely):
            markers = [copy for copy in one.store.copies() if copy.name[0] == "m"]
            assert one.store.mark_dropping(markers[which])
            one.crash()
        check_equal(site, timely)


def test_what_the_log_lost() -> None:
    """Trimmed behind the copy before the time: none is made, and why; from a copy that is behind that, it is."""
    author, orders = short_program(("write", "other", "mark", "write"))
    marks = [at for at, (event, _) in enumerate(author.log) if event in author.markers]
    site = LateSite(author, trimmed=marks[1])
    site.order(())
    site.finish()
    site.order(orders)
    site.finish()
    reached = [order for order in orders if order.at_us >= author.markers[1].timestamp_us]
    assert site.refused().keys() == {order.name for order in orders} - {order.name for order in reached}
    check_equal(site, in_time(author, reached))


def test_no_room_is_said() -> None:
    """As many as fit go into one gap, each behind the one before; then a command says that there is no room."""
    author, orders = short_program(("write",) * 6)
    many = [DueCopy(f"n{at:03}", orders[1].at_us + at) for at in range(30)]
    site = LateSite(author)
    site.finish()
    for count in range(1, len(many) + 1):
        site.order(many[:count])
        site.finish()
    refused = site.refused()
    assert 0 < len(refused) < 10 and all("no room" in reason for reason in refused.values())
    assert len(site.store.copies()) == len(many) - len(refused) + len(author.markers)
