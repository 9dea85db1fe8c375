"""A region is lost with a tail that nobody else has: the other one goes on, and it comes back.

What every site holds in the end is compared with a fold of the log that the group goes on in, and ``lost-tail`` with a
fold of the log that was sealed.
"""

import contextlib
import threading
from collections.abc import Callable

import pytest

from tests.consumers.conftest import Lab, until, written
from tests.consumers.mirror_lab import Mirror, MirrorLab
from tests.recovery.region_lab import promoted, records, take_up
from tests.reference import Reference
from tidelog.consumers.access import open_group
from tidelog.errors import AlreadyExists, Fenced, LogUnavailable, UsageError
from tidelog.producers.mirrors import MirrorSource, mirror_here
from tidelog.recovery.promote import Promotion
from tidelog.recovery.promote_plan import plan_promotion
from tidelog.recovery.region_return import find_seal, seal_own
from tidelog.recovery.rollback import SiteRollback
from tidelog.recovery.rollback_plan import Way, plan_rollback
from tidelog.recovery.trim import plan as plan_trim
from tidelog.schemas.mirrors import HistorySealed


def rolled_back(region: Lab, site: str) -> None:
    plan = plan_rollback(region.deployment, site, "bank")
    assert plan.way is Way.ROLL_BACK
    for _ in SiteRollback(region.deployment, plan):
        pass


def lose(a: Lab, b: MirrorLab, tail: bool = True) -> Reference:
    """Both regions' sites are up to date, then region a writes what is never sent; the fold of all of it."""
    group = written(a.group())
    a.worker("tokyo")
    b.worker("osaka")
    b.mirror.send()
    b.caught_up()
    if tail:
        written(group)
    a.caught_up("tokyo")
    return a.reference()


def test_the_other_region_goes_on_and_the_lost_one_comes_back(a: Lab, b: MirrorLab) -> None:
    """The promotion seals; the writer of the lost region is fenced; its tail is listed, kept, and rolled back."""
    whole = lose(a, b)
    common = b.store("osaka").position().head
    writer = a._groups[-1]
    with pytest.raises(UsageError, match="is a mirror of memory"):
        plan_promotion(b.deployment, "osaka", "bank", forced=False, timeout=20)
    report = promoted(b, "osaka")
    assert report.sealed is not None and report.sequence == common.sequence + 1
    assert (report.sealed.sequence, report.sealed.seal) == (common.sequence, common.seal)
    assert (report.sealed.timestamp_us, report.sealed.log) == (common.timestamp_us, "memory")
    assert mirror_here(b.control.snapshot(), "bank", b.log.id) is None
    written(b.group())
    b.caught_up()

    with pytest.raises(UsageError, match="the region of cluster memory is away"):
        plan_trim(b.deployment, "bank")
    assert plan_trim(b.deployment, "bank", without=["memory"]).group == "bank"
    lost, back = take_up(a, b)
    with pytest.raises(UsageError, match=r"mirrored to cluster memory\.R2"):
        plan_trim(b.deployment, "bank", without=["memory"])
    assert lost.sequences == (common.sequence + 1, whole.sequence)
    assert lost.writes == 6 and lost.bytes == 3 * (1500 + len("between"))
    assert set(lost.copies) == {copy.name for sequence, copy in whole.copies.items() if sequence > common.sequence}
    assert a.log.name.endswith("bank.R2") and a.log.id == "memory.R2"
    writer.volume(next(iter(whole.image().values()))[0]).write(0, b"nobody")
    with pytest.raises(Fenced):
        writer.flush()
    with pytest.raises(UsageError, match="is a mirror of b"):
        open_group("bank", deployment=a.deployment)

    until(lambda: a.status("tokyo").state == "HALTED", "tokyo's halt")
    assert f"sealed at sequence {common.sequence}" in a.status("tokyo").reason
    assert "tidelog site rollback tokyo --group bank" in a.status("tokyo").hint
    back.send(5)
    with pytest.raises(LogUnavailable, match="still being mirrored"):
        plan_rollback(a.deployment, "tokyo", "bank")
    back.send()
    back.begin(2)
    back.send()
    rolled_back(a, "tokyo")
    tail = a.caught_up("tokyo").copy("lost-tail")
    held = {v.id: (v.name, v.block_size, a.store("tokyo").read(v, 0, v.size, tail)) for v in tail.volumes}
    assert tail.sequence == whole.sequence and held == whole.image()
    written(b.group())
    back.send()
    store = a.caught_up("tokyo")
    assert {copy.sequence: store.digest(copy) for copy in store.copies()} == {
        copy.sequence: b.store().digest(copy) for copy in b.caught_up().copies()
    }


def test_a_region_that_lost_nothing_goes_on_without_a_roll_back(a: Lab, b: MirrorLab) -> None:
    """A planned change: the sites of the other log take the new one up where they stand; and back again."""
    lose(a, b, tail=False)
    promoted(b, "osaka")
    written(b.group())
    lost, back = take_up(a, b)
    assert lost.sequences[0] > lost.sequences[1] and not lost.events and not lost.copies
    until(lambda: "waiting for the mirror" in a.status("tokyo").reason, "tokyo waits")
    back.send()
    a.caught_up("tokyo")
    assert not a.store("tokyo").copies(lost=True)[0].origin.value.startswith("lost")

    promoted(a, "tokyo")
    written(a.group())
    lost, forth = take_up(b, a)
    assert not lost.events and b.log.name.endswith(".R2")
    forth.send()
    b.caught_up()
    until(lambda: a.compare("tokyo").position().head.seal == b.compare().position().head.seal, "both at the end")


def test_what_is_refused(a: Lab, b: MirrorLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """While MirrorMaker may run, nothing is promoted; where nobody was promoted, nothing is taken back."""
    lose(a, b)
    monkeypatch.setattr(type(b.cluster), "mirror_makers", lambda _: ["a-mm2"])
    with pytest.raises(UsageError, match="a-mm2") as running:
        promoted(b, "osaka")
    assert "--mirror-stopped" in running.value.hint
    plan = plan_promotion(b.deployment, "osaka", "bank", forced=True, timeout=20, mirror_stopped=True)
    assert find_seal(a.cluster, "bank", b.control.snapshot()) is None
    with pytest.raises(AlreadyExists, match="no mirror"):
        a.cluster.mirror_group(b.record, MirrorSource(b.log.id, (), b.control))
    Promotion(b.deployment, plan).run()
    sealed = find_seal(a.cluster, "bank", b.control.snapshot())
    assert sealed is not None
    seal_own(a.cluster, sealed)
    with pytest.raises(UsageError, match="was sealed at sequence"):
        open_group("bank", deployment=a.deployment)
    with pytest.raises(UsageError, match="was sealed at sequence"):
        plan_promotion(a.deployment, "tokyo", "bank", forced=True, timeout=20)


class Killed(BaseException):
    """In place of SIGKILL."""


class Dying:
    """A process that is killed when it says its ``step``-th thing to one of these control topics and logs; one that has
    nothing more to say than that lives."""

    def __init__(self, patch: pytest.MonkeyPatch, step: int, *regions: Lab) -> None:
        self._step, self._said = step, 0
        for region in regions:
            for name in ("publish", "retract"):
                patch.setattr(region.control, name, self._counted(getattr(region.control, name)))
            patch.setattr(region.log, "appender", self._counted(region.log.appender))

    def _counted(self, method: Callable[..., object]) -> Callable[..., object]:
        def say(*args: object, **kwargs: object) -> object:
            if threading.current_thread() is threading.main_thread():  # and not a site's worker
                self._said += 1
                if self._said == self._step:
                    raise Killed
            return method(*args, **kwargs)

        return say


@pytest.mark.parametrize("step", range(1, 9))
def test_a_promotion_that_is_killed_at_any_word_goes_on(
    a: Lab, b: MirrorLab, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing said to Kafka may be the last: the same command again ends with the same history sealed, once."""
    lose(a, b)
    common = b.store("osaka").position().head
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        Dying(patch, step, b)
        promoted(b, "osaka")
        assert step == 8, "it has more to say"
    promoted(b, "osaka")
    found = [one for one in b.control.snapshot().values() if isinstance(one, HistorySealed)]
    assert [(one.sequence, one.seal) for one in found] == [(common.sequence, common.seal)]
    assert mirror_here(b.control.snapshot(), "bank", b.log.id) is None
    behind = [event for event in b.reference().counted if event.last > common.sequence]
    assert [event.kind for event in behind] == ["WriterOpened"]
    written(b.group())
    b.caught_up()


@pytest.mark.parametrize("step", range(1, 8))
def test_a_return_that_is_killed_at_any_word_goes_on(
    a: Lab, b: MirrorLab, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was said already: one incarnation more, one seal in the log, and nobody opens the old one meanwhile."""
    whole = lose(a, b)
    promoted(b, "osaka")
    written(b.group())
    before = a.log
    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        Dying(patch, step, a, b)
        take_up(a, b)
        assert step == 7, "it has more to say"
    if step > 1:
        with pytest.raises(UsageError, match=r"sealed at|is a mirror of"):
            open_group("bank", deployment=a.deployment)
    if mirror_here(a.control.snapshot(), "bank", a.cluster.log_id(a.cluster.find_group("bank"))) is None:
        lost, _ = take_up(a, b)
        assert lost.sequences[1] == whole.sequence
    a.record = a.cluster.find_group("bank")
    assert a.log.id == "memory.R2"
    sealing = Reference(a.record.group_id).fold(records(before)).counted[-1]
    assert (sealing.kind, sealing.last) == ("WriterOpened", whole.sequence + 1)
    Mirror(b, a).send()
    until(lambda: a.status("tokyo").state == "HALTED", "tokyo's halt")
    rolled_back(a, "tokyo")
    a.caught_up("tokyo")
