"""Opening a session: at the head of the fold, never at the last record, and seen to count (DESIGN section 3)."""

import threading
from collections.abc import Callable

import pytest

from tests.producers.author import following, put
from tests.producers.conftest import GROUP_ID, Lab, events, until
from tidelog.clock import HybridClock
from tidelog.errors import ClockSkew, CorruptEvent, LogDiverged, LogUnavailable
from tidelog.producers.group_state import KnownCopy, Vouched
from tidelog.producers.memory_log import MemoryLog
from tidelog.producers.memory_send import Outcome
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import group_seal
from tidelog.schemas.events import Heartbeat

KIB = 1024


def test_the_first_event_of_a_group(lab: Lab) -> None:
    """Sequence 1 is a `WriterOpened` of epoch 1 that names the group."""
    session = lab.session()
    (first,) = events(lab.log)
    assert (first["kind"], first["sequence"], first["epoch"]) == ("WriterOpened", 1, 1)
    assert first["previous"] == group_seal(GROUP_ID) and first["writer"] == session.writer
    assert session.confirmed.offset == 0 and ":" in first["opened_by"]


def test_every_session_is_one_epoch_further(lab: Lab) -> None:
    """Each extends the head of the one before, with an id of its own, and knows the volumes and copies."""
    writers = set()
    for epoch in range(1, 5):
        group = lab.group()
        group.create_volume(f"v{epoch}", KIB)
        group.mark(f"m{epoch}")
        assert group.session.epoch == epoch
        assert [volume.name for volume in group.volumes()] == [f"v{number}" for number in range(1, epoch + 1)]
        writers.add(group.session.writer)
    reference = lab.reference()
    assert len(writers) == 4 and reference.epoch == 4 and len(reference.copies) == 4
    assert not any(reference.skipped.values())


def test_an_empty_log_that_has_lost_its_beginning(lab: Lab) -> None:
    """Offset 0 is gone: it is not known what was there, so nobody starts anew."""
    lab.session()
    lab.log.trim(1)
    with pytest.raises(LogDiverged, match="begins at offset 1") as told:
        lab.session()
    assert told.value.hint


def vouched(lab: Lab, sequence: int) -> Vouched:
    """What a site that stands at ``sequence`` vouches for."""
    codec = lab.codec
    state = lab.reference()
    found = next(event for event in state.counted if event.last == sequence)
    event = codec.decode(lab.log.record_at(found.offset).value)
    head = Head(sequence, found.seal, found.epoch, found.writer, event.timestamp_us, found.offset)
    session = lab._sessions[-1]
    copies = tuple(
        KnownCopy(
            cut.sequence,
            cut.seal,
            cut.name,
            cut.timestamp_us,
            tuple(info for info in session.state.volumes if info.id in cut.volumes),
        )
        for cut in state.copies.values()
        if cut.sequence <= sequence
    )
    return Vouched(head, tuple(volume for volume in session.state.volumes if volume.id <= sequence), copies)


def test_folding_from_a_vouched_head(lab: Lab) -> None:
    """A log that was trimmed up to a site's head is opened from there, with what the site held."""
    group = lab.group()
    group.create_volume("v", KIB)
    group.mark("m")
    base = vouched(lab, 3)
    group.create_volume("w", KIB)
    whole = lab.reference()
    lab.log.trim(base.head.offset)
    session = lab.session(vouched=base)
    assert session.epoch == 2 and session.confirmed.sequence == whole.sequence + 1
    assert [volume.name for volume in session.state.volumes] == ["v", "w"]
    assert session.state.copy("m") is not None


@pytest.mark.parametrize("begins", [True, False])
def test_a_vouched_head_that_is_no_longer_in_the_log(lab: Lab, begins: bool) -> None:
    """Then the log alone counts: from its beginning if that is there, else not at all."""
    group = lab.group()
    group.create_volume("v", KIB)
    group.create_volume("w", KIB)
    base = vouched(lab, 3)
    if begins:
        lab.log.truncate(2)
        session = lab.session(vouched=base)
        assert [volume.name for volume in session.state.volumes] == ["v"] and session.confirmed.sequence == 3
    else:
        lab.log.trim(3)
        with pytest.raises(LogDiverged):
            lab.session(vouched=base)


def test_a_clock_behind_the_log(lab: Lab) -> None:
    """A head too far ahead of this machine makes the opening fail, saying by how much; a little is caught up with."""
    now = 1_700_000_000_000_000
    lab.session(clock=HybridClock(lambda: now + 90_000_000))
    with pytest.raises(ClockSkew, match=r"90\.0 s ahead"):
        lab.session(clock=HybridClock(lambda: now))
    assert len(events(lab.log)) == 1
    session = lab.session(clock=HybridClock(lambda: now), max_clock_skew=91.0)
    assert session.confirmed.timestamp_us == now + 90_000_000 + 1


def test_l2_an_opening_heals_a_gap(lab: Lab) -> None:
    """L2: a send is lost and the next one lands. The next session extends the head before the gap."""
    group = lab.group()
    group.create_volume("v", KIB)
    head = group.session.confirmed
    put(lab.log, following(Heartbeat, head, sequence=head.sequence + 2, previous=b"the lost event.."))
    assert lab.reference().gap
    again = lab.group()
    again.volume("v").write(0, b"healed")
    again.flush()
    reference = lab.reference()
    assert not reference.gap and reference.sequence == again.session.confirmed.sequence == 4
    assert reference.volumes[2].data[:6] == b"healed"


@pytest.mark.parametrize("outcome", [Outcome.DEDUPLICATED, Outcome.TWICE])
def test_an_opening_that_arrived_counts(lab: Lab, outcome: Outcome) -> None:
    """Told without an offset, or in the log twice."""
    lab.log.plan(outcome)
    session = lab.session()
    session.emit(Heartbeat)
    session.flush()
    assert lab.reference().sequence == 2 and session.epoch == 1


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.LOST])
def test_an_opening_whose_fate_is_unknown(lab: Lab, outcome: Outcome) -> None:
    """It is given up; the next one goes on from what is there."""
    lab.log.plan(outcome)
    with pytest.raises(LogUnavailable):
        lab.session()
    assert lab.session().epoch == (2 if outcome is Outcome.UNKNOWN else 1)


def test_an_opening_that_nobody_answers(lab: Lab) -> None:
    """It gives up after `write_timeout`, and sends nothing more."""
    lab.log.hold()
    with pytest.raises(LogUnavailable, match=r"within 0\.1 s"):
        lab.session(write_timeout=0.1)
    lab.log.release()
    assert not events(lab.log)


def test_nothing_is_written_before_the_opening_is_confirmed(lab: Lab) -> None:
    """While it is on its way there is no session to write with."""
    lab.log.hold()
    opened: list[object] = []
    thread = threading.Thread(target=lambda: opened.append(lab.session()))
    thread.start()
    until(lambda: lab.log.pending)
    lab.log.pending[0].land()
    assert not opened and len(lab.log.pending) == 1
    lab.log.pending[0].acknowledge()
    thread.join()
    assert opened


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value[:-1] + bytes([value[-1] ^ 1]),
        lambda value: value[:20] + bytes([value[20] ^ 128]) + value[21:],
        lambda value: value[:-1],
        lambda value: value + b"\0",
        lambda _value: b"",
        lambda _value: b"not an event at all, but long enough to be one",
    ],
)
def test_a_log_with_a_record_that_is_no_event(lab: Lab, spoil: Callable[[bytes], bytes]) -> None:
    """A flipped bit, a cut record, trailing bytes, something else: no session opens, and the offset is named."""
    lab.session().close()
    lab.log.put(spoil(lab.log._records[0].value))
    with pytest.raises(CorruptEvent) as told:
        lab.session()
    assert told.value.offset == 1
    assert len(events_before(lab.log, 1)) == 1 and len(lab.log._records) == 2


def events_before(log: MemoryLog, offset: int) -> list[object]:
    """The records below an offset."""
    return [record for record in log._records if record.offset < offset]


def test_a_log_truncated_while_it_is_read(lab: Lab) -> None:
    """The fold reads again from its head after a new leader, and opens at what is there now."""
    group = lab.group()
    for name in ("a", "b", "c", "d"):
        group.create_volume(name, KIB)
    real = lab.log.appender
    times: list[int] = []

    def appender() -> object:
        if not times:
            times.append(1)
            lab.log.truncate(3, noticed=False)
        return real()

    lab.log.appender = appender  # type: ignore[method-assign,assignment]
    with pytest.raises(LogDiverged):
        lab.session()
    session = lab.session()
    session.emit(Heartbeat)
    session.flush()
    assert lab.reference().sequence == session.confirmed.sequence
    assert [volume.name for volume in session.state.volumes] == ["a", "b"]
