"""Every program of up to three operations with copies by time in it, in time and late, over a volume of three blocks
and one of one, with a crash at every transaction."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import Any

import pytest
from late_lab import LateSite, holds, key_shapes, named, unfinished
from store_lab import Author, Model
from timed_lab import check_copies, check_live

from tidelog.errors import StoreUnavailable
from tidelog.schemas.events import Discard, Event, Heartbeat
from tidelog.stores.keyspace import PositionMoved
from tidelog.stores.store import CopyOrigin
from tidelog.stores.timed import DueCopy

BLOCK = 512


@pytest.fixture
def small_late_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a late copy takes in steps, too."""
    for name in ("late", "late_values", "handing"):
        monkeypatch.setattr(f"tidelog.stores.{name}.STEP_BLOCKS", 2)


@dataclass(frozen=True)
class Phase:
    """Up to where the log is written, and the commands that have been given by then and stand."""

    length: int
    orders: tuple[DueCopy, ...]


@dataclass
class Story(Author):
    """A log of volumes ``v`` and ``w``, commands for copies by time, and which of them come first."""

    orders: list[DueCopy] = field(default_factory=list)
    given: int = 0
    phases: list[Phase] = field(default_factory=list)
    length: int | None = None  # how much of the log is written yet

    def __post_init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.v, self.w = self.create("v", 3 * BLOCK), self.create("w", BLOCK)
        self.batch()
        self.markers: list[Event] = [self.mark("m0")]
        self.batch()
        self.say()

    def after(self, sequence: int) -> list[tuple[Event, int]]:
        return [(event, offset) for event, offset in self.log[: self.length] if event.sequence > sequence]

    def say(self) -> None:
        self.phases.append(Phase(len(self.log), tuple(self.orders)))

    def batch(self) -> None:
        """A write of each kind, at times of their own: whole, across two blocks, the other volume, a part."""
        letter = bytes([len(self.log) + 64])
        self.write(
            (self.v, 0, letter * BLOCK),
            (self.v, 2 * BLOCK - 20, letter * 40),
            (self.w, 0, letter * BLOCK),
            (self.v, 10, b"." + letter),
        )

    def onto(self) -> None:
        """Copies ``w`` onto ``v``."""
        self.model.fold(self.log)
        self.copy(self.w, self.v, self.model.may_differ(self.w, self.v))

    def order(self, at_us: int) -> None:
        self.orders.append(DueCopy(f"t{self.given}", at_us))
        self.given += 1

    def drop_oldest(self) -> None:
        if self.markers:
            self.drop(self.markers.pop(0))


ORDERS: dict[str, Callable[[Story], object]] = {
    "ahead": lambda story: story.order(story.head.timestamp_us + 500),
    "ahead, inside": lambda story: story.order(story.head.timestamp_us + 1000),  # equal to a write's time
    "past, inside": lambda story: story.order(story.head.timestamp_us - 1500),
    "long past": lambda story: story.order(story.log[4][0].timestamp_us + 2000),  # of a write behind the first marker
}
OTHERS: dict[str, Callable[[Story], object]] = {
    "batch": Story.batch,
    "discard": lambda story: story.add(Discard, volume=story.v, offset=100, length=2 * BLOCK),
    "onto": Story.onto,
    "mark": lambda story: story.markers.append(story.mark(f"m{len(story.log)}")),
    "drop": Story.drop_oldest,
    "take back": lambda story: story.orders and story.orders.pop(),
}
OPERATIONS = ORDERS | OTHERS


def told(names: tuple[str, ...]) -> Story:
    """The operations, one a phase, and an end behind which every time lies."""
    story = Story()
    for name in names:
        OPERATIONS[name](story)
        story.say()
    for _ in range(3):
        story.add(Heartbeat)
    story.mark("end")
    story.say()
    return story


class Site(LateSite):
    """Hears of each command when it is given, as a worker does; checked whenever it has lost its applier."""

    author: Story

    def crash(self) -> None:
        super().crash()
        self.check()

    def check(self) -> None:
        check_live(self, self.author, self.author.model)
        check_copies(self, self.author, self.author.model)

    def work(self, phase: Phase) -> None:
        """Obeys, until nothing is left to do: what was taken back is dropped."""
        self.author.length = phase.length
        self.order(phase.orders)
        while True:
            self.finish()
            stand = {(order.name, order.at_us) for order in phase.orders}
            copies = [copy for copy in self.store.copies() if copy.origin is CopyOrigin.TIME]
            back = [copy for copy in copies if (copy.name, copy.timestamp_us) not in stand]
            if not back:
                break
            try:
                self.store.mark_dropping(back[0])
            except (StoreUnavailable, PositionMoved):
                self.check()
        assert self.refused() == {} and not unfinished(self)

    def finish(self) -> None:
        """As far as the log is written."""
        last = self.author.log[self.author.length - 1][0].last_sequence
        while self.store.position().head.sequence < last:
            self.apply()
        idle = False
        while not idle:
            steps = [True]
            self.use(lambda applier, steps=steps: steps.append(applier.maintain() or applier.forming is not None))
            idle = not steps[-1]


@cache
def begun() -> dict[bytes, Any]:
    """The store of a site that has applied what every story begins with."""
    story = Story()
    site = Site(story)
    site.work(story.phases[0])
    return site.keyspace.snapshot()


def run(story: Story, crash: int = 0, *, applied: bool = False) -> tuple[Site, int]:
    """Lives through a story with a crash at a transaction (0: none); the transactions that it took."""
    site = Site(story)
    site.keyspace.restore(begun())
    before = site.keyspace.transactions
    if crash:
        site.keyspace.fail(crash, applied=applied)
    for phase in story.phases[1:]:
        site.work(phase)
    site.check()
    site.keyspace._fault = None
    return site, site.keyspace.transactions - before


def in_time(story: Story) -> Site:
    """A site that knew from the beginning of all the commands that stand in the end."""
    site = Site(story)
    site.work(story.phases[-1])
    return site


def outline(site: Site, *, counts: bool) -> tuple[object, ...]:
    """What the site holds, but for the bytes, which `Site.check` has looked at."""
    copies = [(copy.name, copy.sequence, copy.blocks_changed if counts else 0) for copy in site.store.copies()]
    return copies, named(site), key_shapes(site.keyspace)


@pytest.mark.usefixtures("small_steps", "small_late_steps")
@pytest.mark.parametrize("first", OPERATIONS)
def test_every_short_program_with_a_crash_at_every_transaction(first: str) -> None:
    """Whatever is written, cut, dropped and taken back around it: each copy by time has, in both volumes, what was
    written up to its time; in the end the site holds what one that knew all in time does, down to bitmaps and keys."""
    for rest in [(), *product(OPERATIONS, repeat=1), *product(OPERATIONS, repeat=2)]:
        names = (first, *rest)
        if not ORDERS.keys() & names:
            continue
        story = told(names)
        taken_back = len(story.orders) < story.given
        timely = in_time(story)
        site, transactions = run(story)
        assert holds(site, counts=not taken_back) == holds(timely, counts=not taken_back), names
        left = outline(timely, counts=not taken_back)
        assert {name for name, *_ in left[0]} == {one.name for one in (*story.orders, *story.markers, story.log[-1][0])}
        for crash in range(transactions + 1):
            if crash:
                site, _ = run(story, crash, applied=bool(crash % 2))
            assert outline(site, counts=not taken_back) == left, (names, crash)
