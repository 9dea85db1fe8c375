"""Two sites with lags of their own, and everything that is done with copies at once: by marker and by time, onto
volumes and back, clones, drops in every order, restores; against the model, and against one another."""

import os
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from late_lab import LateAuthor, LateSite, end_all, holds
from store_lab import check_generations
from timed_lab import check_copies, check_live, expected_of

from tidelog.errors import NotFound
from tidelog.schemas.events import Heartbeat
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.store import CopyOrigin
from tidelog.stores.timed import DueCopy

PHASES = [phase for phase in Phase if phase is not Phase.shrink or "TIDELOG_SHRINK" in os.environ]
STEPS = ("drop", "plan", "volume_copy", "late", "late_values", "handing", "clone_drop")
sites = st.integers(0, 1)
numbers = st.integers(0, 11)
LIMIT_LATE = 5  # commands that are given, so that there is room for them in every gap


@dataclass
class Drill:
    """A clone at one site, and all that it must hold."""

    image: CloneImage
    volumes: dict[int, bytearray]


@dataclass
class OneSite:
    """A site, how many of the commands it has heard, and its clones."""

    site: LateSite
    heard: int = 0
    clones: dict[str, Drill] = field(default_factory=dict)
    made: int = 0


class TwoSites(RuleBasedStateMachine):
    """One log, two stores; every operation on a store is followed by a look at all that it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        for name in STEPS:
            self.patches.setattr(f"tidelog.stores.{name}.STEP_BLOCKS", 2)
        self.patches.setattr("tidelog.stores.plan.STEP_SPAN_BLOCKS", 5)
        self.author = LateAuthor()
        for volume in ("v1", "v2"):
            self.author.create(volume, 5 * 512)
            self.author.grow("write", 4, len(volume))
            self.author.grow("mark", 0, 0)
        self.orders: list[DueCopy] = []
        self.back: set[str] = set()  # commands that were taken back
        self.sites = [OneSite(LateSite(self.author)) for _ in range(2)]

    # --- the log, and the commands ---

    @rule(
        kind=st.sampled_from(["write", "write", "discard", "resize", "create", "delete", "beat"]),
        one=numbers,
        two=numbers,
    )
    def event(self, kind: str, one: int, two: int) -> None:
        self.author.grow(kind, one, two)

    @rule(written=numbers)
    def cut(self, written: int) -> None:
        """By marker, behind a write."""
        self.author.grow("write", written, written)
        self.author.grow("mark", 0, 0)

    @rule(one=numbers, two=numbers, times=st.integers(1, 3))
    def copy_onto_a_volume(self, one: int, two: int, times: int) -> None:
        """From another volume, live or from a copy, and back; or a restore. Several in a row are chains."""
        for number in range(times):
            self.author.grow("copy", one + number, two)

    @rule(number=numbers)
    def drop_by_the_log(self, number: int) -> None:
        self.author.grow("drop", number, 0)

    @rule(half=st.integers(-9, 5), which=sites)
    def order(self, half: int, which: int) -> None:
        """A copy by time, before or behind the log's end, at an event's or a write's own time or between two. One site
        hears of it at once, and both later."""
        if len(self.orders) < LIMIT_LATE:
            self.sites[which].heard = len(self.orders) + 1
            at = max(self.author.log[0][0].timestamp_us, self.author.head.timestamp_us + half * 500)
            self.orders.append(DueCopy(f"t{len(self.orders)}", at))
            self.obey(self.sites[which])
            self.author.grow("write", 4, half % 12)

    @rule(number=numbers)
    def take_back(self, number: int) -> None:
        if self.orders:
            self.back.add(self.orders[number % len(self.orders)].name)

    # --- one of the sites ---

    def obey(self, one: OneSite) -> None:
        """What the site has heard, and what of it was taken back, as a worker does."""
        stand = [order for order in self.orders[: one.heard] if order.name not in self.back]
        one.site.order(stand)
        for copy in one.site.store.copies():
            if copy.origin is CopyOrigin.TIME and copy.name in self.back:
                assert one.site.store.mark_dropping(copy)

    @rule(which=sites, hears=st.booleans(), count=st.integers(1, 20), steps=st.integers(0, 8))
    def go_on(self, which: int, hears: bool, count: int, steps: int) -> None:
        """Applies some events, does some of what is due, and may hear of commands."""
        one = self.sites[which]
        if hears:
            one.heard = len(self.orders)
            self.obey(one)
        one.site.apply(count)
        one.site.maintain(steps)

    @rule(which=sites, nth=st.integers(1, 6), applied=st.booleans())
    def lose_the_connection(self, which: int, nth: int, applied: bool) -> None:
        site = self.sites[which].site
        site.keyspace.fail(nth, applied=applied)
        site.apply(8)
        site.maintain(nth)
        site.keyspace._fault = None

    @rule(which=sites)
    def crash(self, which: int) -> None:
        self.sites[which].site.crash()

    @rule(which=sites, number=numbers)
    def clone(self, which: int, number: int) -> None:
        """Of any copy that the site has by now."""
        one = self.sites[which]
        one.site.apply(3 * number)
        copies = one.site.store.copies()
        if not copies or len(one.clones) > 2:
            return
        copy, name = copies[number % len(copies)], f"d{one.made}"
        one.made += 1
        made = one.site.store.clones.create(copy, name)
        volumes = expected_of(self.author, self.author.model, copy)[2]
        content = {number: bytearray(data) for number, (_, data) in volumes.items()}
        one.clones[name] = Drill(one.site.store.clones.image(made), content)
        self.write_in_clones(which, number, 100 * number, 700)

    @rule(which=sites, number=numbers, where=st.integers(0, 2000), length=st.integers(1, 1200))
    def write_in_clones(self, which: int, number: int, where: int, length: int) -> None:
        """Data, or zeros."""
        for drill in self.sites[which].clones.values():
            for info in drill.image.clone.base.volumes:
                offset = where % info.size
                size = min(length, info.size - offset)
                if number % 3:
                    drill.image.write(info, offset, bytes([number + 1]) * size)
                else:
                    drill.image.discard(info, offset, size)
                drill.volumes[info.id][offset : offset + size] = (bytes([number + 1]) if number % 3 else b"\0") * size

    @rule(which=sites, number=numbers)
    def drop_a_clone(self, which: int, number: int) -> None:
        one = self.sites[which]
        if one.clones:
            name = sorted(one.clones)[number % len(one.clones)]
            one.clones.pop(name)
            one.site.store.clones.drop(name)

    # --- what must hold ---

    @invariant()
    def all_is_what_it_must_be(self) -> None:
        for one in self.sites:
            check_live(one.site, self.author, self.author.model)
            check_copies(one.site, self.author, self.author.model)
            check_generations(one.site.keyspace)
            for drill in one.clones.values():
                for info in drill.image.clone.base.volumes:
                    assert drill.image.read(info, 0, info.size) == drill.volumes[info.id]

    def teardown(self) -> None:
        """Both come to the end: the same copies, bytes and digests; whoever lacks one has said why, and rightly."""
        try:
            self.end()
        finally:
            self.patches.undo()

    def end(self) -> None:
        for _ in range(10):
            self.author.add(Heartbeat)
        for one in self.sites:
            one.heard = len(self.orders)
            self.finish(one)
        refused: dict[str, str] = {}
        for one in self.sites:
            refused |= one.site.refused()
        for reason in refused.values():
            lacking = "does not hold any more" in reason and self.author.lacks_a_source()
            assert lacking or "is deleted since, and a copy went onto it" in reason, reason
        self.back |= refused.keys()
        for one in self.sites:
            self.finish(one)
        self.all_is_what_it_must_be()
        first, second = (holds(one.site, counts=not self.back) for one in self.sites)
        assert first == second
        stand = {order.name for order in self.orders} - self.back
        state = self.author.model.states[self.author.head.sequence]
        markers = {marker.sequence for marker in self.author.markers} - state.dropped
        assert {name for name, _ in first if name[0] == "t"} == stand
        assert {sequence for name, sequence in first if name[0] == "m"} == markers
        self.nothing_is_left()

    def finish(self, one: OneSite) -> None:
        self.obey(one)
        one.site.finish()
        self.obey(one)
        one.site.finish()

    def nothing_is_left(self) -> None:
        """Once clones and copies are gone, both stores have the same keys."""
        for one in self.sites:
            for name, drill in one.clones.items():
                one.site.store.clones.drop(name)
                with pytest.raises(NotFound):
                    drill.image.state()
            one.clones.clear()
        self.author.mark("last")
        for one in self.sites:
            one.site.finish()
        first, second = (end_all(one.site) for one in self.sites)
        assert first == second


def test_two_sites_that_lag_differently() -> None:
    """Whatever is done with copies, in whatever order: each site holds what the model says at every moment, and in the
    end both hold the same, byte for byte."""
    run_state_machine_as_test(
        TwoSites,
        settings=settings(
            max_examples=120,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )
