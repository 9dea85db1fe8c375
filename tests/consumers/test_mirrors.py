"""A log that Kafka's MirrorMaker has brought from another cluster: applied once, from one source, by sequence and seal.

What a site of the mirror holds is compared with a fold of the *source's* log by the reference interpreter.
"""

import random
from collections.abc import Iterator

import pytest

from tests.consumers.conftest import Lab, until, written
from tests.consumers.mirror_lab import History, MirrorLab
from tests.producers.author import following, opening, put
from tidelog.consumers.replica import Replica, State
from tidelog.errors import CorruptEvent, LogDiverged, LogGap, TidelogError
from tidelog.producers import mirrors
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Heartbeat
from tidelog.schemas.mirrors import mirror_key


@pytest.fixture
def b(lab: Lab) -> Iterator[MirrorLab]:
    """Region b, beside region a (`lab`)."""
    there = MirrorLab(lab)
    yield there
    there.end()


def halted(replica: Replica) -> TidelogError:
    """What it halts with; it may go on reading."""
    until(lambda: replica.progress(0).state is State.HALTED, "the halt")
    error = replica.progress(0).error
    assert error is not None
    return error


@pytest.mark.parametrize("seed", range(15))
def test_whatever_is_sent_twice_is_applied_once(lab: Lab, b: MirrorLab, seed: int) -> None:
    """Restarts, also from the beginning, and runs beside each other, among what fenced and failed writers leave."""
    chance = random.Random(seed)
    history = History(lab, chance)
    replica = b.replica()
    for _ in range(6):
        history.go_on(chance.randrange(1, 8))
        b.mirror.at_random(chance)
        if chance.random() < 0.3:
            replica.stop()
            replica = b.replica()
    b.mirror.begin(0)
    b.mirror.send()
    b.caught_up()
    until(lambda: replica.progress(0).skipped.redelivered, "what was sent twice is counted")
    lab.replica("tokyo")
    lab.caught_up("tokyo")
    digests = [{copy.sequence: site.digest(copy) for copy in site.copies()} for site in (lab.store("tokyo"), b.store())]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("seed", range(8))
def test_a_site_that_changes_logs_goes_on_where_it_was(lab: Lab, b: MirrorLab, seed: int) -> None:
    """From any position of the source's, at other offsets of the mirror; and it does not apply anything again."""
    chance = random.Random(seed)
    history = History(lab, chance)
    history.go_on(12)
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    stood = lab.store().position()
    history.go_on(chance.randrange(8))
    for _ in range(3):
        b.mirror.at_random(chance)
    b.mirror.send()
    b.takes_store_of(lab, "osaka")
    replica = b.replica()
    b.caught_up()
    history.go_on(5)
    b.mirror.send()
    b.caught_up()
    position = b.store().position()
    record = b.log.record_at(position.head.offset)
    assert position.cluster_id == "b" and record is not None and record.value[-16:] == position.head.seal
    applied = [event for event in lab.reference().counted if event.last > stood.head.sequence]
    assert replica.progress(0).records_applied == len(applied)
    replica.stop()
    b.replica()  # once more: the position is this cluster's by now
    b.caught_up()


def test_the_position_moves_before_anything_comes(lab: Lab, b: MirrorLab) -> None:
    """What is reported and committed of an idle group are offsets of the log that it follows."""
    written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    b.mirror.send(4)
    b.mirror.begin(0)
    b.mirror.send()
    b.takes_store_of(lab, "osaka")
    b.replica()
    until(lambda: b.store().position().cluster_id == "b", "the position moved")
    before, now = lab.store("osaka").position(), b.store().position()
    assert now.head.offset == lab.log._records[-1].offset + 4 and before == now
    b.compare()


def test_a_mirror_that_is_behind_the_site(lab: Lab, b: MirrorLab) -> None:
    """It halts, and nothing is changed; once the rest has come a worker that is started again goes on."""
    written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    before = lab.store().position()
    b.mirror.send(5)
    b.takes_store_of(lab, "osaka")
    error = halted(b.replica())
    assert isinstance(error, LogDiverged) and "has not been mirrored" in error.message and "roll" in error.hint
    assert b.store().position() == before
    b.mirror.send()
    b.replica()
    b.caught_up()


def test_another_history_there(lab: Lab, b: MirrorLab) -> None:
    """The mirror ended early, and somebody has written on: the site that knows more halts, and is told to roll back."""
    written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    before = lab.store().position()
    b.mirror.send(5)
    b.control.retract(mirror_key("bank", "b"))
    written(b.group())
    b.takes_store_of(lab, "osaka")
    error = halted(b.replica())
    assert isinstance(error, LogDiverged) and "another event" in error.message
    assert error.hint.endswith("tidelog site rollback osaka --group bank")
    assert b.store().position() == before


def test_a_log_that_was_trimmed_before_it_was_mirrored(lab: Lab, b: MirrorLab) -> None:
    """It begins at a copy: a site that holds that copy finds its head from there on, another cannot judge it."""
    group = written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    group.volume("v1").write(0, b"behind")
    group.flush()
    lab.caught_up()
    replica.stop()
    lab.replica("tokyo")
    lab.caught_up("tokyo")
    lab.log.trim(lab.store().copies()[-1].offset)
    sequence = written(lab.group()).session.confirmed.sequence
    b.mirror.send()
    b.takes_store_of(lab, "osaka")
    b.replica()
    for store in (b.store(), lab.store("tokyo")):
        until(lambda store=store: store.position().head.sequence == sequence, "all applied")
    here, there = (
        [(copy.sequence, store.digest(copy)) for copy in store.copies()] for store in (b.store(), lab.store("tokyo"))
    )
    assert here == there and b.store().position().cluster_id == "b"
    assert isinstance(halted(b.replica("london")), LogGap | LogDiverged)


def forked(b: MirrorLab) -> Head:
    """Somebody opens a session in the mirror's log, past tidelog's refusal; its head."""
    head = b.source.reference().counted[-1]
    return put(
        b.log, opening(Head(head.last, head.seal, head.epoch, head.writer, b.source.reference().timestamp_us, 0))
    )


@pytest.mark.parametrize(("theirs", "ours"), [(1, 3), (3, 3), (9, 1), (2, 0)])
def test_a_second_source_halts(lab: Lab, b: MirrorLab, theirs: int, ours: int) -> None:
    """A session of its own in the mirror's log: seen when the source's next session opens, whoever has written more."""
    group = written(lab.group())
    b.mirror.send()
    replica = b.replica()
    b.caught_up()
    head = forked(b)
    for _ in range(theirs - 1):
        head = put(b.log, following(Heartbeat, head))
    for number in range(ours):
        group.mark(f"goes-on-{number}")
    b.mirror.send()  # void here: just so would a fenced writer's last events stand in one log
    written(lab.group())
    b.mirror.send()
    error = halted(replica)
    assert isinstance(error, LogDiverged) and "second source" in error.message and not replica.running


def test_a_second_source_that_is_no_writer_halts(lab: Lab, b: MirrorLab) -> None:
    """Bytes that are no event; and an event of the same session that another was in place of."""
    written(lab.group())
    b.mirror.send()
    replica = b.replica()
    store = b.caught_up()
    before = store.position()
    forged = following(Heartbeat, before.head, previous=bytes(16))
    put(b.log, forged)
    assert isinstance(halted(replica), LogDiverged)
    b.log.truncate(before.head.offset + 1, noticed=False)
    b.log.put(b"anything")
    assert isinstance(halted(b.replica()), CorruptEvent)
    assert b.store().position() == before


def test_a_mirror_that_leaves_records_out_halts(lab: Lab, b: MirrorLab) -> None:
    """At the first record behind the hole; at a later opening for good. Nothing behind it is applied."""
    written(lab.group())
    b.mirror.send(6)
    replica = b.replica()
    until(lambda: b.store().position().head.sequence, "something applied")
    for record in lab.log._records[8:]:
        b.log.put(record.value)
    error = halted(replica)
    assert isinstance(error, LogGap) and "left records out" in error.hint and replica.running
    at, sent = b.store().position(), len(lab.log._records)
    written(lab.group())
    for record in lab.log._records[sent:]:
        b.log.put(record.value)
    until(lambda: not replica.running, "the halt for good")
    error = halted(replica)
    assert isinstance(error, LogDiverged) and "left some out" in error.message
    assert b.store().position() == at


def test_a_log_that_is_sent_again_costs_no_look_up_each(
    lab: Lab, b: MirrorLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some in a second; one that was truncated meanwhile is noticed all the same."""
    monkeypatch.setattr(mirrors, "BELIEVED", 60.0)
    written(lab.group(), rounds=25)
    b.mirror.send()
    replica = b.replica()
    b.caught_up()
    asked: list[int] = []
    look_up = b.log.record_at
    monkeypatch.setattr(b.log, "record_at", lambda offset: asked.append(offset) or look_up(offset))
    for _ in range(15):
        b.mirror.begin(0)
        b.mirror.send()
    wanted = 15 * len(lab.log._records)
    until(lambda: replica.progress(0).skipped.redelivered >= wanted, "all of it skipped")
    assert wanted > 1000 and len(asked) < wanted / 10
    with b.log._changed:  # the reader finds it done: a log that has been written on beyond where it stood
        b.log.truncate(b.store().position().head.offset, noticed=False)
        for _ in range(17):
            b.mirror.begin(0)
            b.mirror.send()
    assert isinstance(halted(replica), LogDiverged)
