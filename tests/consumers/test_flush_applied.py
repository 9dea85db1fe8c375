"""`flush(applied_at=n)`: what it promises, what it says when it cannot, and that it does not wait for a round."""

import time

import pytest

from tests.consumers.conftest import DEADLINE, SITES, Lab, configuration, until
from tidelog.config import Config
from tidelog.consumers.asked import PENDING_MOST, Asked
from tidelog.errors import Fenced, LogUnavailable, SiteBehind, UsageError
from tidelog.producers.memory_control import MemoryControl
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.reports import PositionAsked, ask_key


@pytest.fixture
def slow() -> Config:
    """Workers that report by themselves once in an hour."""
    used = configuration()
    return used.model_copy(update={"worker": used.worker.model_copy(update={"status_interval": 3600.0})})


@pytest.fixture
def lab(slow: Config):
    lab = Lab(slow)
    yield lab
    lab.end()


def reported(lab: Lab, site: str, **changes: object) -> SiteStatus:
    """What a site's worker would say, put on the control topic."""
    head = lab.store(site).position().head
    status = SiteStatus(
        site=site,
        group="bank",
        state="STREAMING",
        sequence=head.sequence,
        seal=head.seal,
        epoch=head.epoch,
        timestamp_us=head.timestamp_us,
        offset=head.offset,
        end_offset=0,
        events_applied=0,
        redelivered=0,
        void=0,
        reported_us=1,
        worker="test:1",
    ).model_copy(update=changes)
    lab.control.publish(status)
    return status


def test_what_it_returned_for_is_applied_and_at_once(lab: Lab) -> None:
    """A hundred times, at all three sites, whose workers report only because they are asked."""
    group = lab.group()
    for site in SITES:
        lab.worker(site)
    volume = group.create_volume("v", 4096)
    begun = time.monotonic()
    for index in range(100):
        volume.write(0, b"%d" % index)
        group.flush(applied_at=3, timeout=DEADLINE)
        sequence = group.session.confirmed.sequence
        assert {lab.store(site).position().head.sequence for site in SITES} == {sequence}
    assert time.monotonic() - begun < DEADLINE


def test_two_of_three_do_not_wait_for_the_third(lab: Lab) -> None:
    group = lab.group()
    for site in SITES[:2]:
        lab.worker(site)
    volume = group.create_volume("v", 4096)
    volume.write(0, b"x")
    group.flush(applied_at=2, timeout=DEADLINE)
    group.flush(applied_at=1, sites=["osaka"], timeout=DEADLINE)
    for more in ({"applied_at": 3}, {"applied_at": 1, "sites": ["london"]}):
        with pytest.raises(SiteBehind, match="london has never reported") as raised:
            group.flush(timeout=0.2, **more)
        assert f"sequence {group.session.confirmed.sequence} is in the log" in raised.value.message
    assert lab.reference().sequence == group.session.confirmed.sequence


def test_a_site_that_is_behind_is_named_with_where_it_is(lab: Lab) -> None:
    group = lab.group()
    worker, thread = lab.worker("osaka")
    volume = group.create_volume("v", 4096)
    group.flush(applied_at=1, sites=["osaka"], timeout=DEADLINE)
    before = group.session.confirmed.sequence
    worker.stop()
    thread.join(DEADLINE)
    volume.write(0, b"x")
    with pytest.raises(SiteBehind, match=rf"osaka is at {before} \(STOPPED\)"):
        group.flush(applied_at=1, sites=["osaka"], timeout=0.2)


def test_a_worker_that_does_not_answer_is_not_called_well(lab: Lab) -> None:
    """What it said last, before it froze, is told as that."""
    group = lab.group()
    replica = lab.replica("osaka")
    volume = group.create_volume("v", 4096)
    until(lambda: replica.progress(0).head.sequence == 2, "osaka at the end")
    reported(lab, "osaka", state="STREAMING")
    group.flush(applied_at=1, timeout=DEADLINE)
    volume.write(0, b"not seen")
    with pytest.raises(SiteBehind, match="osaka has not answered; at 2 it was STREAMING"):
        group.flush(applied_at=1, timeout=0.2)


@pytest.mark.parametrize("state", ["REBUILDING", "NEEDS_REBUILD"])
def test_an_image_that_is_not_whole_does_not_count(lab: Lab, state: str) -> None:
    group = lab.group()
    lab.worker("osaka")
    group.create_volume("v", 4096)
    group.flush(applied_at=1, timeout=DEADLINE)
    until(lambda: lab.status("osaka"), "a report")
    for worker, thread in lab._workers:
        worker.stop()
        thread.join(DEADLINE)
    reported(lab, "osaka", state=state)
    with pytest.raises(SiteBehind, match=state):
        group.flush(applied_at=1, timeout=0.2)
    reported(lab, "osaka")
    group.flush(applied_at=1, timeout=DEADLINE)


def test_one_that_waits_for_its_redis_is_said_to_wait(lab: Lab) -> None:
    """In the word that `tidelog status` has for it."""
    group = lab.group()
    lab.worker("osaka")
    group.create_volume("v", 4096)
    group.flush(applied_at=1, timeout=DEADLINE)
    for worker, thread in lab._workers:
        worker.stop()
        thread.join(DEADLINE)
    group.create_volume("w", 4096)
    reported(lab, "osaka", state="STARTING", reason="StoreUnavailable: Redis does not answer")
    with pytest.raises(SiteBehind, match="osaka has not answered; at 2 it was WAITING"):
        group.flush(applied_at=1, timeout=0.2)


def test_a_position_of_another_history_does_not_count(lab: Lab) -> None:
    """As far along by its sequence, and not what this log holds."""
    group = lab.group()
    replica = lab.replica("osaka")
    group.create_volume("v", 4096)
    until(lambda: replica.progress(0).head.sequence == 2, "osaka at the end")
    reported(lab, "osaka", seal=b"another history!", sequence=50)
    with pytest.raises(SiteBehind, match="osaka is at 50 of another history"):
        group.flush(applied_at=1, timeout=0.2)
    reported(lab, "osaka")
    group.flush(applied_at=1, timeout=DEADLINE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"applied_at": 4}, "cannot be reached at 3 sites"),
        ({"applied_at": -1}, "cannot be reached"),
        ({"applied_at": 2, "sites": ["osaka", "osaka"]}, "cannot be reached at 1 sites"),
        ({"applied_at": 0, "sites": ["osaka"]}, "waited for with applied_at"),
        ({"applied_at": 1, "sites": ["mars"]}, "no site 'mars'"),
        ({"applied_at": 1, "sites": "osaka"}, "a list of names"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_flushed(lab: Lab, arguments, said: str) -> None:
    group = lab.group()
    volume = group.create_volume("v", 4096)
    with group.session.order:  # so that no linger flushes it meanwhile
        volume.write(0, b"x")
        before = len(lab.log._records)
        with pytest.raises(UsageError, match=said):
            group.flush(**arguments)
        assert len(lab.log._records) == before


def test_a_flush_that_fails_is_that_error_and_asks_nobody(lab: Lab) -> None:
    group = lab.group()
    volume = group.create_volume("v", 4096)
    lab.group()  # fences
    volume.write(0, b"x")
    with pytest.raises(Fenced):
        group.flush(applied_at=1, timeout=DEADLINE)
    assert ask_key("bank") not in lab.control.snapshot()


def test_without_a_control_topic_it_is_in_the_log_all_the_same(lab: Lab) -> None:
    group = lab.group()
    volume = group.create_volume("v", 4096)
    volume.write(0, b"x")
    lab.control.cut_off()
    with pytest.raises(LogUnavailable):
        group.flush(applied_at=1, timeout=DEADLINE)
    lab.control.restore()
    assert lab.reference().sequence == 3
    group.flush()


class FakeReplica:
    """A replica of which only the position counts here."""

    def __init__(self) -> None:
        self.sequence = 0

    def progress(self, _: int):
        return self

    @property
    def head(self):
        return self


def test_a_writer_that_asks_again_and_again_starves_nobody() -> None:
    """The site is always a little behind the newest question; every one that it has reached is answered."""
    control, replica, reports = MemoryControl(), FakeReplica(), list[int]()
    asked = Asked(control)
    for sequence in range(10, 400, 10):
        control.publish(PositionAsked(group="bank", sequence=sequence, asked_us=sequence))
        replica.sequence = sequence - 15
        asked.answer(
            time.monotonic() + 0.005, {"bank": replica}, lambda _: reports.append(replica.sequence), lambda: False
        )
    assert len(reports) > 20 and reports[-1] >= 300


def test_more_questions_than_are_remembered_are_answered_by_the_last() -> None:
    control, replica, reports = MemoryControl(), FakeReplica(), list[int]()
    asked = Asked(control)

    def step(sequence: int) -> None:
        control.publish(PositionAsked(group="bank", sequence=sequence, asked_us=sequence))
        asked.answer(
            time.monotonic() + 0.001, {"bank": replica}, lambda _: reports.append(replica.sequence), lambda: False
        )

    for sequence in range(1, 3 * PENDING_MOST):
        step(sequence)
    assert reports == []
    replica.sequence = 3 * PENDING_MOST
    step(3 * PENDING_MOST)
    assert reports == [3 * PENDING_MOST]


def test_a_worker_that_listens_ends_promptly_when_told(lab: Lab) -> None:
    lab.group()
    worker, thread = lab.worker("osaka")
    until(lambda: status_key("bank", "osaka") in lab.control.snapshot(), "its first report")
    begun = time.monotonic()
    worker.stop()
    thread.join(DEADLINE)
    assert not thread.is_alive() and time.monotonic() - begun < 5
