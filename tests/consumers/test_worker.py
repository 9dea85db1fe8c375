"""The site worker: which groups it serves, what it says of them, and how it ends."""

import threading
from collections.abc import Mapping

import pytest

from tests.consumers.conftest import Lab, configuration, until, written
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import LogUnavailable, NotFound, TidelogError
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.control_record import ControlRecord


class Shared:
    """Ownership that a test hands round."""

    def __init__(self, owns: set[str]) -> None:
        self.owns = owns
        self.committed: dict[str, int] = {}
        self.closed = False
        self.error: TidelogError | None = None

    def owned(self, groups: Mapping[str, str]) -> set[str]:
        if self.error is not None:
            raise self.error
        return self.owns & set(groups)

    def commit(self, offsets: Mapping[str, int]) -> None:
        self.committed.update(offsets)

    def close(self) -> None:
        self.closed = True


def streaming(lab: Lab, site: str = "osaka", group: str = "bank", least: int = 0) -> SiteStatus:
    """The status once it streams."""
    found = until(
        lambda: (
            (status := lab.status(site, group)) and status.state == "STREAMING" and status.sequence >= least and status
        ),
        "streaming",
    )
    assert isinstance(found, SiteStatus)
    return found


def test_what_a_status_says(lab: Lab) -> None:
    """Position, the log's end, what was applied and what was not, by whom and when."""
    group = written(lab.group())
    lab.log.put(lab.log._records[2].value)
    lab.worker()
    head = group.session.confirmed
    status = streaming(lab, least=head.sequence)
    status = until(lambda: (found := lab.status()) and found.redelivered == 1 and found, "the redelivered record")
    assert (status.site, status.group, status.reason, status.hint) == ("osaka", "bank", "", "")
    assert (status.sequence, status.seal, status.epoch) == (head.sequence, head.seal, head.epoch)
    assert (status.timestamp_us, status.offset) == (head.timestamp_us, head.offset)
    assert status.end_offset == lab.log.bounds().end == head.offset + 2
    assert status.events_applied == sum(event.changes for event in lab.reference().counted) and status.void == 0
    assert status.reported_us > head.timestamp_us and ":" in status.worker
    newer = until(lambda: (found := lab.status()) and found.reported_us > status.reported_us and found, "the next one")
    assert newer.model_copy(update={"reported_us": status.reported_us}) == status


def test_the_first_status_is_no_boast(lab: Lab) -> None:
    """A site that has everything before it does not say that it streams."""
    group = lab.group()
    for _ in range(5):
        written(group)
    said: list[SiteStatus] = []
    real = lab.control.publish

    def publish(record: ControlRecord, timeout: float = 1.0) -> None:
        if isinstance(record, SiteStatus):
            said.append(record)
        real(record, timeout)

    lab.control.publish = publish  # type: ignore[method-assign]
    lab.keyspace().between = lambda _point: threading.Event().wait(0.005)
    lab.worker()
    lab.caught_up()
    until(lambda: said and said[-1].state == "STREAMING", "streaming")
    for status in said:
        assert status.state != "STREAMING" or status.sequence == lab.reference().sequence


def test_a_worker_that_stops_says_so(lab: Lab) -> None:
    """The last status is STOPPED, at the position of the store; the membership is left."""
    written(lab.group())
    membership = Shared({"bank"})
    worker, thread = lab.worker(membership=lambda: membership)
    streaming(lab, least=lab.reference().sequence)
    worker.stop()
    thread.join(10.0)
    assert not thread.is_alive() and membership.closed
    status = lab.status()
    assert status is not None and status.state == "STOPPED"
    assert status.sequence == lab.compare().position().head.sequence == lab.reference().sequence
    assert membership.committed == {lab.record.topic: status.offset + 1}
    assert not worker.replicas


def test_groups_made_later_are_served(lab: Lab) -> None:
    """Without being told, and also those that nobody has written to yet."""
    lab.worker()
    until(lambda: lab.status(group="bank"), "the first group")
    lab.cluster.create_group("later")
    assert streaming(lab, group="later").sequence == 0


def test_only_some_groups(lab: Lab) -> None:
    """A worker that is told which groups to serve leaves the others alone."""
    lab.cluster.create_group("other")
    worker, _ = lab.worker(groups=("other",))
    streaming(lab, group="other")
    assert worker.replicas.keys() == {"other"} and lab.status(group="bank") is None


def test_ownership_moves(lab: Lab) -> None:
    """A group that goes to another worker stops here and goes on there; nothing is applied twice."""
    group = lab.group()
    here, there = Shared({"bank"}), Shared(set())
    first, _ = lab.worker(membership=lambda: here)
    second, _ = lab.worker(membership=lambda: there)
    for turn in range(4):
        written(group)
        lab.caught_up()
        here.owns, there.owns = there.owns, here.owns
        owner, other = (second, first) if turn % 2 == 0 else (first, second)
        until(lambda owner=owner, other=other: owner.replicas.keys() == {"bank"} and not other.replicas, "the move")
    written(group)
    lab.caught_up()


def test_one_group_that_cannot_be_served_harms_no_other() -> None:
    """A group whose key is missing here is a status of that group; the worker serves the rest."""
    keyed = configuration(groups={"bank": {"key": "ab" * 16}})
    lab = Lab(keyed)
    lab.deployment.cluster._config = configuration()  # type: ignore[attr-defined]
    try:
        lab.cluster.create_group("open")
        worker, thread = lab.worker()
        streaming(lab, group="open")
        status = until(lambda: (found := lab.status()) and found.state == "HALTED" and found, "the keyed group's halt")
        assert status.reason.startswith("ConfigError: the group bank is keyed") and "key_file" in status.hint
        assert thread.is_alive() and worker.unreachable is None
    finally:
        lab.end()


def test_a_log_that_is_gone_harms_no_other(lab: Lab) -> None:
    """Nor does a topic that somebody deleted, under a running replica or before it starts."""
    written(lab.group())
    lab.cluster.create_group("gone")
    lab.worker()
    streaming(lab, group="gone")
    del lab.cluster._logs[f"{lab.deployment.config.prefix}.gone"]  # type: ignore[attr-defined]
    _, thread = lab.worker("london")
    status = until(lambda: (found := lab.status("london", "gone")) and found.state == "HALTED" and found, "the halt")
    assert status.reason.startswith("NotFound")
    streaming(lab, "london")
    assert thread.is_alive()


def test_the_cluster_is_away(lab: Lab) -> None:
    """At the start and in the middle: the worker waits, says why, and goes on by itself."""
    group = lab.group()
    lab.control.cut_off()
    worker, thread = lab.worker()
    until(lambda: worker.unreachable, "the reason")
    lab.control.restore()
    streaming(lab)
    assert worker.unreachable is None
    lab.control.cut_off()
    lab.log.cut_off()
    until(lambda: worker.unreachable, "the reason")
    lab.control.restore()
    lab.log.restore()
    written(group)
    streaming(lab, least=group.session.confirmed.sequence)
    assert thread.is_alive()


def test_the_membership_is_away(lab: Lab) -> None:
    """A consumer group that does not answer stops no replica."""
    group = lab.group()
    membership = Shared({"bank"})
    worker, _ = lab.worker(membership=lambda: membership)
    streaming(lab)
    membership.error = LogUnavailable("the consumer group does not answer")
    until(lambda: worker.unreachable, "the reason")
    written(group)
    lab.caught_up()
    membership.error = None
    streaming(lab, least=group.session.confirmed.sequence)


def test_a_stop_does_not_wait_for_a_cluster_that_is_away(lab: Lab) -> None:
    """It ends, and what it would have said is told by the age of its last status."""
    worker, thread = lab.worker()
    streaming(lab)
    lab.control.cut_off()
    worker.stop()
    thread.join(10.0)
    assert not thread.is_alive() and isinstance(worker.unreachable, LogUnavailable)


def test_an_unknown_site(lab: Lab) -> None:
    """Named, with those that there are."""
    with pytest.raises(NotFound, match="there are: london, osaka, tokyo"):
        SiteWorker(lab.deployment, "paris", Shared)  # type: ignore[arg-type]


def test_two_workers_of_a_site(lab: Lab) -> None:
    """Both own everything, in error: the store is a fold, and the receipts of both are the same."""
    group = lab.group()
    lab.worker()
    lab.worker()
    for _ in range(5):
        written(group)
    lab.caught_up()
    streaming(lab, least=group.session.confirmed.sequence)
    last = max(lab.reference().copies)
    receipt = until(lambda: lab.receipt(last), "a receipt")
    assert receipt.digest == lab.reference().copies[last].digest
