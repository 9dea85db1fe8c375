"""What a rebuild says, and asks, of copies that no base brings back: those of a history that the log has lost."""

from datetime import timedelta

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tests.recovery.test_rollback import rolled_back
from tidelog.errors import RollingBack, UsageError
from tidelog.gateways.cli.rebuild_text import plan_facts
from tidelog.producers.group import Group
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_plan import RebuildPlan, plan_rebuild
from tidelog.recovery.rebuild_survey import survey
from tidelog.recovery.rollback import SiteRollback
from tidelog.recovery.rollback_plan import Way, plan_rollback


@pytest.fixture
def lab():
    """See `Lab`."""
    lab = Lab()
    yield lab
    lab.end()


def begun(lab: Lab) -> Group:
    """A group with a volume and a copy ``common``, applied at osaka."""
    group = lab.group("osaka")
    volume = group.create_volume("a", 16 * KIB, block_size=512)
    volume.write(0, b"A" * 8192)
    group.mark("common")
    group.flush()
    lab.worker("osaka")
    lab.caught_up("osaka")
    return group


def halted(lab: Lab) -> None:
    until(lambda: lab.status().state == "HALTED", "the halt")


def planned(lab: Lab, **options: bool) -> RebuildPlan:
    return plan_rebuild(survey(lab.deployment, "osaka", "bank"), **options)


def refused(lab: Lab, plan: RebuildPlan) -> None:
    """Before anything is erased, and it says what to do."""
    store = lab.store()
    before = store.position(), store.copies(lost=True)
    with pytest.raises(UsageError, match="has locked copies") as told:
        for _ in Rebuild(lab.deployment, plan):
            pass
    assert "tidelog pitc export" in told.value.hint and "other sites keep theirs" not in told.value.hint
    assert (store.position(), store.copies(lost=True), store.rebuilding()) == (*before, None)


def test_copies_of_a_lost_history_are_said_and_a_locked_one_is_not_erased_unasked(lab: Lab) -> None:
    group = begun(lab)
    cut = lab.log.bounds().end
    group.mark("gone")
    group.lock_copy("gone", timedelta(days=10))
    group.close()
    lab.caught_up("osaka")
    lab.log.truncate(cut)
    halted(lab)
    rolled_back(lab)
    lab.group("osaka").close()
    lab.caught_up("osaka")
    plan = planned(lab)
    assert plan.copies_lost == ("lost-gone", "lost-tail") and plan.locked_lost == ("lost-gone",)
    assert plan.copies_back == ("common",)
    assert any(
        fact == "loses" and "lost-gone, lost-tail do not come back" in str(text) for fact, text in plan_facts(plan)
    )
    refused(lab, plan)
    for _ in Rebuild(lab.deployment, planned(lab, leave_locked=True)):
        pass
    assert [copy.name for copy in lab.store().copies(lost=True)] == ["common"]


def test_copies_that_a_log_made_anew_does_not_have(lab: Lab) -> None:
    """Its receipts stand, and the log's beginning brings nothing of it back."""
    group = begun(lab)
    group.lock_copy("common", timedelta(days=10))
    group.close()
    lab.caught_up("osaka")
    until(lambda: all(lab.receipt(copy) for copy in lab.reference().copies), "the receipts")
    lab.log.recreate()
    halted(lab)
    again = lab.group("osaka")
    again.create_volume("a", 16 * KIB, block_size=512)
    again.close()
    assert plan_rollback(lab.deployment, "osaka", "bank").way is Way.REBUILD
    plan = planned(lab, from_scratch=True)
    assert (plan.copies_back, plan.copies_lost, plan.locked_lost) == ((), ("common",), ("common",))
    refused(lab, plan)


def test_copies_that_the_log_has_elsewhere_come_back(lab: Lab) -> None:
    """Found by sequence and seal, where the records of the same history are at other offsets."""
    group = begun(lab)
    group.lock_copy("common", timedelta(days=10))
    group.close()
    lab.caught_up("osaka")
    until(lambda: all(lab.receipt(copy) for copy in lab.reference().copies), "the receipts")
    records = [record.value for record in lab.log._records]
    lab.log.recreate()
    lab.log.cluster_id = "elsewhere"
    for value in records:
        lab.log.skip_offsets(2)
        lab.log.put(value)
    halted(lab)
    plan = planned(lab, from_scratch=True)
    assert (plan.copies_back, plan.copies_lost, plan.locked_lost) == (("common",), (), ())


def test_a_roll_back_that_cannot_end_is_given_up_from_scratch(lab: Lab) -> None:
    """Unasked it is refused; clones and locked copies are asked for as of any store; then the site is well."""
    group = begun(lab)
    cut = lab.log.bounds().end
    group.volume("a").write(0, b"LOST" * 512)
    group.mark("gone")
    group.lock_copy("gone", timedelta(days=10))
    group.close()
    store = lab.caught_up("osaka")
    store.clones.create(store.copy("common"), "work")
    lab.log.truncate(cut)
    halted(lab)
    steps = iter(SiteRollback(lab.deployment, plan_rollback(lab.deployment, "osaka", "bank")))
    next(steps)
    steps.close()
    with pytest.raises(RollingBack, match="is being rolled back") as told:
        planned(lab)
    assert "tidelog site rebuild osaka --group bank --from-scratch" in told.value.hint
    plan = planned(lab, from_scratch=True, leave_locked=True)
    assert plan.erase and plan.store.clones == ("work",)
    assert plan.copies_lost == ("lost-gone", "lost-tail") and plan.locked_lost == ("lost-gone",)
    mark = store.rebuilding()
    with pytest.raises(UsageError, match="has clones, which an erase takes away: work"):
        list(Rebuild(lab.deployment, plan))
    with pytest.raises(UsageError, match="has locked copies"):
        list(Rebuild(lab.deployment, planned(lab, from_scratch=True, drop_clones=True)))
    assert store.rebuilding() == mark and plan_rollback(lab.deployment, "osaka", "bank").way is Way.RESUME
    plan = planned(lab, from_scratch=True, drop_clones=True, leave_locked=True)
    assert any("a roll back that has not ended" in str(text) for _, text in plan_facts(plan))
    list(Rebuild(lab.deployment, plan))
    lab.group("osaka").close()
    assert [copy.name for copy in lab.caught_up("osaka").copies(lost=True)] == ["common"]
