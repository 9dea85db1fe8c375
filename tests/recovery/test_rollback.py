"""Rolling a site back, from the plan to the worker that goes on, with logs that were cut, made anew, or moved."""

from collections.abc import Callable

import pytest

from tests.consumers.conftest import KIB, Lab, until, written
from tidelog.clock import wall_us
from tidelog.errors import RollingBack, TidelogError, UsageError
from tidelog.producers.follower import carries_head
from tidelog.recovery.rebuild_survey import survey
from tidelog.recovery.rollback import SiteRollback
from tidelog.recovery.rollback_plan import Way, plan_rollback
from tidelog.schemas.control import CopyFormed, CopyOrdered
from tidelog.stores.store import Copy, CopyOrigin


@pytest.fixture
def lab():
    """See `Lab`."""
    lab = Lab()
    yield lab
    lab.end()


def diverged(lab: Lab, keep: Callable[[int], int] = lambda end: end // 2) -> tuple[int, dict[int, bytes]]:
    """Two sessions write, osaka and tokyo apply; the log loses its tail; another session goes on. The sequence that
    osaka stands at, and what it holds."""
    group = written(written(lab.group()))
    group.close()
    for site in ("osaka", "tokyo"):
        lab.worker(site)
        lab.caught_up(site)
        until(lambda site=site: lab.receipt(max(lab.reference().copies), site), "the receipts")
    store = lab.store()
    stood, held = store.position().head.sequence, {v.id: store.read(v, 0, v.size) for v in store.volumes()}
    lab.log.truncate(keep(lab.log.bounds().end))
    for site in ("osaka", "tokyo"):  # on a busy machine one may not have reported at all yet
        until(lambda site=site: (told := lab.status(site)) and told.state == "HALTED", f"the halt of {site}")
    written(lab.group()).close()
    return stood, held


def rolled_back(lab: Lab, site: str = "osaka") -> SiteRollback:
    done = SiteRollback(lab.deployment, plan_rollback(lab.deployment, site, "bank"))
    for _ in done:
        pass
    return done


def test_a_worker_goes_on_in_the_new_log_and_what_was_lost_is_kept(lab: Lab) -> None:
    """The halted worker by itself, with receipts of what it holds now; those of the lost copies are gone."""
    stood, held = diverged(lab)
    assert "LogDiverged" in lab.status().reason
    before = {copy.sequence: copy for copy in lab.store().copies()}
    plan = plan_rollback(lab.deployment, "osaka", "bank")
    assert plan.way is Way.ROLL_BACK and plan.position.sequence == stood and plan.lost_copies
    assert plan.copy.sequence in lab.reference().copies and plan.common.sequence >= plan.copy.sequence
    assert {copy.sequence for copy in plan.lost_copies} == {s for s in before if s > plan.copy.sequence}
    assert lab.store().copies() == list(before.values()), "a plan changes nothing"
    done = rolled_back(lab)
    assert done.report.worker and not done.report.waits and done.report.blocks <= plan.blocks
    store = lab.caught_up()
    tail = store.copy("lost-tail")
    assert tail.sequence == stood
    assert {info.id: store.read(info, 0, info.size, tail) for info in tail.volumes} == held
    lost = {(copy.sequence, copy.seal) for copy in store.copies(lost=True) if copy.origin is CopyOrigin.LOST}
    assert lost == {(copy.sequence, copy.seal) for copy in plan.lost_copies} | {(tail.sequence, tail.seal)}

    def receipts() -> set[tuple[int, bytes]]:
        view = lab.control.snapshot().values()
        return {(one.sequence, one.seal) for one in view if isinstance(one, CopyFormed) and one.site == "osaka"}

    until(lambda: receipts() == {(copy.sequence, copy.seal) for copy in store.copies()}, "receipts of what there is")
    rolled_back(lab, "tokyo")
    lab.caught_up("tokyo")


def test_the_receipt_of_a_copy_by_time_that_is_made_again_stays(lab: Lab) -> None:
    """It is the same as the lost one: sequence, seal and name."""
    group = written(lab.group())
    lab.worker()
    volume = group.create_volume("timed", 20 * KIB, block_size=512)
    volume.write(0, b"before")
    at = group.session.time_us
    volume.write(0, b"behind")
    group.flush()
    order = CopyOrdered(name="timed", groups="bank", at_us=at, ordered_us=wall_us(), ordered_by="me", dropped_us=0)
    lab.control.publish(order)
    first = until(lambda: next((one for one in _copies(lab) if one.name == "timed"), None), "the copy")
    until(lambda: lab.receipt(first.sequence), "its receipt")
    keep = lab.log.bounds().end
    volume.write(0, b"lost")
    group.flush()
    group.close()
    until(lambda: lab.store().position().head.sequence >= lab.reference().sequence, "the lost tail")
    lab.log.truncate(keep)
    until(lambda: lab.status().state == "HALTED", "the halt")
    rolled_back(lab)
    group = lab.group()
    group.flush()
    again = until(lambda: next((one for one in _copies(lab) if one.name == "timed"), None), "the copy again")
    assert (again.sequence, again.seal) == (first.sequence, first.seal)
    until(lambda: lab.receipt(again.sequence), "its receipt again")
    for name in ("later", "last"):  # each makes the site look at all of its receipts
        copy = group.mark(name)
        group.flush()
        until(lambda copy=copy: lab.receipt(copy.sequence), "the receipt of a later copy")
        assert lab.receipt(again.sequence) is not None


def _copies(lab: Lab) -> list[Copy]:
    """None before there is a store, and while it is rolled back."""
    try:
        return lab.store().copies()
    except TidelogError:
        return []


def test_without_a_worker_the_next_one_goes_on(lab: Lab) -> None:
    written(lab.group()).close()
    lab.replica()
    lab.caught_up()
    lab._replicas.pop().stop()
    lab.log.truncate(lab.log.bounds().end // 2)
    written(lab.group()).close()
    assert rolled_back(lab).report.worker == ""
    assert lab.store().rebuilding() is None
    lab.replica()
    lab.caught_up()


def test_cut_short_it_is_shown_as_rebuilding_and_goes_on(lab: Lab) -> None:
    """A worker that begins meanwhile waits, and serves nothing; the plan says that one is under way."""
    diverged(lab)
    steps = iter(SiteRollback(lab.deployment, plan_rollback(lab.deployment, "osaka", "bank")))
    next(steps)
    steps.close()
    until(lambda: lab.status().state == "REBUILDING", "the state")
    with pytest.raises(RollingBack, match="rolled back"):
        lab.store().position()
    assert plan_rollback(lab.deployment, "osaka", "bank").way is Way.RESUME
    rolled_back(lab)
    lab.caught_up()


@pytest.mark.parametrize("cut_short", [False, True])
def test_elder_copies_are_found_in_a_log_that_has_moved(lab: Lab, cut_short: bool) -> None:
    """Each at its own offset there, on the other cluster, so that a rebuild can begin at any; run again, too."""
    group = written(lab.group())
    lab.worker()
    lab.caught_up()
    values = [record.value for record in lab.log._records]
    written(group).close()
    lab.caught_up()
    lab.log.recreate()
    lab.log.cluster_id = "elsewhere"
    lab.log.skip_offsets(5)
    for value in values:
        lab.log.put(value)
    until(lambda: lab.status().state == "HALTED", "the halt")
    if cut_short:
        steps = iter(SiteRollback(lab.deployment, plan_rollback(lab.deployment, "osaka", "bank")))
        next(steps)
        steps.close()
        assert plan_rollback(lab.deployment, "osaka", "bank").way is Way.RESUME
    rolled_back(lab)
    lab.group().flush()
    copies = lab.caught_up().copies()
    assert len(copies) > 1
    for copy in copies:
        assert copy.cluster_id == "elsewhere" and carries_head(lab.log, copy.head)


def test_nothing_to_roll_back(lab: Lab) -> None:
    """The site stands where the log goes on: nothing is done, and nothing can be asked to be."""
    written(lab.group()).close()
    lab.worker()
    lab.caught_up()
    plan = plan_rollback(lab.deployment, "osaka", "bank")
    assert plan.way is Way.NOTHING
    with pytest.raises(UsageError, match="nothing is to be rolled back"):
        SiteRollback(lab.deployment, plan)


def test_a_log_that_has_moved_is_found_by_sequence_and_seal(lab: Lab) -> None:
    """Every record at another offset on another cluster, with what is void in between: no block moves, the worker goes
    on."""
    written(lab.group()).close()
    lab.worker()
    store = lab.caught_up()
    until(lambda: lab.receipt(max(lab.reference().copies)), "the receipts")
    before = store.copies()
    values = [record.value for record in lab.log._records]
    lab.log.recreate()
    lab.log.cluster_id = "elsewhere"
    for value in values:
        lab.log.skip_offsets(2)
        lab.log.put(value)
        lab.log.put(value)  # delivered twice
    until(lambda: lab.status().state == "HALTED", "the halt")
    plan = plan_rollback(lab.deployment, "osaka", "bank")
    assert plan.way is Way.RELOCATE
    rolled_back(lab)
    written(lab.group()).close()
    store = lab.caught_up()
    assert [copy.seal for copy in store.copies()][: len(before)] == [copy.seal for copy in before]
    for copy in store.copies():
        assert copy.cluster_id == "elsewhere" and carries_head(lab.log, copy.head)
    assert [base.sequence for base in survey(lab.deployment, "london", "bank").bases.usable]


def test_a_worker_that_finds_its_head_on_another_cluster_finds_its_copies(lab: Lab) -> None:
    """Begun there, it moves by itself: its elder copies are bases and places to trim to, as before."""
    written(lab.group()).close()
    lab.replica()
    lab.caught_up()
    lab._replicas.pop().stop()
    values = [record.value for record in lab.log._records]
    lab.log.recreate()
    lab.log.cluster_id = "elsewhere"
    for value in values:
        lab.log.skip_offsets(2)
        lab.log.put(value)
    lab.replica()
    written(lab.group()).close()
    for copy in lab.caught_up().copies():
        assert copy.cluster_id == "elsewhere" and carries_head(lab.log, copy.head)


def test_no_copy_in_the_log(lab: Lab) -> None:
    """The topic was made anew: the plan says that the store would be erased, and rolls nothing back."""
    diverged(lab, lambda _: 0)
    plan = plan_rollback(lab.deployment, "osaka", "bank")
    assert plan.way is Way.REBUILD and plan.copy is None and plan.lost_sequences[0] == 1
    with pytest.raises(UsageError):
        SiteRollback(lab.deployment, plan)


def test_a_trimmed_log(lab: Lab) -> None:
    """What was before its first record is judged by the first event of the site's own that is in it."""
    diverged(lab, lambda end: end * 3 // 4)
    copy = plan_rollback(lab.deployment, "osaka", "bank").copy
    first = next(copy for copy in lab.store().copies())
    assert first.sequence < copy.sequence
    lab.log.trim(first.offset)
    trimmed = plan_rollback(lab.deployment, "osaka", "bank")
    assert trimmed.way is Way.ROLL_BACK and trimmed.copy == copy
    lab.log.trim(first.offset + 1)
    assert plan_rollback(lab.deployment, "osaka", "bank").copy == copy


def test_a_store_in_which_nothing_was_applied(lab: Lab) -> None:
    lab.store(create=True)
    with pytest.raises(UsageError, match="has applied nothing"):
        plan_rollback(lab.deployment, "osaka", "bank")
