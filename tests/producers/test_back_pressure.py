"""A log that does not keep up, or does not answer: writers wait, then are told, and nobody waits for ever."""

import threading
import time
from typing import Any

import pytest

from tests.producers.conftest import Lab, events, until
from tidelog.errors import LogUnavailable, TidelogError
from tidelog.producers.group import Group
from tidelog.producers.session import WriterSession

KIB = 1024


def in_thread(call: Any) -> tuple[threading.Thread, list[TidelogError | None]]:
    """Calls on a thread of its own; what it raised, or None, once it returned."""
    outcome: list[TidelogError | None] = []

    def run() -> None:
        try:
            call()
            outcome.append(None)
        except TidelogError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def filled(lab: Lab, **settings: Any) -> Group:
    """A group whose buffer is full of unconfirmed writes."""
    group = lab.group(batch_bytes=4 * KIB, buffer_bytes=16 * KIB, **settings)
    volume = group.create_volume("v", 64 * KIB)
    lab.log.hold()
    while group.session._confirmations.unconfirmed_bytes <= 16 * KIB:
        volume.write(0, b"x" * 4 * KIB)
    return group


def test_a_full_buffer_makes_a_write_wait_for_room(lab: Lab) -> None:
    """It goes on as soon as enough is confirmed, and everything is in the log, in order."""
    group = filled(lab)
    writer, outcome = in_thread(lambda: group.volume("v").write(0, b"last" * KIB))
    until(lambda: group.session._confirmations._changed._waiters, "a writer that waits")
    assert writer.is_alive() and not outcome
    lab.log.deliver(1)
    writer.join()
    assert outcome == [None]
    lab.log.release()
    group.flush()
    assert lab.reference().volumes[group.volume("v").id].data[: 4 * KIB] == b"last" * KIB


def test_memory_is_bounded_however_many_write(lab: Lab) -> None:
    """Many writers against a log that confirms nothing buffer no more than the buffer and a batch."""
    group = filled(lab)
    volume = group.volume("v")
    running = [in_thread(lambda: volume.write(0, b"y" * 4 * KIB))[0] for _ in range(6)]
    until(lambda: group.session._confirmations._changed._waiters, "a writer that waits")
    assert group.session._confirmations.unconfirmed_bytes < 16 * KIB + 2 * (4 * KIB + 500)
    lab.log.release()
    for thread in running:
        thread.join()


@pytest.mark.parametrize("calling", ["write", "flush", "mark"])
def test_a_log_that_confirms_nothing_ends_the_session(lab: Lab, calling: str) -> None:
    """After `write_timeout` without progress: `LogUnavailable`, from then on at once; what is sent may yet arrive."""
    group = filled(lab, write_timeout=0.2)
    volume = group.volume("v")
    call = {"write": lambda: volume.write(0, b"z"), "flush": group.flush, "mark": lambda: group.mark("m")}[calling]
    with pytest.raises(LogUnavailable, match=r"confirmed nothing for 0\.2 s") as told:
        call()
    assert told.value.hint
    until(lambda: not group.session._thread.is_alive(), "the end of the session")
    started = time.monotonic()
    for again in (group.flush, lambda: volume.write(0, b"z"), lambda: group.mark("n"), lambda: volume.discard(0, 1)):
        with pytest.raises(LogUnavailable):
            again()
    assert time.monotonic() - started < 0.2
    count = len(events(lab.log))
    lab.log.release()
    assert len(events(lab.log)) == count  # abandoned: nothing more is handed on


def test_slow_progress_is_progress(lab: Lab) -> None:
    """A flush that takes longer than the timeout is well as long as something is confirmed now and then."""
    group = filled(lab, write_timeout=0.5)
    flushing, outcome = in_thread(group.flush)
    started = time.monotonic()
    while lab.log.pending and time.monotonic() - started < 0.8:
        time.sleep(0.1)  # the time itself is what is tested
        lab.log.deliver(1)
    lab.log.release()
    flushing.join()
    assert outcome == [None]


def test_everyone_who_waits_is_told(lab: Lab) -> None:
    """Flushes and writes in many threads all get the error of the send that failed."""
    group = filled(lab)
    volume = group.volume("v")
    waiting = [in_thread(group.flush) for _ in range(3)] + [in_thread(lambda: volume.write(0, b"w"))]
    until(lambda: len(group.session._confirmations._changed._waiters) >= 3, "threads that wait")
    lab.log.pending[0].fail()
    for thread, _ in waiting:
        thread.join()
    assert [type(error) for _, (error,) in waiting] == [LogUnavailable] * 4


def test_an_abandoned_group_leaves_nobody_waiting(lab: Lab) -> None:
    """A flush in another thread ends with an error, not never."""
    group = filled(lab)
    flushing, outcome = in_thread(group.flush)
    until(lambda: group.session._confirmations._changed._waiters, "a flush that waits")
    group.abandon()
    flushing.join()
    assert isinstance(outcome[0], LogUnavailable)


def test_the_thread_rests_while_the_log_is_away(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a heartbeat overdue and something unconfirmed, the session's thread does not turn in circles."""
    turns = []
    real = WriterSession._beat

    def counted(session: WriterSession) -> None:
        turns.append(1)
        real(session)

    monkeypatch.setattr(WriterSession, "_beat", counted)
    group = lab.group(heartbeat=0.05)
    volume = group.create_volume("v", KIB)
    lab.log.hold()
    volume.write(0, b"x")
    flushing, outcome = in_thread(group.flush)
    until(lambda: lab.log.pending)
    before, began = len(turns), time.monotonic()
    time.sleep(0.4)  # the time itself is what is tested: two hundred turns a second at most
    assert len(turns) - before < 500 * (time.monotonic() - began)
    lab.log.release()
    flushing.join()
    assert outcome == [None]


def test_a_cluster_that_comes_back_in_time_is_no_error(lab: Lab) -> None:
    """Cut off in the middle, restored before the timeout: the flush returns, and everything counts."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    lab.log.cut_off()
    volume.write(0, b"x")
    flushing, outcome = in_thread(group.flush)
    until(lambda: group.session._confirmations._changed._waiters, "a flush that waits")
    lab.log.restore()
    flushing.join()
    assert outcome == [None] and lab.reference().sequence == 3


def test_a_cluster_that_is_away_at_the_start(lab: Lab) -> None:
    """An opening says so, and leaves nothing behind."""
    lab.log.cut_off()
    with pytest.raises(LogUnavailable):
        lab.session()
    lab.log.restore()
    assert lab.session().epoch == 1


def test_events_wait_for_room_too(lab: Lab) -> None:
    """Discards, like writes, are held up while the buffer is full: a log that is away does not fill the memory."""
    group = lab.group(buffer_bytes=4 * KIB, write_timeout=0.3)
    volume = group.create_volume("data", "1MiB")
    lab.log.hold()

    def discard_all() -> None:
        for _ in range(1000):
            volume.discard(0, 4096)

    with pytest.raises(LogUnavailable):
        discard_all()
    assert group.session._confirmations.unconfirmed_bytes < 5 * KIB
