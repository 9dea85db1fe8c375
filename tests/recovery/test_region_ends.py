"""Where logs of a region end: behind the seal, before the event that both are said to have, before the region's own."""

from collections.abc import Iterator

import pytest

from tests.consumers.conftest import Lab, until, written
from tests.consumers.mirror_lab import MirrorLab
from tests.producers.author import following, put
from tests.recovery.region_lab import promoted, take_up
from tests.recovery.test_region_lost import lose, rolled_back
from tidelog.errors import UsageError
from tidelog.producers.mirrors import seals_of
from tidelog.recovery.region_return import find_seal, seal_own
from tidelog.schemas.events import Heartbeat


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Region a."""
    there = Lab()
    yield there
    there.end()


@pytest.fixture
def b(lab: Lab) -> Iterator[MirrorLab]:
    """Region b."""
    there = MirrorLab(lab)
    yield there
    there.end()


def test_a_log_is_sealed_once_whatever_a_fenced_writer_sends(lab: Lab, b: MirrorLab) -> None:
    """The command is cut short behind the seal, a writer that lives sends once more, and the command is given again."""
    lose(lab, b)
    promoted(b, "osaka")
    before, log = lab._groups[-1].session.confirmed, lab.log
    sealed = find_seal(lab.cluster, "bank", b.control.snapshot())
    assert sealed is not None
    seal_own(lab.cluster, sealed)
    put(log, following(Heartbeat, before), lab.codec)
    end = log.bounds().end
    lost, _ = take_up(lab, b)
    assert log.bounds().end == end and lost.until.sequence == before.sequence


def test_a_region_that_has_lost_the_end_of_its_own_log(lab: Lab, b: MirrorLab) -> None:
    """Its Kafka has come back with less than it had sent: nothing of it is lost, and its sites' heads are all in b."""
    lose(lab, b, tail=False)
    lab._groups[-1].abandon()
    lab.log.truncate(lab.log.bounds().end - 3)
    promoted(b, "osaka")
    written(b.group())
    lost, _ = take_up(lab, b)
    assert not lost.events


def test_a_promotion_below_what_the_region_itself_has(lab: Lab, b: MirrorLab) -> None:
    """a is back, and b is lost before it has sent all that both had: a's own sealed log has more than its new one."""
    common = lose(lab, b, tail=False).sequence
    promoted(b, "osaka")
    written(b.group())
    _, back = take_up(lab, b)
    back.send(5)
    lab.worker("london")
    until(lambda: lab.status("london") and lab.store("london").position().head.offset == 4, "london has these")
    with pytest.raises(UsageError, match="where its own log was sealed") as refused:
        promoted(lab, "london")
    assert "--give-up" in refused.value.hint
    given_up = promoted(lab, "london", give_up=True).sealed
    assert given_up is not None and given_up.sequence < common
    assert {one.sequence for one in seals_of(lab.control.snapshot(), "bank")} == {given_up.sequence}
    written(lab.group())
    rolled_back(lab, "tokyo")  # its own past up to the seal is lost too
    lab.caught_up("tokyo")
    lab.caught_up("london")
