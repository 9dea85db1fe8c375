"""What becomes of a send, and what the session makes of it."""

import pytest

from tests.producers.conftest import Lab, events, until
from tests.producers.test_back_pressure import in_thread
from tidelog.errors import ConfigError, LogUnavailable, SessionClosed, TidelogError
from tidelog.producers.memory_send import Outcome

KIB = 1024


@pytest.mark.parametrize("outcome", [Outcome.DELIVERED, Outcome.DEDUPLICATED, Outcome.TWICE])
def test_a_send_that_arrived_is_confirmed(lab: Lab, outcome: Outcome) -> None:
    """Once, twice, or told without an offset: the flush returns, and so do the next ones."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    lab.log.plan(outcome)
    for index in range(5):
        volume.write(index, bytes([index + 65]))
        head = group.session.flush()
        assert lab.log.record_at(head.offset) is not None
        assert lab.reference().at(head.sequence).seal == head.seal
    assert lab.reference().volumes[volume.id].data[:5] == b"ABCDE"
    assert lab.reference().skipped["redelivered"] == (outcome is Outcome.TWICE)


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.LOST])
def test_a_send_that_failed_ends_the_session(lab: Lab, outcome: Outcome) -> None:
    """The write may or may not be in the log; nothing is sent after it, and the next session goes on from the truth."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    lab.log.plan(outcome)
    volume.write(0, b"x")
    with pytest.raises(LogUnavailable):
        group.flush()
    count = len(events(lab.log))
    for call in (lambda: volume.write(1, b"y"), group.flush, lambda: group.mark("m")):
        with pytest.raises(LogUnavailable):
            call()
    assert len(events(lab.log)) == count
    again = lab.group()
    again.volume("v").write(1, b"y")
    again.flush()
    there = outcome is Outcome.UNKNOWN
    assert lab.reference().volumes[volume.id].data[:2] == (b"xy" if there else b"\0y")
    assert not lab.reference().gap


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.LOST])
def test_leaving_after_a_failed_send_says_so(lab: Lab, outcome: Outcome) -> None:
    """A `with` block that ends without an error means that everything is in the log."""
    with pytest.raises(LogUnavailable), lab.group() as group:  # noqa: PT012
        volume = group.create_volume("v", 64 * KIB)
        lab.log.plan(outcome)
        volume.write(0, b"x" * 64 * KIB)  # closes its batch; nobody flushes
    group.close()  # a second time it does nothing


def test_the_error_inside_a_block_is_what_comes_out(lab: Lab) -> None:
    """A failing flush on the way out does not hide why the way out was taken."""
    with pytest.raises(ZeroDivisionError), lab.group() as group:  # noqa: PT012
        volume = group.create_volume("v", KIB)
        lab.log.plan(Outcome.LOST)
        volume.write(0, b"x")
        raise ZeroDivisionError
    with pytest.raises(LogUnavailable):
        group.flush()


def test_a_block_left_by_an_error_still_flushes(lab: Lab) -> None:
    """What was written before it is in the log."""
    with pytest.raises(ZeroDivisionError), lab.group() as group:  # noqa: PT012
        group.create_volume("v", KIB).write(0, b"x")
        raise ZeroDivisionError
    assert lab.reference().sequence == 3
    with pytest.raises(SessionClosed):
        group.flush()


def test_a_lost_heartbeat_alone_is_no_lost_write(lab: Lab) -> None:
    """Everything that anybody wrote was confirmed before: leaving is quiet."""
    with lab.group(heartbeat=0.01) as group:
        group.create_volume("v", KIB)
        lab.log.plan(Outcome.LOST)
        until(lambda: group.session._confirmations.error is not None, "a heartbeat that fails")


def test_what_is_in_flight_behind_a_failed_send_is_not_confirmed(lab: Lab) -> None:
    """The first of three fails, the others land all the same: no flush of them returns, and a gap is what they are."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    lab.log.hold()
    outcomes = []
    for index in range(3):
        volume.write(index, b"x")
        outcomes.append(in_thread(group.flush))
        until(lambda index=index: len(lab.log.pending) == index + 1)
    first, second, third = lab.log.pending
    second.on_wire = third.on_wire = True
    first.lose()
    second.land()
    third.land()
    for thread, outcome in outcomes:
        thread.join()
        assert isinstance(outcome[0], LogUnavailable)
    assert lab.reference().gap and lab.reference().sequence == group.session.confirmed.sequence == 2


def test_acknowledgements_confirm_in_order(lab: Lab) -> None:
    """A flush returns when its own writes are confirmed, not before and not later."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    lab.log.hold()
    flushes = []
    for index in range(3):
        volume.write(index, b"x")
        flushes.append(in_thread(group.flush))
        until(lambda index=index: len(lab.log.pending) == index + 1)
    for index, (thread, outcome) in enumerate(flushes):
        assert group.session.confirmed.sequence == 2 + index
        assert not outcome
        lab.log.pending[0].land()
        assert group.session.confirmed.sequence == 2 + index  # in the log is not yet acknowledged
        lab.log.pending[0].acknowledge()
        thread.join()
        assert outcome == [None]


def test_a_record_that_the_log_refuses(lab: Lab) -> None:
    """The broker's own refusal, such as a record too large for it, is what the caller sees."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    lab.log.hold()
    volume.write(0, b"x")
    flushing, outcome = in_thread(group.flush)
    until(lambda: lab.log.pending)
    lab.log.pending[0]._finish(-1, ConfigError("the record is too large", hint="raise max.message.bytes"))
    flushing.join()
    assert isinstance(outcome[0], ConfigError) and outcome[0].hint
    with pytest.raises(ConfigError):
        group.flush()


def test_an_unforeseen_error_ends_the_session_too(lab: Lab) -> None:
    """A thread that dies silently would let writes pile up."""
    group = lab.group(linger=0.0)
    volume = group.create_volume("v", KIB)
    lab.codec.encode = lambda _event: 1 / 0  # type: ignore[method-assign,assignment]
    volume.write(0, b"x")
    until(lambda: not group.session._thread.is_alive(), "the end of the session")
    with pytest.raises(TidelogError, match="ZeroDivisionError"):
        group.flush()
