"""Any point in time, as an application asks for it: the window, sites that lag, who fills and who drops meanwhile."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.consumers.conftest import KIB, Lab, until, written
from tests.producers.author import following, put
from tests.reference_image import Cut
from tidelog.clock import iso
from tidelog.consumers.access import open_site
from tidelog.consumers.clone_view import CloneView
from tidelog.consumers.materialise import materialise
from tidelog.consumers.site_view import SiteGroup
from tidelog.errors import AlreadyExists, InvalidName, NotFound, OutOfWindow, SiteBehind, StoreUnavailable, UsageError
from tidelog.schemas.events import VolumeCreated, WriteBatch
from tidelog.stores.clone_fill import CloneFill
from tidelog.stores.store import Moment

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def osaka(lab: Lab) -> SiteGroup:
    return open_site("osaka", deployment=lab.deployment).group("bank")


def same(lab: Lab, view: CloneView, sequence: int) -> None:
    """A clone is what the reference has after that sequence, an event's last."""
    reference = lab.reference(sequence)
    assert (view.sequence, view.seal, view.timestamp_us) == (sequence, reference.seal, reference.timestamp_us)
    found = {volume.id: (volume.name, volume.info.block_size, volume.read(0, volume.size)) for volume in view.volumes()}
    assert found == reference.image()
    assert view.digest() == Cut(sequence, b"", "", 0, reference.image(), 0).digest and view.untouched


def test_each_way_to_name_a_moment(lab: Lab) -> None:
    """A sequence, the event before which it is, a time as a number, text, datetime; written to, it is a clone."""
    lab.worker("osaka")
    group = written(lab.group())
    lab.caught_up()
    site, last = osaka(lab), group.session.confirmed.sequence
    at = lab.reference(last - 3).timestamp_us
    same(lab, site.materialise("a", sequence=last - 3), last - 3)
    same(lab, site.materialise("b", before_event=last - 2), last - 3)
    same(lab, site.materialise("c", at=at), last - 3)
    same(lab, site.materialise("d", at=iso(at)), last - 3)
    same(lab, site.materialise("e", at=EPOCH + timedelta(microseconds=at)), last - 3)
    view = site.clone("e")
    (volume,) = view.volumes()
    volume.write(0, b"drill")
    assert volume.read(0, 5) == b"drill" and not view.untouched
    assert "the group at sequence" in repr(view) and [clone.name for clone in site.clones()] == list("abcde")
    assert site.clone("a").volume(volume.name).read(0, 5) != b"drill"
    for wrong in ({}, {"at": at, "sequence": 3}, {"sequence": 0}, {"at": 0}, {"before_event": 1}, {"at": "noon"}):
        with pytest.raises(UsageError):
            site.materialise("f", **wrong)
    with pytest.raises(UsageError, match="time zone"):
        site.materialise("f", at=datetime(2026, 1, 1))
    with pytest.raises(InvalidName):
        site.materialise("../f", sequence=3)
    with pytest.raises(AlreadyExists):
        site.materialise("a", sequence=last - 3)


def test_a_log_that_was_trimmed(lab: Lab) -> None:
    """What reaches back is the oldest copy whose record the log has: all behind it, and the elder copies themselves;
    what lies between those is refused, with the window."""
    lab.worker("osaka")
    group = written(lab.group(), rounds=5)
    store = lab.caught_up()
    elder, _, kept, *_ = store.copies()
    site, last = osaka(lab), group.session.confirmed.sequence
    digests = {}
    for reference in map(lab.reference, (elder.sequence, *range(kept.sequence, last + 1))):
        digests[reference.sequence] = Cut(0, b"", "", 0, reference.image(), 0).digest
    lab.log.trim(kept.offset)
    for sequence in range(kept.sequence, last + 1):
        view = site.materialise("was", sequence=sequence)
        assert view.digest() == digests.get(sequence, view.digest()), "there is none inside a batch"
        site.drop_clone("was")
    assert len(digests) > 8
    assert site.materialise("was", sequence=elder.sequence).digest() == digests[elder.sequence]
    site.drop_clone("was")
    assert site.materialise("was", at=elder.timestamp_us).digest() == digests[elder.sequence]
    window = f"from sequence {kept.sequence} \\({iso(kept.timestamp_us)[:10]}.*to sequence {last} \\("
    for moment in ({"sequence": elder.sequence + 1}, {"at": kept.timestamp_us - 1}, {"sequence": last + 1}):
        with pytest.raises(OutOfWindow, match=window):
            site.materialise("not", **moment)
    assert [clone.name for clone in site.clones()] == ["was"]


def test_a_site_that_is_behind(lab: Lab) -> None:
    """Its worker has stopped; the log goes on, with another session too: from its newest copy up to what it has not."""
    worker, thread = lab.worker("osaka")
    written(lab.group())
    lab.caught_up()
    worker.stop()
    thread.join(20)
    position = lab.store().position()
    first = written(lab.group())
    last = written(lab.group(), rounds=2).session.confirmed.sequence
    site = osaka(lab)
    for name, sequence in (("a", first.session.confirmed.sequence), ("b", last)):
        same(lab, site.materialise(name, sequence=sequence), sequence)
    assert lab.store().position().head == position.head
    assert site.clone("b").copy_sequence == lab.store().copies()[-1].sequence


def test_nothing_to_go_back_to(lab: Lab) -> None:
    """An empty log, and one that was trimmed away from under a site without copies."""
    lab.store("osaka", create=True)
    with pytest.raises(OutOfWindow, match="its log is empty"):
        osaka(lab).materialise("was", sequence=1)
    group = lab.group()
    group.create_volume("v", KIB).write(0, b"x")
    group.flush()
    lab.log.trim(2)
    with pytest.raises(OutOfWindow, match="begins at offset 2"):
        osaka(lab).materialise("was", sequence=3)


def test_what_is_wrong_in_the_log(lab: Lab) -> None:
    """An event that cannot be, which a halted site stands before: all before it can be reached, and nothing behind it;
    what was begun is gone again."""
    lab.store("osaka", create=True)
    group = lab.group()
    group.create_volume("v", KIB).write(0, b"x")
    group.flush()
    head = group.session.confirmed
    group.abandon()
    fields = {"volumes": [2], "offsets": [KIB], "lengths": [1], "timestamps_us": [head.timestamp_us + 1], "data": b"y"}
    behind = put(lab.log, following(WriteBatch, head, **fields), lab.codec)
    put(lab.log, following(VolumeCreated, behind, name="w", size=KIB, block_size=512), lab.codec)
    site = osaka(lab)
    same(lab, site.materialise("was", sequence=3), 3)
    with pytest.raises(OutOfWindow, match="cannot be followed up to sequence 5: WriteBatch writes"):
        site.materialise("not", sequence=5)
    assert [clone.name for clone in lab.store().clones.all()] == ["was"]


def test_while_a_site_is_rebuilt(lab: Lab) -> None:
    """Refused; what is being made ends with the erase, and leaves nothing."""
    lab.worker("osaka")
    group = written(lab.group())
    store = lab.caught_up()
    last = group.session.confirmed.sequence
    clone = store.clones.begin(store.copies()[0], "was", Moment(last))
    fill = store.clones.fill(clone)
    store.begin_rebuild(last)
    with pytest.raises(SiteBehind):
        osaka(lab).materialise("other", sequence=last)
    for _ in store.erase():
        pass
    with pytest.raises(NotFound, match="not being materialised any more"):
        fill.finish()
    assert not [key for key in lab.keyspace().data if clone.id.encode() in key]


def test_two_who_fill_one(lab: Lab) -> None:
    """The later goes on, the earlier is told, and writes nothing more; a drop ends both."""
    lab.worker("osaka")
    group = written(lab.group())
    store = lab.caught_up()
    moment = Moment(group.session.confirmed.sequence - 1)
    clone = store.clones.begin(store.copies()[0], "was", moment)
    first = store.clones.fill(clone)
    same(lab, osaka(lab)._view(materialise(lab.deployment, store, "was", moment)), moment.sequence)
    with pytest.raises(NotFound, match="another process has ended it"):
        first.finish()
    store.clones.drop("was")
    clone = store.clones.begin(store.copies()[0], "was", moment)
    first, second = store.clones.fill(clone), store.clones.fill(clone)
    with pytest.raises(StoreUnavailable, match="another process has taken clone was over"):
        first.finish()
    store.clones.drop("was")
    with pytest.raises(NotFound):
        second.finish()
    assert not [key for key in lab.keyspace().data if clone.id.encode() in key]


def test_its_copy_is_dropped_while_it_is_filled(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clone holds it from its first step on: the copy is listed no more, and goes when the clone does."""
    lab.worker("osaka")
    group = written(lab.group())
    store = lab.caught_up()
    base, moment = store.copies()[-1], Moment(group.session.confirmed.sequence)
    real = CloneFill.finish

    def dropped(fill: CloneFill) -> object:
        group.drop_copy(base.name)
        group.mark("next")
        group.volumes().__next__().write(0, bytes(20 * KIB))
        group.flush()
        until(lambda: [copy.name for copy in store.copies()][-1] == "next", "the next copy")
        return real(fill)

    monkeypatch.setattr(CloneFill, "finish", dropped)
    site = osaka(lab)
    same(lab, site.materialise("was", sequence=moment.sequence), moment.sequence)
    assert site.clone("was").copy_sequence == base.sequence
    assert base.sequence in [copy.sequence for copy in store.copies(dropping=True)]
    site.drop_clone("was")
    until(lambda: base.sequence not in [copy.sequence for copy in store.copies(dropping=True)], "the drop")
