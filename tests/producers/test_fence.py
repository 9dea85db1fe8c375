"""The fence: who is still the writer when an acknowledgement comes from an unexpected offset (DESIGN section 3)."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.producers.author import following, opening, put
from tests.producers.conftest import Lab, until
from tests.producers.test_back_pressure import in_thread
from tidelog.errors import Fenced, LogDiverged
from tidelog.producers.confirmation import Confirmations
from tidelog.producers.group import Group
from tidelog.producers.log import UNKNOWN_OFFSET
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Heartbeat

KIB = 1024


@pytest.fixture
def group(lab: Lab) -> Group:
    """The second session of its group, with a volume `v`."""
    lab.session().close()
    group = lab.group()
    group.create_volume("v", KIB)
    return group


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for each time that a session took the slow path."""
    calls: list[int] = []
    real = Confirmations.settle_doubt

    def counted(session: Confirmations) -> None:
        calls.append(1)
        real(session)

    monkeypatch.setattr(Confirmations, "settle_doubt", counted)
    return calls


def write_and_flush(group: Group, count: int = 1) -> None:
    for index in range(count):
        group.volume("v").write(index, b"x")
        group.flush()


def test_the_fast_path_reads_nothing(lab: Lab, group: Group, settled: list[int]) -> None:
    """While every record lands where it is expected, nothing is read back."""
    reads = []
    real = lab.log.reader
    lab.log.reader = lambda offset: reads.append(offset) or real(offset)  # type: ignore[method-assign,func-returns-value]
    write_and_flush(group, 20)
    assert not settled and not reads


FOREIGN: dict[str, Callable[[Lab, Head], Any]] = {
    "an older session's late write": lambda _lab, head: following(
        Heartbeat, head, epoch=1, writer=b"an older writer.", sequence=2
    ),
    "a lost race of the same epoch": lambda _lab, head: opening(head, epoch=2, sequence=2),
    "a lost race of an older epoch": lambda _lab, head: opening(head, epoch=1, sequence=1),
    "another writer's write in our epoch": lambda _lab, head: following(Heartbeat, head, writer=b"pretender-of-us."),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_void_record_in_between_is_no_fence(lab: Lab, group: Group, settled: list[int], kind: str) -> None:
    """L3: what counts for nothing fences nobody; the session looks once, and goes on."""
    put(lab.log, FOREIGN[kind](lab, group.session.confirmed))
    write_and_flush(group)
    assert len(settled) == 1
    write_and_flush(group, 5)
    assert len(settled) == 1 and lab.reference().skipped["void"] == 1
    assert lab.reference().sequence == group.session.confirmed.sequence


def test_a_record_delivered_twice_is_no_fence(lab: Lab, group: Group) -> None:
    """Our own and others' records that come again are redelivered or void."""
    for offset in range(3):
        lab.log.put(lab.log._records[offset].value)
        write_and_flush(group)
    assert lab.reference().sequence == group.session.confirmed.sequence


def test_a_gap_in_offsets_is_no_fence(lab: Lab, group: Group, settled: list[int]) -> None:
    """Offsets that were skipped hold nothing; sequence and seal decide."""
    lab.log.skip_offsets(3)
    write_and_flush(group, 3)
    assert len(settled) == 1


def test_many_in_flight_over_void_records(lab: Lab, group: Group) -> None:
    """Void records between sends that are all on their way: each one is confirmed, in order."""
    lab.log.hold()
    flushes = []
    for index in range(6):
        group.volume("v").write(index, bytes([index + 1]))
        flushes.append(in_thread(group.flush))
        until(lambda index=index: len(lab.log.pending) == index + 1)
    for index, send in enumerate(lab.log.pending):
        if index % 2:
            put(lab.log, opening(group.session.confirmed, epoch=1, sequence=1))
        send.land()
    for send in lab.log.pending:
        send.acknowledge(UNKNOWN_OFFSET if send.offset % 3 == 0 else None)
    for thread, outcome in flushes:
        thread.join()
        assert outcome == [None]
    lab.log.release()
    write_and_flush(group)
    assert lab.reference().sequence == group.session.confirmed.sequence


def test_an_accepted_session_fences(lab: Lab, group: Group) -> None:
    """The other one extends our head: our next flush is `Fenced`, and so is every call after it."""
    volume = group.volume("v")
    other = lab.group()
    volume.write(0, b"too late")
    with pytest.raises(Fenced, match="epoch 3") as told:
        group.flush()
    assert told.value.hint
    for call in (group.flush, lambda: volume.write(0, b"x"), lambda: group.mark("m"), lambda: volume.discard(0, 1)):
        with pytest.raises(Fenced):
            call()
    with pytest.raises(Fenced):
        group.close()
    write_and_flush(other)
    assert lab.reference().volumes[volume.id].data[:8] == b"x" + bytes(7)


def test_what_stands_before_the_other_opening_is_confirmed(lab: Lab, group: Group) -> None:
    """Of two writes in flight the first lands before the other session and counts; only the second is unknown."""
    lab.log.hold()
    first, second = [], []
    for flushes in (first, second):
        group.volume("v").write(0, b"x")
        flushes.append(in_thread(group.flush))
        until(lambda: len(lab.log.pending) == len(first) + len(second))
    one, two = lab.log.pending
    one.land()
    head = Head(4, one.value[-16:], 2, group.session.writer, group.session._planned.timestamp_us, one.offset)
    put(lab.log, opening(head))
    two.land()
    one.acknowledge(UNKNOWN_OFFSET)
    two.acknowledge(UNKNOWN_OFFSET)
    for flushes, wanted in ((first, type(None)), (second, Fenced)):
        ((thread, outcome),) = flushes
        thread.join()
        assert isinstance(outcome[0], wanted)
    assert lab.reference().epoch == 3 and lab.reference().at(4) is not None


def test_a_void_opening_of_a_higher_epoch_makes_it_step_down(lab: Lab, group: Group) -> None:
    """What stands in the log is confirmed first: that flush returns. Then the session yields to who wants to open."""
    before = group.session.confirmed
    group.volume("v").write(0, b"a")
    group.flush()
    put(lab.log, opening(before))  # it read the log before our write, and lost the race
    group.volume("v").write(1, b"b")
    group.flush()  # ours counts: the opening behind our head is void
    until(lambda: group.session._confirmations.error is not None, "stepping down")
    with pytest.raises(Fenced, match="elsewhere:1, which is opening"):
        group.flush()
    assert lab.reference().volumes[group.volume("v").id].data[:2] == b"ab"
    assert lab.reference().void_openings == [3]


def test_an_own_record_that_was_not_applied(lab: Lab, group: Group) -> None:
    """Our event behind an event of ours that never came: acknowledged, and still not in the history."""
    lab.log.hold()
    for _ in range(2):
        group.session.emit(Heartbeat)
    first, second = lab.log.pending
    second.land()
    flushing, outcome = in_thread(group.flush)
    first.acknowledge(UNKNOWN_OFFSET)  # a log that says so, although it is not there
    second.acknowledge()
    flushing.join()
    assert isinstance(outcome[0], Fenced)
    assert lab.reference().gap


def test_an_acknowledged_record_that_is_not_there(lab: Lab, group: Group) -> None:
    """A log that acknowledges what it does not hold is not believed."""
    lab.log.hold()
    group.volume("v").write(0, b"x")
    flushing, outcome = in_thread(group.flush)
    until(lambda: lab.log.pending)
    lab.log.pending[0].acknowledge(UNKNOWN_OFFSET)
    flushing.join()
    assert isinstance(outcome[0], Fenced)


@pytest.mark.parametrize("noticed", [True, False])
def test_a_head_that_is_gone(lab: Lab, group: Group, noticed: bool) -> None:
    """The log was truncated below our last confirmed record: `LogDiverged`, not one more flush."""
    write_and_flush(group, 3)
    lab.log.truncate(2, noticed=noticed)
    group.volume("v").write(0, b"x")
    with pytest.raises(LogDiverged):
        group.flush()


def test_a_record_below_the_head(lab: Lab, group: Group) -> None:
    """An acknowledgement from below our head means another history, even while the head is there."""
    lab.log.hold()
    group.volume("v").write(0, b"x")
    flushing, outcome = in_thread(group.flush)
    until(lambda: lab.log.pending)
    lab.log.pending[0].land()
    lab.log.pending[0].acknowledge(1)
    flushing.join()
    assert isinstance(outcome[0], LogDiverged)


def test_the_log_goes_away_while_the_session_looks(lab: Lab, group: Group) -> None:
    """Doubt that cannot be settled is no confirmation."""
    lab.log.hold()
    group.volume("v").write(0, b"x")
    flushing, outcome = in_thread(group.flush)
    until(lambda: lab.log.pending)
    send = lab.log.pending[0]
    lab.log.skip_offsets(1)
    send.land()
    lab.log.cut_off()
    send.acknowledge()
    flushing.join()
    assert type(outcome[0]).__name__ == "LogUnavailable"


def test_an_event_of_this_session_that_it_did_not_send(lab: Lab, group: Group) -> None:
    """Somebody with our id and our epoch extends our head: that is no void record, it is another history."""
    put(lab.log, following(Heartbeat, group.session.confirmed))
    group.volume("v").write(0, b"x")
    with pytest.raises(LogDiverged, match="did not send"):
        group.flush()
