"""A rebuilt store is the same fold again, whatever became of the rebuild before."""

import threading

import pytest

from tests.recovery.conftest import status
from tidelog.clock import wall_us
from tidelog.consumers.deployment import open_store
from tidelog.errors import CopiesDiffer, CorruptEvent, NeedsRebuild, NotFound, SiteBehind, UsageError, WrongStore
from tidelog.recovery import rebuild
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import ERASING, plan_rebuild
from tidelog.recovery.rebuild_report import Phase
from tidelog.recovery.rebuild_survey import survey
from tidelog.schemas.control import CopyFormed, status_key


def rebuilt(deployment, site="osaka", **options):
    done = Rebuild(deployment, plan_rebuild(survey(deployment, site, "bank"), **options))
    phases = [progress.phase for progress in done]
    done.report.check()
    return done, phases


def image(deployment, site="osaka"):
    """Everything that a store says of itself, from its blocks."""
    store = open_store(deployment, site, "bank")
    live = [(info, store.read(info, 0, info.size)) for info in store.volumes()]
    copies = [(copy.sequence, copy.seal, copy.name, copy.blocks_changed, store.verify(copy)) for copy in store.copies()]
    return store.position().head, live, copies


def test_the_store_is_the_same_again(deployment, replicate):
    replicate()
    before = image(deployment)
    done, phases = rebuilt(deployment)
    assert image(deployment) == before
    assert list(dict.fromkeys(phases)) == [Phase.ERASING, Phase.REPLAYING, Phase.VERIFYING]
    assert done.report.keys_erased > 0 and done.report.events == before[0].sequence
    assert [(copy.name, sorted(copy.receipts)) for copy in done.report.copies] == [
        ("one", ["osaka", "tokyo"]),
        ("two", ["osaka", "tokyo"]),
    ]


def test_a_store_that_is_gone_is_made(deployment, replicate):
    replicate("tokyo")
    done, _ = rebuilt(deployment)
    assert done.plan.store is None
    assert image(deployment)[2] == image(deployment, "tokyo")[2]


@pytest.mark.parametrize("erased_first", [False, True])
def test_killed_while_erasing_it_erases_again(deployment, replicate, erased_first):
    """Old data under the mark of a rebuild must not be taken for the replayed."""
    replicate()
    before = image(deployment)
    store = open_store(deployment, "osaka", "bank")
    store.begin_rebuild(ERASING)
    if erased_first:
        next(store.erase())
    with pytest.raises((SiteBehind, NeedsRebuild)):
        store.read(before[1][0][0], 0, 1)
    plan = plan_rebuild(survey(deployment, "osaka", "bank"))
    assert plan.erase and plan.from_sequence == 1
    rebuilt(deployment)
    assert image(deployment) == before


def test_killed_while_replaying_it_goes_on(deployment, replicate):
    replicate()
    before = image(deployment)
    store = open_store(deployment, "osaka", "bank")
    store.begin_rebuild(before[0].sequence)
    assert list(store.erase())
    plan = plan_rebuild(survey(deployment, "osaka", "bank"))
    assert (plan.erase, plan.from_sequence) == (False, 1)
    done, phases = rebuilt(deployment)
    assert Phase.ERASING not in phases and done.report.keys_erased == 0
    assert image(deployment) == before


def test_from_scratch_erases_also_what_was_replayed(deployment, replicate):
    replicate()
    open_store(deployment, "osaka", "bank").begin_rebuild(3)
    assert not plan_rebuild(survey(deployment, "osaka", "bank")).erase
    done, _ = rebuilt(deployment, from_scratch=True)
    assert done.report.keys_erased > 0


def test_a_worker_that_is_alive_does_the_replay(deployment, replicate, worker):
    replicate()
    before = image(deployment)
    running = worker("osaka")
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        control = deployment.cluster.control
        assert control.wait_for(
            lambda view: getattr(view.get(status_key("bank", "osaka")), "state", "") == "STREAMING", 10
        )
        done, _ = rebuilt(deployment)
        assert done.plan.worker and done.report.by == done.plan.worker
        assert image(deployment) == before
    finally:
        running.stop()
        thread.join(20)


def test_a_worker_that_only_seems_alive_is_not_waited_for(deployment, replicate, monkeypatch):
    replicate()
    before = image(deployment)
    monkeypatch.setattr(rebuild, "STALL", 0.2)
    store = open_store(deployment, "osaka", "bank")
    deployment.cluster.control.publish(status(store, reported_us=wall_us() + 5_000_000))
    done, _ = rebuilt(deployment)
    assert done.plan.worker == "somewhere:1" and done.report.by == "this process"
    assert image(deployment) == before


def test_no_clone_is_made_between_the_look_and_the_erase(deployment, replicate, monkeypatch):
    """What would be written into it would go unasked."""
    replicate()
    store = open_store(deployment, "osaka", "bank")
    look, refused = Rebuild._refuse_clones, []

    def then_clone(self, looked_at):
        look(self, looked_at)
        with pytest.raises(SiteBehind):
            store.clones.create(store.copies()[0], "drill")
        refused.append(True)

    monkeypatch.setattr(Rebuild, "_refuse_clones", then_clone)
    rebuilt(deployment)
    assert refused and store.clones.all() == []


def test_a_clone_that_is_on_its_way_when_the_rebuild_begins(deployment, replicate):
    """It has seen no rebuild yet: it is refused when it would be put, not taken away when it is there."""
    replicate()
    store = open_store(deployment, "osaka", "bank")
    keyspace, begun = deployment.keyspace("osaka", "bank"), []

    def between(at):
        if at == "exec" and not begun:
            begun.append(True)
            open_store(deployment, "osaka", "bank").begin_erase()

    keyspace.between = between
    with pytest.raises(SiteBehind):
        store.clones.create(store.copies()[0], "drill")
    assert begun and store.clones.all() == []


@pytest.mark.parametrize("mark", [None, ERASING])
def test_a_rebuild_that_clones_refuse_changes_nothing(deployment, replicate, mark):
    """Nor did one that was killed before it looked."""
    replicate()
    before = image(deployment)
    store = open_store(deployment, "osaka", "bank")
    store.clones.create(store.copies()[0], "drill")
    if mark is not None:
        store.begin_rebuild(mark)
    with pytest.raises(UsageError, match="drill"):
        rebuilt(deployment)
    assert store.rebuilding() is None and image(deployment) == before
    assert [clone.name for clone in store.clones.all()] == ["drill"]
    rebuilt(deployment, drop_clones=True)
    assert image(deployment) == before and store.clones.all() == []


def test_a_trimmed_log_erases_nothing(deployment, replicate):
    replicate()
    before = image(deployment)
    log = deployment.cluster.log(deployment.cluster.find_group("bank"))
    log.trim(2)
    with pytest.raises(UsageError, match="begins at offset 2, with sequence 3"):
        plan_rebuild(survey(deployment, "osaka", "bank", Wanted("log")))
    assert image(deployment) == before


def test_a_bad_record_in_the_log_is_told_before_anything_is_erased(deployment, replicate):
    replicate()
    before = image(deployment)
    deployment.cluster.log(deployment.cluster.find_group("bank")).put(b"no event")
    with pytest.raises(CorruptEvent):
        survey(deployment, "osaka", "bank")
    assert image(deployment) == before


def test_another_sites_store_is_refused(deployment, replicate, monkeypatch):
    replicate()
    keyspace = deployment.keyspace
    monkeypatch.setattr(deployment, "keyspace", lambda _, group: keyspace("tokyo", group))
    with pytest.raises(WrongStore):
        survey(deployment, "osaka", "bank")


def test_an_unknown_site_or_group(deployment, replicate):
    replicate("tokyo")
    for site, group in (("paris", "bank"), ("osaka", "nowhere")):
        with pytest.raises(NotFound):
            survey(deployment, site, group)


def test_a_copy_that_comes_out_different_is_an_alarm(deployment, replicate):
    replicate()
    control = deployment.cluster.control
    receipts = [record for record in control.snapshot().values() if isinstance(record, CopyFormed)]
    control.publish(receipts[0].model_copy(update={"digest": b"\xee" * 16}))
    with pytest.raises(CopiesDiffer, match=receipts[0].name):
        rebuilt(deployment)


def test_an_empty_log_rebuilds_to_an_empty_store(deployment):
    deployment.cluster.create_group("bank")
    done, _ = rebuilt(deployment)
    assert done.report.events == 0
    assert open_store(deployment, "osaka", "bank").position().head.sequence == 0
