"""Where logs of a region end: behind the seal, before the event that both are said to have, before the region's own."""

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


def test_a_log_is_sealed_once_whatever_a_fenced_writer_sends(a: Lab, b: MirrorLab) -> None:
    """The command is cut short behind the seal, a writer that lives sends once more, and the command is given again."""
    lose(a, b)
    promoted(b, "osaka")
    before, log = a._groups[-1].session.confirmed, a.log
    sealed = find_seal(a.cluster, "bank", b.control.snapshot())
    assert sealed is not None
    seal_own(a.cluster, sealed)
    put(log, following(Heartbeat, before), a.codec)
    end = log.bounds().end
    lost, _ = take_up(a, b)
    assert log.bounds().end == end and lost.until.sequence == before.sequence


def test_a_region_that_has_lost_the_end_of_its_own_log(a: Lab, b: MirrorLab) -> None:
    """Its Kafka has come back with less than it had sent: nothing of it is lost, and its sites' heads are all in b."""
    lose(a, b, tail=False)
    a._groups[-1].abandon()
    a.log.truncate(a.log.bounds().end - 3)
    promoted(b, "osaka")
    written(b.group())
    lost, _ = take_up(a, b)
    assert not lost.events


def test_a_promotion_below_what_the_region_itself_has(a: Lab, b: MirrorLab) -> None:
    """a is back, and b is lost before it has sent all that both had: a's own sealed log has more than its new one."""
    common = lose(a, b, tail=False).sequence
    promoted(b, "osaka")
    written(b.group())
    _, back = take_up(a, b)
    back.send(5)
    a.worker("london")
    until(lambda: a.status("london") and a.store("london").position().head.offset == 4, "london has these")
    with pytest.raises(UsageError, match="where its own log was sealed") as refused:
        promoted(a, "london")
    assert "--give-up" in refused.value.hint
    given_up = promoted(a, "london", give_up=True).sealed
    assert given_up is not None and given_up.sequence < common
    assert {one.sequence for one in seals_of(a.control.snapshot(), "bank")} == {given_up.sequence}
    written(a.group())
    rolled_back(a, "tokyo")  # its own past up to the seal is lost too
    a.caught_up("tokyo")
    a.caught_up("london")
