"""An observer that goes on looking while what it looks at changes, or cannot be looked at."""

from collections.abc import Callable

import pytest

from tests.consumers.conftest import Lab
from tidelog.errors import LogUnavailable, NotFound, TidelogError
from tidelog.gateways.standing.documents import group_json
from tidelog.gateways.standing.observer import Observer
from tidelog.producers.cluster import MemoryCluster
from tidelog.recovery.rpo import WriterState


def test_a_group_that_goes_on_in_another_topic(lab: Lab) -> None:
    """As after a region was taken up again: the newest event is that of the topic that counts now."""
    group = lab.group()
    group.create_volume("ledger", size=1 << 20)
    group.flush()
    other = lab.cluster.create_group("other")
    with Observer(lab.deployment, "bank") as observer:
        (before,) = observer.observe()
        assert before.newest is not None and before.newest.last_sequence == 2
        lab.control.publish(lab.record.model_copy(update={"topic": other.topic}))
        (after,) = observer.observe()
        assert after.newest is None


def raising(error: TidelogError) -> Callable[..., None]:
    def fails(*_: object) -> None:
        raise error

    return fails


def spoiled(lab: Lab, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Something is wrong with the group ``bad``, and nothing with ``bank``."""
    record = lab.cluster.create_group("bad")
    if how == "its topic is gone":
        lab.cluster._logs.pop(record.topic)
        return
    if how == "its key is missing here":
        lab.control.publish(record.model_copy(update={"keyed": True}))
        return
    name = "bounds" if how == "its partition has no leader" else "record_at"
    log = lab.cluster.log(record)
    log.appender().send(b"no event", lambda *_: None)
    monkeypatch.setattr(log, name, raising(LogUnavailable("the partition has no leader", hint="look at the broker")))


@pytest.mark.parametrize(
    "how", ["its topic is gone", "its key is missing here", "its partition has no leader", "its records are not given"]
)
def test_a_group_that_cannot_be_looked_at_hides_no_other(lab: Lab, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """It is shown with the reason, as an alarm, and nothing of its log is said; by name it is the error itself."""
    group = lab.group()
    group.create_volume("ledger", size=1 << 20)
    group.flush()
    spoiled(lab, monkeypatch, how)
    with Observer(lab.deployment) as observer:
        for _ in range(2):
            bad, bank = observer.observe()
            assert (bank.problem, bank.alarms) == ("", []) and bank.newest is not None
            assert (bad.problem and bad.hint) or how == "its topic is gone"
            (alarm,) = bad.alarms
            assert alarm == f"group bad cannot be looked at: {bad.problem}"
            assert bad.newest is None and bad.writer.state is WriterState.UNKNOWN
            for exposed in bad.exposures.values():
                assert (exposed.not_logged, exposed.not_applied, exposed.rpo) == (None, None, None)
            found = group_json(bad)
            assert found["problem"] == bad.problem and found["writer"]["state"] == "unknown"
            assert [site["lag_events"] for site in found["sites"]] == [None] * 3
            assert group_json(bank)["problem"] is None
    with Observer(lab.deployment, "bad") as observer, pytest.raises(TidelogError):
        observer.observe()


def test_a_group_that_is_lost_between_two_looks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log is opened anew with each look, until it is back."""
    opened = []
    open_log = MemoryCluster.log
    monkeypatch.setattr(MemoryCluster, "log", lambda self, record: opened.append(record) or open_log(self, record))
    with Observer(lab.deployment) as observer:
        assert observer.observe()[0].problem == ""
        with monkeypatch.context() as patch:
            patch.setattr(lab.log, "bounds", raising(NotFound("the topic is gone")))
            opened.clear()
            assert [observer.observe()[0].problem for _ in range(2)] == ["the topic is gone"] * 2
        assert len(opened) == 1  # the first of them had the log of the look before
        assert observer.observe()[0].problem == "" and len(opened) == 2


def test_a_position_that_cannot_be_read_behind(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails after the newest event was read does no more than what fails before."""
    group = lab.group()
    lab.cluster.create_group("other")
    group.create_volume("ledger", size=1 << 20)
    group.flush()
    monkeypatch.setattr(
        "tidelog.gateways.standing.observer.writer_standing", raising(LogUnavailable("the broker is gone"))
    )
    with Observer(lab.deployment) as observer:
        assert [one.problem for one in observer.observe()] == ["the broker is gone"] * 2


def test_a_control_topic_that_does_not_answer_ends_the_look(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since nothing at all is known then."""
    monkeypatch.setattr(lab.control, "snapshot", raising(LogUnavailable("Kafka does not answer")))
    with Observer(lab.deployment) as observer, pytest.raises(LogUnavailable):
        observer.observe()
