"""What a rebuild begins from, why, and what it refuses before anything is erased."""

from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from tests.consumers.conftest import until
from tests.recovery.rebuild_lab import RebuildLab, cut_short, random_history
from tidelog.consumers.orders import orders_of
from tidelog.errors import CopyMissing, ExportDamaged, NotFound, StoreUnavailable, UsageError
from tidelog.gateways.exports.bases import ExportBases
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import place_of
from tidelog.gateways.exports.writing import write_export
from tidelog.recovery import rebuild_plan
from tidelog.recovery.rebuild_bases import Base, BaseKind, ExportFound, NotTaken
from tidelog.recovery.rebuild_plan import THE_LOG
from tidelog.schemas.control import CopyArchived, CopyOrdered
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.store import Copy


def archive_of(store: Store, copy: Copy, place: str) -> CopyArchived:
    """What a site says that has archived a copy there."""
    return CopyArchived(
        site="tokyo",
        group="bank",
        group_id=store.identity.group_id,
        sequence=copy.sequence,
        seal=copy.seal,
        name=copy.name,
        timestamp_us=copy.timestamp_us,
        digest=store.digest(copy),
        place=place,
        archived_us=1,
    )


def test_what_receipts_contradict_is_no_base(lab: RebuildLab) -> None:
    """The next elder copy is; what only the damaged site itself says against one does not count."""
    for name in ("one", "two"):
        random_history(lab.open, Random(12), 5, name)
    lab.told()
    newest = lab.receipt(lab.store("tokyo").copies()[-1].sequence, "tokyo")
    assert newest is not None
    wrong = newest.model_copy(update={"digest": b"\xee" * 16})
    lab.control.publish(wrong.model_copy(update={"site": "osaka"}))
    assert str(lab.plan("tokyo").base).startswith("copy twoend")
    lab.control.publish(wrong.model_copy(update={"site": "london"}))
    plan = lab.plan("tokyo")
    assert plan.base.sequence < newest.sequence
    assert NotTaken("copy twoend at site tokyo", "its digest is contradicted by london") in plan.others
    with pytest.raises(UsageError, match="contradicted by london"):
        lab.plan("tokyo", "twoend")


def test_which_base_is_taken(lab: RebuildLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short log, since it brings all copies back; else what leaves the least to replay, and it says what does not."""
    lab.replica("london")
    random_history(lab.open, Random(13), 20, "a")
    lab.told("tokyo", "london")
    plan = lab.plan()
    assert plan.base is THE_LOG and "brings every copy back" in plan.why and plan.copies_lost == ()
    assert any(one.what.startswith("copy aend") for one in plan.others)
    monkeypatch.setattr(rebuild_plan, "LOG_SECONDS_MORE", -1.0)
    plan = lab.plan()
    assert (str(plan.base), plan.erase) == (f"copy aend (sequence {plan.base.sequence}) at site tokyo", True)
    assert plan.copies_back == ("aend",) and plan.seconds_estimated > 0
    names = [copy.name for copy in lab.store("tokyo").copies()]
    assert list(plan.copies_lost) == names[:-1]
    reasons = {one.what: one.why for one in plan.others}
    assert reasons[f"copy aend (sequence {plan.base.sequence}) at site london"] == "it is the same copy"
    assert "more to replay" in reasons["the log's beginning"]
    lab.trim(5)
    assert "the log begins at offset 5" in {one.what: one.why for one in lab.plan().others}["the log's beginning"]
    lab.rebuilt()
    lab.compare_from(plan.base.sequence)


def test_sites_that_cannot_be_asked_are_said(lab: RebuildLab, monkeypatch: pytest.MonkeyPatch) -> None:
    random_history(lab.open, Random(14), 10, "a")
    lab.told()
    lab.store("london", create=True)
    real = lab.deployment.keyspace

    def down(site: str, group: str) -> Keyspace:
        if site == "london":
            raise StoreUnavailable("Redis does not answer")
        return real(site, group)

    assert ("site london", "site london has no copy of group bank") in [
        (one.what, one.why) for one in lab.plan().others
    ]
    monkeypatch.setattr(lab.deployment, "keyspace", down)
    assert ("site london", "Redis does not answer") in [(one.what, one.why) for one in lab.plan().others]
    with pytest.raises(StoreUnavailable):
        lab.plan("london")


@pytest.mark.parametrize("archived", [False, True])
def test_from_an_export_or_an_archive(lab: RebuildLab, tmp_path: Path, archived: bool) -> None:
    random_history(lab.open, Random(16), 30, "a")
    lab.told()
    store, place = lab.store("tokyo"), str(tmp_path / "export")
    copy = store.copy("aend")
    write_export(store, copy, place, None, lambda _: None)
    lab.open.volume(next(lab.open.volumes()).name).write(0, b"behind it" * 50)
    lab.open.flush()
    if archived:
        lab.trim(3)
        lab.control.publish(archive_of(store, copy, place))
        lab.open.drop_copy("aend")
        lab.told()
        plan, _ = lab.rebuilt()
    else:
        loading = cut_short(lab, place, after=1)
        assert loading.kind == "export" and not lab.plan(place).erase
        plan, report = lab.rebuilt(place)
        assert 0 < report.bytes_loaded < plan.base.content_bytes
    assert plan.base.kind is BaseKind.EXPORT and plan.base.sequence == copy.sequence
    lab.compare_from(copy.sequence, bits=False)  # blocks that are zeros are in no export


def found(place: str) -> Base:
    """The base that an export there is."""
    manifest = read_manifest(place_of(place))
    return Base(BaseKind.EXPORT, place, manifest.copy_record, bytes.fromhex(manifest.pitc.digest))


def test_exports_that_cannot_be_a_base(lab: RebuildLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is erased for one."""
    random_history(lab.open, Random(17), 30, "a")
    lab.told("tokyo")
    lab.rebuilt("log")
    before = lab.store("osaka").position()
    store, whole, part = lab.store("tokyo"), tmp_path / "whole", tmp_path / "part"
    write_export(store, store.copy("aend"), str(whole), None, lambda _: None)
    write_export(store, store.copy("aend"), str(part), store.copies()[0], lambda _: None)
    with pytest.raises(UsageError, match="holds only what changed"):
        lab.plan(str(part))
    with pytest.raises(NotFound, match="is of copy aend, not other"):
        lab.plan(str(whole), "other")
    with pytest.raises(NotFound, match="no configured site"):
        lab.plan("paris")
    with pytest.raises(UsageError, match="there is no manifest"):
        lab.plan(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="cannot be rebuilt from itself"):
        lab.plan("osaka")
    with pytest.raises(UsageError, match="--copy names"):
        lab.plan("log", "aend")
    files = sorted(whole.glob("*.avro"))
    content = files[-1].read_bytes()
    files[-1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ExportDamaged, match=files[-1].name):
        lab.rebuilt(str(whole))
    files[-1].write_bytes(content)
    assert lab.store("osaka").position() == before and lab.store("osaka").rebuilding() is None
    with monkeypatch.context() as patch:
        patch.setattr(ExportBases, "find", lambda _, place: ExportFound("another", found(place)))
        with pytest.raises(UsageError, match="of another group"):
            lab.plan(str(whole))
    lab.rebuilt(str(whole))


def test_a_copy_by_time_is_no_base(lab: RebuildLab) -> None:
    random_history(lab.open, Random(18), 10, "a")
    lab.told()
    store = lab.store("tokyo")
    at = store.position().head.timestamp_us
    lab.control.publish(CopyOrdered(name="bytime", groups="bank", at_us=at, ordered_us=0, ordered_by="test"))
    lab.tokyo.orders = orders_of(lab.control.snapshot(), "bank")
    lab.open.volume(next(lab.open.volumes()).name).write(0, b"past it")
    lab.open.flush()
    until(lambda: any(copy.name == "bytime" for copy in store.copies()), "the copy by time")
    with pytest.raises(UsageError, match="copy by time"):
        lab.plan("tokyo", "bytime")
    assert str(lab.plan("tokyo").base).startswith("copy aend")


def test_a_locked_copy_is_not_left_behind_unasked(lab: RebuildLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that brings it back is taken; where there is none, the rebuild refuses before it erases."""
    monkeypatch.setattr(rebuild_plan, "LOG_SECONDS_MORE", -1.0)
    random_history(lab.open, Random(19), 10, "a")
    lab.open.mark("kept")
    lab.open.lock_copy("kept", timedelta(days=1))
    random_history(lab.open, Random(20), 10, "b")
    lab.told()
    lab.rebuilt("log")
    plan = lab.plan()
    assert str(plan.base).startswith("copy kept") and "locked copies back" in plan.why and plan.locked_lost == ()
    reasons = [one.why for one in plan.others if one.what.startswith("copy bend")]
    assert reasons == ["locked copies do not come back: kept"]
    before = lab.store("osaka").position()
    with pytest.raises(UsageError, match=r"has locked copies, which copy bend .*: kept"):
        lab.rebuilt("tokyo", "bend")
    assert lab.store("osaka").position() == before and lab.store("osaka").rebuilding() is None
    lab.rebuilt()
    store = lab.compare_from(plan.base.sequence)
    assert store.copy("kept").locked_until_us > 0
    plan, _ = lab.rebuilt("tokyo", "bend", leave_locked=True)
    assert plan.locked_lost == ("kept",)
    lab.compare_from(plan.base.sequence)


def test_a_source_that_is_asked_for_is_begun_from_though_a_replay_is_under_way(
    lab: RebuildLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base behind which the log needs an elder copy halts; what the hint says heals it, and so does a later base."""
    monkeypatch.setattr(rebuild_plan, "LOG_SECONDS_MORE", -1.0)
    volume = lab.open.create_volume("a", 8192, 512)
    volume.write(0, b"A" * 4096)
    lab.open.mark("one")
    volume.write(0, b"B" * 4096)
    lab.open.mark("two")
    lab.open.restore_volume("a", "one")
    lab.told()
    for heals in ({"source": "log"}, {"source": "log", "from_scratch": True}, {"from_scratch": True}):
        with pytest.raises(CopyMissing) as told:
            lab.rebuilt("tokyo", "two")
        command = "tidelog site rebuild osaka --group bank --from-scratch"
        assert f"{command} --from log" in told.value.hint and told.value.hint.endswith(command)
        assert lab.store("osaka").rebuilding() is not None
        again = lab.plan()
        assert not again.erase and "goes on (another --from or" in again.why
        if "source" not in heals:
            lab.open.mark("three")
            lab.told()
        plan, _ = lab.rebuilt(**heals)
        assert plan.erase and ("is begun anew" in plan.why) == ("from_scratch" not in heals)
        lab.compare_from(plan.base.sequence)
