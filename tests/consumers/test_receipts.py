"""Receipts: sent when a copy is formed, sent anew when it is formed anew, taken back when it is gone."""

import pytest

from tests.consumers.conftest import Lab, until, written
from tidelog.consumers import receipts as receipts_module
from tidelog.consumers.counts import Counts
from tidelog.consumers.receipts import Receipts
from tidelog.consumers.replica import State
from tidelog.errors import CopiesDiffer, SiteBehind, StoreDamaged
from tidelog.schemas.control import CopyFormed, copy_key


@pytest.fixture(autouse=True)
def _retry_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting two seconds for the control topic is long here."""
    monkeypatch.setattr(receipts_module, "RETRY", 0.02)


def test_every_copy_is_answered_for(lab: Lab) -> None:
    """Identity, name, time, changed blocks and digest are the reference's, at every site."""
    group = written(lab.group())
    for site in ("tokyo", "osaka"):
        lab.replica(site)
    written(group)
    for site in ("tokyo", "osaka"):
        for sequence, cut in lab.reference().copies.items():
            receipt = until(lambda site=site, sequence=sequence: lab.receipt(sequence, site), "a receipt")
            assert (receipt.site, receipt.group, receipt.sequence) == (site, "bank", sequence)
            assert (receipt.seal, receipt.name, receipt.timestamp_us) == (cut.seal, cut.name, cut.timestamp_us)
            assert (receipt.digest, receipt.blocks_changed) == (cut.digest, cut.blocks_changed)
            assert receipt.formed_us > receipt.timestamp_us


def test_waiting_for_sites(lab: Lab) -> None:
    """`mark(...).wait(sites)` returns their receipts; who has not answered is named."""
    group = written(lab.group())
    lab.replica("osaka")
    copy = group.mark("end-of-day")
    assert copy.wait(["osaka"]).keys() == {"osaka"}
    with pytest.raises(SiteBehind, match="from london within") as told:
        copy.wait(["osaka", "london"], timeout=0.05)
    assert told.value.sequence == copy.sequence
    assert told.value.hint == "has a worker of london ever run? see: tidelog status"
    lab.replica("london")
    both = copy.wait(["osaka", "london"])
    everywhere = ("tokyo", "osaka", "london")
    with pytest.raises(SiteBehind, match="from tokyo within"):
        copy.wait(timeout=0.05)
    lab.replica("tokyo")
    assert set(copy.wait()) == set(everywhere)
    assert both["osaka"].digest == both["london"].digest == lab.reference().copies[copy.sequence].digest


def test_copies_that_differ_are_an_alarm(lab: Lab) -> None:
    """A site whose digest is another for the same identity is told to who waits, whoever he waits for."""
    group = written(lab.group())
    lab.replica("osaka")
    copy = group.mark("end-of-day")
    receipt = copy.wait(["osaka"])["osaka"]
    lab.control.publish(receipt.model_copy(update={"site": "london", "digest": b"something else.."}))
    with pytest.raises(CopiesDiffer, match="london"):
        copy.wait(["osaka"])


def test_a_dropped_copy_is_taken_back(lab: Lab) -> None:
    """By an event for all sites, or at one site alone."""
    group = written(lab.group())
    lab.replica("osaka")
    lab.replica("london")
    first, second, third = lab.reference().copies.values()
    for site in ("osaka", "london"):
        until(lambda site=site: lab.receipt(third.sequence, site), "a receipt")
    group.drop_copy(first.name)
    for site in ("osaka", "london"):
        until(lambda site=site: lab.receipt(first.sequence, site) is None, "the receipt taken back")
    store = lab.store("osaka")
    assert store.mark_dropping(store.copy(second.name))
    group.mark("next")  # which is when the site looks
    until(lambda: lab.receipt(second.sequence, "osaka") is None, "the receipt of one site taken back")
    assert lab.receipt(second.sequence, "london") and lab.receipt(third.sequence, "osaka")


def test_a_receipt_is_sent_anew(lab: Lab) -> None:
    """After a rewind, and when it is not on the control topic although it once was; what is there already is not
    sent again."""
    written(lab.group())
    lab.store(create=True)
    snapshot = lab.keyspace().snapshot()
    replica = lab.replica()
    cut = list(lab.reference().copies.values())[-1]
    first = until(lambda: lab.receipt(cut.sequence), "a receipt")
    lab.control.retract(first.key)
    lab.keyspace().restore(snapshot)
    again = until(lambda: lab.receipt(cut.sequence), "a receipt after the rewind")
    assert again.digest == first.digest and again.formed_us > first.formed_us
    replica.stop()
    lab.replica()
    lab.caught_up()
    until(lambda: lab.status() or lab.receipt(cut.sequence), "the next replica")
    assert lab.receipt(cut.sequence) == again


def test_a_receipt_is_no_proof(lab: Lab) -> None:
    """A receipt that somebody published for a copy which the site does not hold is taken back, a wrong one replaced."""
    written(lab.group())
    cut = list(lab.reference().copies.values())[-1]
    lies = [
        CopyFormed(
            site="osaka",
            group="bank",
            sequence=sequence,
            seal=b"whatever it was.",
            name="lie",
            timestamp_us=1,
            digest=b"whatever it was.",
            blocks_changed=7,
            formed_us=1,
        )
        for sequence in (cut.sequence, 1)
    ]
    for lie in lies:
        lab.control.publish(lie)
    lab.replica()
    receipt = until(lambda: (found := lab.receipt(cut.sequence)) and found.name != "lie" and found, "the true receipt")
    assert receipt.digest == cut.digest
    until(lambda: copy_key("bank", 1, "lie", "osaka") not in lab.control.snapshot(), "the lie taken back")


def test_a_receipt_of_what_is_yet_to_come_stays(lab: Lab) -> None:
    """After a rewind the site has not yet formed its copies again: their receipts are not taken back meanwhile."""
    written(lab.group())
    replica = lab.replica()
    cut = list(lab.reference().copies.values())[-1]
    receipt = until(lambda: lab.receipt(cut.sequence), "a receipt")
    replica.stop()
    lab.keyspace().data.clear()
    retracted: list[str] = []
    real = lab.control.retract
    lab.control.retract = lambda key, *rest: retracted.append(key) or real(key, *rest)  # type: ignore[method-assign,func-returns-value]
    lab.replica()
    lab.caught_up()
    assert not retracted and lab.receipt(cut.sequence) == receipt


def test_the_control_topic_is_away(lab: Lab) -> None:
    """Applying goes on; the reason shows; the receipts come when it is back."""
    group = written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    lab.control.cut_off()
    written(group)
    until(lambda: replica.progress(0).head == group.session.confirmed, "all applied")
    until(lambda: replica.progress(0).error is not None, "the reason")
    assert replica.progress(0).state is State.STREAMING and replica.running
    lab.control.restore()
    last = max(lab.reference().copies)
    until(lambda: lab.receipt(last), "the receipt")
    until(lambda: replica.progress(0).error is None, "no reason any more")


def test_an_unforeseen_error_shows(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that answers does not die unseen."""
    written(lab.group())
    monkeypatch.setattr("tidelog.stores.image.Store.digest", lambda _self, _copy: 1 / 0)
    replica = lab.replica()
    error = until(lambda: replica.progress(0).error, "the reason")
    assert "ZeroDivisionError" in error.message and replica.running


def test_damage_that_only_the_receipts_meet_is_a_halt(lab: Lab) -> None:
    """Applying does not read the records of old copies: garbage in one ends the replica all the same."""
    group = written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    until(lambda: lab.receipt(max(lab.reference().copies)), "the receipts")
    copies = lab.keyspace().data[b"tidelog:{bank}:copies"]
    copies[min(copies)] = b"garbage"  # type: ignore[index,call-overload]
    group.mark("next")
    until(lambda: not replica.running, "the halt")
    progress = replica.progress(0)
    assert progress.state is State.HALTED and isinstance(progress.error, StoreDamaged)
    assert progress.error.hint.endswith("tidelog site rebuild osaka --group bank")


def test_who_is_closed_asks_the_store_nothing_more(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a rule it is closed because the store does not answer, and the site says so when it has ended."""
    written(lab.group())
    store, asked = lab.store(create=True), []
    monkeypatch.setattr(store, "copies", lambda **_: asked.append(store) or [])
    answering = Receipts(store, lab.control, Counts())
    answering.wake()
    until(lambda: asked, "a round")
    asked.clear()
    answering.close()
    assert not asked
