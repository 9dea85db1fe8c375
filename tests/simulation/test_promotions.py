"""Promotions among writers and sites that do to one another what they like: `tests.simulation.world` with two more
operations, and what they promise.

- A session that steps down has all that it had accepted in the log, where it counts.
- A planned promotion opens its epoch right behind the session that has stepped down, or not at all; a forced one
  whoever is there. Either way what was ever confirmed counts (the world's own rule I2).
"""

import os
from collections.abc import Iterator
from random import Random

import pytest

from tests.simulation.actors import GROUP_ID, WRITERS, Op, Violation, Writer
from tests.simulation.coroutine import Coroutine
from tests.simulation.judgement import judge_refusal
from tests.simulation.search import WEIGHTS
from tests.simulation.stepped import Settings, step, without_threads
from tests.simulation.world import World
from tidelog.clock import wall_us
from tidelog.producers import opening
from tidelog.producers.log import UNKNOWN_OFFSET
from tidelog.producers.stepping_down import step_down
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.promotions import PromotionAsked, opened_for

SCHEDULES = max(800, int(os.environ.get("TIDELOG_SIM_SCHEDULES", "0")))
ODDS = {name: odds for name, odds in WEIGHTS.items() if name != "truncate"} | {"stop": 10, "promote": 12, "plan": 12}


class Promoting(World):
    """See the module. A writer's process that promotes holds no session meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.behind: dict[int, bytes | None] = {}  # by the writer whose process promotes
        self.promoted = 0

    def stop(self, a: int, _b: int, _c: int) -> None:
        """A session is asked to end, and what it has sent arrives in order."""
        writer = self.writers[a % WRITERS]
        session = writer.live
        if session is None:
            return
        session._close_batch()
        while (send := writer.undecided()) is not None:
            if send.offset == UNKNOWN_OFFSET:
                send.land()
            send.acknowledge()
        step(session)
        asked = PromotionAsked(
            group="bank",
            site="osaka",
            epoch=session.epoch,
            writer=session.writer,
            forced=False,
            asked_us=wall_us(),
            expires_us=wall_us() + 60_000_000,
            asked_by="elsewhere:1",
        )
        accepted = session._planned
        if not step_down(session, asked):
            return
        assert writer.session is not None
        writer.session.judged = True  # nobody has fenced it
        event = self.reference().at(accepted.sequence)
        if event is None or event.seal != accepted.seal:
            raise Violation(f"a session stepped down, and sequence {accepted.sequence} of it does not count")

    def promote(self, a: int, _b: int, _c: int) -> None:
        """A forced promotion begins."""
        self._begin(self.writers[a % WRITERS], None)

    def plan(self, a: int, b: int, _c: int) -> None:
        """A planned one begins, behind the session at the log's end, which has ended."""
        reference = self.reference()
        live = {writer.live.writer for writer in self.writers if writer.live is not None}
        if reference.writer not in live and reference.writer:
            self._begin(self.writers[a % WRITERS], reference.writer)
            for _ in range(b):
                self.deliver(a, 0, 0)
                self.go(a, 3, 0)

    def _begin(self, writer: Writer, behind: bytes | None) -> None:
        if writer.opening is not None or writer.live is not None:
            return
        number = self.writers.index(writer)
        self.behind[number] = behind
        writer.sends = []

        def opens() -> Head | None:
            by = opened_for("osaka", "elsewhere:1")
            start, settings = origin(GROUP_ID), Settings()
            log, codec, clock = self.log, self.codec, writer.clock
            return opening.open_epoch(log, codec, start, settings, behind=behind, opened_by=by, clock=clock)

        writer.opening = Coroutine(opens)
        self.resume(writer)

    def resume(self, writer: Writer) -> None:
        """As the world's, for an opening that makes no session."""
        number = self.writers.index(writer)
        if number not in self.behind:
            super().resume(writer)
            return
        coroutine = writer.opening
        assert coroutine is not None
        first = len(self.log.sent)
        done = coroutine.resume()
        writer.sends += self.log.sent[first:]
        if not done:
            return
        writer.opening = None
        behind = self.behind.pop(number)
        if coroutine.error is not None:
            judge_refusal(self, coroutine.error)
        elif isinstance(coroutine.result, Head):
            self._judge_promotion(coroutine.result, behind)

    def crash(self, a: int, b: int, c: int) -> None:
        """As the world's; a promotion dies with its process."""
        super().crash(a, b, c)
        self.behind.pop(a % WRITERS, None)

    def _judge_promotion(self, opened: Head, behind: bytes | None) -> None:
        counted = self.reference().counted
        place = next((at for at, event in enumerate(counted) if event.seal == opened.seal), None)
        if place is None:
            raise Violation(f"a promotion opened epoch {opened.epoch}, which does not count")
        before = counted[place - 1].writer if place else b""
        if behind is not None and before != behind:
            raise Violation(f"a planned promotion has fenced {before.hex()[:6]}, which nobody had asked to end")
        self.promoted += 1


def schedule(seed: int) -> list[Op]:
    random = Random(seed)
    names = random.choices(list(ODDS), list(ODDS.values()), k=random.randint(10, 70))
    return [Op(name, random.randrange(12), random.randrange(12), random.randrange(12)) for name in names]


def outcomes(seeds: range) -> Iterator[tuple[int, str]]:
    """Of each schedule: how many promotions came about in it, and what was violated; empty if nothing was."""
    with without_threads():
        for seed in seeds:
            world, wrong = Promoting(), ""
            try:
                world.run(schedule(seed))
            except Violation as violation:
                wrong = f"seed {seed}: {violation}"
            yield world.promoted, wrong


@pytest.mark.parametrize("part", range(4))
def test_nothing_confirmed_is_void_and_nobody_is_fenced_unasked(part: int) -> None:
    size = SCHEDULES // 4
    found = list(outcomes(range(part * size, (part + 1) * size)))
    assert [wrong for _, wrong in found if wrong] == []
    assert sum(promoted for promoted, _ in found) > size // 4, "promotions came about"


def test_the_schedules_notice_a_promotion_that_looks_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the check left out that nobody has opened meanwhile."""
    really = opening.open_epoch
    monkeypatch.setattr(opening, "open_epoch", lambda *args, **named: really(*args, **named | {"behind": None}))
    assert any("has fenced" in wrong for _, wrong in outcomes(range(SCHEDULES)))
