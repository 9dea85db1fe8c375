"""A site rebuilt from another one's copy is the fold of the log from there: whatever comes in between."""

from random import Random

import pytest

from tests.consumers.conftest import until
from tests.recovery.rebuild_lab import BLOCK, RebuildLab, cut_short, random_history
from tidelog.errors import CopiesDiffer, NeedsRebuild, SiteBehind, StoreUnavailable
from tidelog.recovery import base_load
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import BaseKind
from tidelog.recovery.rebuild_report import Phase
from tidelog.recovery.trim import plan as trim_plan
from tidelog.stores.store import HoldKind


def chosen(lab: RebuildLab, random: Random) -> tuple[str, int]:
    """A copy of tokyo's that is loaded in several parts, by name and sequence."""
    copies = lab.store("tokyo").copies()
    copy = random.choice([copy for copy in copies if lab.plan("tokyo", copy.name).base.content_bytes > 20 * BLOCK])
    return copy.name, copy.sequence


@pytest.mark.parametrize("seed", range(6))
def test_the_same_fold_whatever_cuts_the_load_short(lab: RebuildLab, seed: int) -> None:
    """A random history, a random base, a failure at every transaction, before or after it took effect; then it goes on,
    with what was written meanwhile, and puts nothing twice that stood there."""
    random = Random(seed)
    random_history(lab.open, random, 40, "a")
    lab.told()
    name, base = chosen(lab, random)
    keyspace = lab.keyspace("osaka")
    before = keyspace.transactions
    plan, whole = lab.rebuilt("tokyo", name)
    assert plan.base.kind is BaseKind.SITE and plan.base.sequence == base and whole.bytes_loaded > 0
    lab.compare_from(base)
    count = keyspace.transactions - before
    cut = gone_on = 0
    for nth in range(1, count + 1):
        keyspace.fail(nth, applied=bool(random.getrandbits(1)))
        try:
            lab.rebuilt("tokyo", name, from_scratch=True)
        except StoreUnavailable:
            cut += 1
            store = lab.store("osaka")
            if store.rebuilding() is None:  # nothing had begun
                lab.compare_from(base)
            else:
                with pytest.raises((NeedsRebuild, SiteBehind)):
                    store.read(lab.store("tokyo").volumes()[0], 0, 1)
            loading = store.loading()
            if nth % 5 == 0:
                lab.open.volume(next(lab.open.volumes()).name).write(0, random.randbytes(700))
                lab.open.flush()
            plan, report = lab.rebuilt("tokyo", name)
            if loading is not None and loading.digest:
                assert not plan.erase and report.keys_erased == 0
                assert report.bytes_loaded < whole.bytes_loaded or loading.block < 0
                gone_on += loading.block >= 0
        keyspace._fault = None
        lab.compare_from(base)
    assert cut >= 4 and gone_on >= 1


def test_a_load_goes_on_from_another_site_with_the_same_copy(lab: RebuildLab) -> None:
    """The site that it came from is gone: what stands here is not loaded again."""
    lab.replica("london")
    random_history(lab.open, Random(7), 30, "a")
    lab.told("tokyo", "london")
    cut_short(lab, "tokyo", "aend")
    plan, report = lab.rebuilt("london")
    assert (plan.base.source, plan.erase, report.keys_erased) == ("london", False, 0)
    assert 0 < report.bytes_loaded < plan.base.content_bytes
    lab.compare_from(plan.base.sequence)


def test_a_base_that_is_gone_is_begun_anew_and_said(lab: RebuildLab) -> None:
    random_history(lab.open, Random(8), 30, "a")
    lab.told()
    loading = cut_short(lab, "tokyo", "aend")
    lab.open.volume(next(lab.open.volumes()).name).write(0, b"later" * 100)
    lab.open.mark("later")
    lab.open.drop_copy("aend")
    lab.open.flush()
    lab.told()
    plan, _ = lab.rebuilt("tokyo")
    assert plan.erase and plan.base.copy is not None and plan.base.copy.name == "later"
    assert f"at sequence {loading.sequence} from tokyo is begun anew" in plan.why and "aend" not in plan.copies_back
    lab.compare_from(plan.base.sequence)


def test_a_copy_that_is_dropped_while_it_is_loaded(lab: RebuildLab) -> None:
    """It is held where it is read; and the log is held by the trim."""
    random_history(lab.open, Random(9), 30, "a")
    base = lab.open.mark("base").sequence
    lab.open.volume(next(lab.open.volumes()).name).write(0, b"over it" * 300)
    lab.told()
    dropped = False
    for progress in Rebuild(lab.deployment, lab.plan("tokyo", "base")):
        if progress.phase is Phase.LOADING and not dropped:
            dropped = True
            holds = lab.store("tokyo").holds()
            assert [(hold.kind, hold.sequence) for hold in holds] == [(HoldKind.REBUILD, base)]
            assert "site osaka" in str(holds[0])
            lab.open.drop_copy("base")
            lab.open.volume(next(lab.open.volumes()).name).write(0, b"and again" * 300)
            lab.open.mark("behind")
            lab.open.flush()
            lab.caught_up("tokyo")
            needs = {need.who: need for need in trim_plan(lab.deployment, "bank", 0.0, ["london"]).needs}
            assert needs["site osaka"].sequence == 0
    assert dropped
    store = lab.compare_from(base)
    assert [copy.name for copy in store.copies()] == ["behind"]
    assert lab.store("tokyo").holds() == []


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_the_log_that_goes_under_the_load(lab: RebuildLab, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """By DeleteRecords, by whoever, seen while it is loaded or at the end: nothing is served that has no log behind
    it."""
    monkeypatch.setattr(base_load, "LOOK_EVERY", seconds)
    random_history(lab.open, Random(10), 30, "a")
    lab.told()
    running = iter(Rebuild(lab.deployment, lab.plan("tokyo", "aend")))
    assert any(progress.phase is Phase.LOADING for progress in running)
    lab.open.volume(next(lab.open.volumes()).name).write(0, b"x" * 10)
    lab.open.flush()
    lab.trim(lab.log.bounds().end - 1)
    with pytest.raises(NeedsRebuild, match="no longer holds the record of copy aend") as told:
        list(running)
    assert "tidelog site rebuild osaka --group bank" in told.value.hint
    with pytest.raises(NeedsRebuild):
        lab.store("osaka").position()
    lab.open.mark("newer")
    lab.open.flush()
    lab.told()
    plan, _ = lab.rebuilt()
    assert str(plan.base).startswith("copy newer") and plan.erase


def test_a_source_with_wrong_bytes_is_refused_and_named(lab: RebuildLab) -> None:
    """Receipts say what a copy must be; what stands in the source's Redis may be something else."""
    random_history(lab.open, Random(11), 30, "a")
    lab.told()
    data = lab.keyspace("tokyo").data
    key = next(key for key in sorted(data) if b":b:" in key and any(data[key]))
    right = data[key]
    data[key] = b"\xff" + right[1:] if right[:1] != b"\xff" else b"\x00" + right[1:]
    with pytest.raises(CopiesDiffer, match=r"copy aend .* at site tokyo .* damaged") as told:
        lab.rebuilt("tokyo", "aend")
    assert "tidelog site verify tokyo --group bank" in told.value.hint
    store = lab.store("osaka")
    with pytest.raises((NeedsRebuild, SiteBehind)):
        store.read(lab.store("tokyo").volumes()[0], 0, 1)
    data[key] = right
    plan, report = lab.rebuilt("tokyo", "aend")
    assert plan.erase and report.bytes_loaded > 0, "nothing of what was wrong is kept"
    lab.compare_from(plan.base.sequence)


def test_a_worker_waits_for_the_base_and_goes_on_from_it(lab: RebuildLab) -> None:
    """`REBUILDING` from the first block on, and nothing applied before it is whole."""
    random_history(lab.open, Random(15), 30, "a")
    lab.worker("osaka")
    lab.told("tokyo", "osaka")
    seen = set()
    done = Rebuild(lab.deployment, lab.plan("tokyo", "aend"))
    for progress in done:
        if progress.phase is Phase.LOADING and not seen:
            until(lambda: seen.add(getattr(lab.status("osaka"), "state", "")) or "REBUILDING" in seen, "the state")
            status = lab.status("osaka")
            assert status is not None and "tidelog site rebuild osaka --group bank" in status.hint
    assert done.report.by == done.plan.worker != ""
    lab.compare_from(done.plan.base.sequence)
    lab.open.mark("afterwards").wait(["tokyo", "osaka"], timeout=20)
