"""A group whose log is a mirror: how it is taken up, what is refused there, and what its sites answer."""

from collections.abc import Iterator

import pytest

from tests.consumers.conftest import Lab, until, written
from tests.consumers.mirror_lab import MirrorLab
from tidelog.consumers.access import open_group
from tidelog.errors import AlreadyExists, UsageError
from tidelog.producers.mirrors import MirrorSource
from tidelog.recovery.rebuild import Phase, Rebuild
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_survey import survey
from tidelog.recovery.trim import plan
from tidelog.schemas.control import CopyFormed


@pytest.fixture
def b(lab: Lab) -> Iterator[MirrorLab]:
    """Region b, beside region a (`lab`)."""
    there = MirrorLab(lab)
    yield there
    there.end()


def test_nobody_writes_or_trims_there(lab: Lab, b: MirrorLab) -> None:
    """And the source's log is trimmed only by who has looked at the mirror; each refusal says where."""
    written(lab.group())
    b.mirror.send()
    with pytest.raises(UsageError, match=r"is a mirror of memory .kafka-a:9092.: nobody writes there") as refused:
        open_group("bank", deployment=b.deployment)
    assert "that region" in refused.value.hint
    with pytest.raises(UsageError, match="nothing of it is trimmed here"):
        plan(b.deployment, "bank")
    with pytest.raises(UsageError, match="is mirrored to cluster b") as held:
        plan(lab.deployment, "bank")
    assert "--without b" in held.value.hint
    assert plan(lab.deployment, "bank", without=["b"]).group == "bank"
    assert b.log.bounds().end == lab.log.bounds().end, "nothing was written"


def test_taking_up_a_group(lab: Lab, b: MirrorLab) -> None:
    """With its id; again, which changes nothing; not in place of another group, nor of the source itself."""
    assert b.record == lab.record
    assert b.cluster.mirror_group(lab.record, MirrorSource("memory")).target_cluster == "b"
    b.mirror.send()
    written(lab.group())
    b.mirror.send()
    b.cluster.mirror_group(lab.record, MirrorSource("memory"))  # the topic has records of this group by now
    with pytest.raises(AlreadyExists, match="no mirror"):
        Lab().cluster.mirror_group(lab.record, MirrorSource("b"))
    with pytest.raises(UsageError, match="mirror of itself"):
        b.cluster.mirror_group(lab.record, MirrorSource("b"))
    other = lab.record.model_copy(update={"group_id": "9c2f6f0e-0000-4000-8000-1d2f3a4b5c6d"})
    with pytest.raises(AlreadyExists, match="another group"):
        b.cluster.mirror_group(other, MirrorSource("c"))
    fresh = MirrorLab(lab, told=False)
    fresh.log.put(b"a stranger's")
    with pytest.raises(AlreadyExists, match="belong to no group"):
        fresh.cluster.mirror_group(lab.record, MirrorSource())


def test_a_site_is_rebuilt_from_the_mirrors_own_log(lab: Lab, b: MirrorLab) -> None:
    """With all that was sent twice in it."""
    written(lab.group())
    b.mirror.send(10)
    b.mirror.begin(0)
    b.mirror.send()
    replica = b.replica()
    b.caught_up()
    replica.stop()
    rebuild = Rebuild(b.deployment, plan_rebuild(survey(b.deployment, "osaka", "bank")))
    phases = {progress.phase for progress in rebuild}
    assert phases >= {Phase.ERASING, Phase.VERIFYING} and all(copy.equal for copy in rebuild.report.copies)
    b.caught_up()


def test_receipts_of_both_regions_agree(lab: Lab, b: MirrorLab) -> None:
    """A marker's copy has one identity and one digest, whichever cluster its log was read from."""
    marked = written(lab.group()).mark("end")
    b.mirror.send()
    lab.worker("tokyo")
    b.worker("osaka")

    def receipt(of: Lab) -> CopyFormed | None:
        found = (record for record in of.control.snapshot().values() if isinstance(record, CopyFormed))
        return next((record for record in found if record.sequence == marked.sequence), None)

    until(lambda: receipt(lab) and receipt(b), "both receipts")
    ours, theirs = receipt(lab), receipt(b)
    assert ours is not None and theirs is not None
    assert (ours.seal, ours.digest, ours.blocks_changed) == (theirs.seal, theirs.digest, theirs.blocks_changed)
