"""What a site says is the newest thing that keeps it from going on, not the first one."""

from tests.consumers.conftest import Lab, state, until, written
from tests.producers.author import following, put
from tidelog.consumers.replica import Replica, State
from tidelog.errors import CorruptEvent, LogDiverged, LogGap, LogUnavailable
from tidelog.schemas.events import Heartbeat


def in_a_gap(lab: Lab) -> Replica:
    """A replica in front of a hole in the log."""
    group = written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    head = group.session.confirmed
    put(lab.log, following(Heartbeat, head, sequence=head.sequence + 3), lab.codec)
    until(lambda: isinstance(replica.progress(0).error, LogGap), "the gap")
    assert state(replica) is State.HALTED and replica.running
    return replica


def test_a_halt_behind_a_gap(lab: Lab) -> None:
    """The gap would end with the next opening; this does not, so this is what is said, by the worker's status too."""
    worker, _ = lab.worker()
    group = written(lab.group())
    head = group.session.confirmed
    put(lab.log, following(Heartbeat, head, sequence=head.sequence + 3), lab.codec)
    until(lambda: (found := lab.status()) and found.reason.startswith("LogGap"), "the gap")
    lab.log.put(b"no event at all")
    until(lambda: not worker.replicas["bank"].running, "the halt")
    progress = worker.replicas["bank"].progress(0)
    assert progress.state is State.HALTED and isinstance(progress.error, CorruptEvent)
    status = until(lambda: (found := lab.status()) and not found.reason.startswith("LogGap") and found, "the news")
    assert status.state == "HALTED" and status.reason.startswith("CorruptEvent") and status.hint


def test_a_truncation_behind_a_gap(lab: Lab) -> None:
    """Likewise."""
    replica = in_a_gap(lab)
    lab.log.truncate(3)
    until(lambda: not replica.running, "the halt")
    assert isinstance(replica.progress(0).error, LogDiverged)


def test_a_log_that_goes_away_behind_a_gap(lab: Lab) -> None:
    """It waits for the log meanwhile; then the gap is what keeps it again, until it is stopped."""
    replica = in_a_gap(lab)
    lab.log.cut_off()
    until(lambda: isinstance(replica.progress(0).error, LogUnavailable), "the log is away")
    assert state(replica) is State.STARTING
    lab.log.restore()
    until(lambda: isinstance(replica.progress(0).error, LogGap), "the gap again")
    replica.stop()
    assert state(replica) is State.STOPPED and replica.progress(0).error is None
