"""What comes in between while a region is promoted, or taken up again."""

from collections.abc import Iterator

import pytest

from tests.consumers.conftest import Lab, until, written
from tests.consumers.mirror_lab import MirrorLab
from tests.recovery.region_lab import promoted, take_up
from tests.recovery.test_region_lost import lose, rolled_back
from tidelog.consumers import access
from tidelog.consumers.access import open_group
from tidelog.errors import Fenced, UsageError
from tidelog.producers.control import Control, ControlView
from tidelog.producers.mirrors import mirror_here
from tidelog.recovery.promote import Promotion
from tidelog.recovery.promote_plan import plan_promotion
from tidelog.recovery.region_return import find_seal
from tidelog.recovery.trim import plan as plan_trim
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.mirrors import HistorySealed


@pytest.fixture
def unnamed(a: Lab) -> Iterator[MirrorLab]:
    """Region b, which knows of its source the group's id alone."""
    there = MirrorLab(a, told=False)
    yield there
    there.end()


def test_a_promotion_that_another_has_overtaken_seals_nothing(a: Lab, b: MirrorLab) -> None:
    """It was planned while the log was a mirror; since then another site was promoted, and an application writes. The
    event that is sealed at stays the last one that came, so that the lost region can be taken up."""
    lose(a, b)
    b.worker("london")
    common = b.store("osaka").position().head
    until(lambda: b.status("london") and b.store("london").position().head.sequence == common.sequence, "london")
    overtaken = plan_promotion(b.deployment, "osaka", "bank", forced=True, timeout=20)
    promoted(b, "london")
    writer = written(b.group())
    b.caught_up()
    with pytest.raises(Fenced, match="another promotion"):
        Promotion(b.deployment, overtaken).run()
    found = [one for one in b.control.snapshot().values() if isinstance(one, HistorySealed)]
    assert [(one.sequence, one.seal) for one in found] == [(common.sequence, common.seal)]
    written(writer)  # and is not fenced
    take_up(a, b)


def test_an_opening_that_looked_before_the_seal_writes_nothing(
    a: Lab, b: MirrorLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application in the lost region that opens its group in the moment in which the region is taken up: its session
    would extend the event that seals the log, and each flush would return for what no site ever applies."""
    lose(a, b)
    promoted(b, "osaka")
    waits = access.await_promotion

    def taken_up_meanwhile(control: Control, record: GroupCreated) -> ControlView:
        take_up(a, b)
        return waits(control, record)

    monkeypatch.setattr(access, "await_promotion", taken_up_meanwhile)
    with pytest.raises(UsageError, match="sealed"):
        open_group("bank", deployment=a.deployment)


def test_a_mirror_that_knew_an_id_alone_seals_no_later_log(a: Lab, unnamed: MirrorLab) -> None:
    """b's word of a log without a name is of a's first one: not of the one in which the group has come home."""
    b = unnamed
    lose(a, b)
    promoted(b, "osaka")
    written(b.group())
    _, back = take_up(a, b)
    back.send()
    until(lambda: a.status("tokyo").state == "HALTED", "tokyo's halt")
    rolled_back(a, "tokyo")
    a.caught_up("tokyo")
    promoted(a, "tokyo")
    written(a.group())
    assert mirror_here(a.control.snapshot(), "bank", a.log.id) is None
    assert find_seal(a.cluster, "bank", b.control.snapshot()) is None  # `group mirror` in a, by mistake


def test_a_trim_waits_for_a_region_that_is_known_by_an_id_alone(a: Lab, unnamed: MirrorLab) -> None:
    """docs/runbooks/region-lost.md: while a is away `log trim` is refused in b."""
    lose(a, unnamed)
    promoted(unnamed, "osaka")
    written(unnamed.group())
    unnamed.caught_up()
    with pytest.raises(UsageError, match="is away"):
        plan_trim(unnamed.deployment, "bank")
    assert plan_trim(unnamed.deployment, "bank", without=["unknown"]).group == "bank"
    take_up(a, unnamed)
    with pytest.raises(UsageError, match=r"mirrored to cluster memory\.R2"):
        plan_trim(unnamed.deployment, "bank")
