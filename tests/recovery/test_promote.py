"""Promoting a site, in memory with real workers on threads: nothing that was accepted is lost, and who may not be
promoted is refused before anybody is asked."""

import threading
import time
from dataclasses import replace

import pytest

from tests.recovery.promote_lab import BLOCK, asked, chosen, promoted, read_at, view_of
from tidelog.clock import wall_us
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.errors import Fenced, NotFound, SiteBehind, StoreUnavailable, TidelogError, UsageError
from tidelog.producers.stepping_down import SteppingDown, step_down
from tidelog.recovery import promote as promote_module
from tidelog.recovery import promote_plan as promote_plan_module
from tidelog.recovery.promote import Promotion
from tidelog.recovery.promote_plan import PromotionRefused, plan_promotion, writer_to_stop
from tidelog.recovery.rpo import WriterStanding, WriterState
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.events import WriterOpened
from tidelog.schemas.promotions import opened_for, promotion_key
from tidelog.schemas.reports import CLOSED, WriterStatus, writer_key
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment


def test_what_the_writer_had_accepted_is_at_the_new_primary(running: RunningDeployment) -> None:
    """Without a flush by the application; its next call says what has happened, and opening again reads at osaka."""
    group = running.group("bank")
    ledger = group.create_volume("ledger", 1 << 20)
    ledger.write(0, b"accepted, not flushed")
    report = promoted(running, "osaka")
    assert [(last.state, last.epoch) for last in report.stopped] == [(CLOSED, group.session.epoch)]
    for call in (lambda: ledger.write(0, b"x"), group.flush, lambda: group.mark("late"), lambda: ledger.read(0, 1)):
        with pytest.raises(Fenced, match=r"promoted to site osaka.*all that it had accepted is in the log") as caught:
            call()
        assert "open the group again: then it reads at osaka" in caught.value.hint
    group.close()  # nothing is unknown, so it says nothing
    assert read_at(running, "osaka", 21) == b"accepted, not flushed"
    found = chosen(running)
    assert found is not None and (found.site, found.before, found.forced) == ("osaka", "tokyo", False)
    assert (found.epoch, found.sequence, found.seal) == (report.epoch, report.sequence, report.seal)
    assert promotion_key("bank") not in view_of(running)
    again = running.group("bank")
    assert again.read_side.site == "osaka" and again.session.epoch == report.epoch + 1
    assert again.volume("ledger").read(0, 21) == b"accepted, not flushed"


def test_a_flush_that_waits_when_the_session_ends_returns(running: RunningDeployment) -> None:
    """Under load from several threads: every flush that returned is there, and each ends by `Fenced`."""
    group = running.group("bank")
    ledger = group.create_volume("ledger", 1 << 20)
    flushed, ended = [0] * 4, []

    def write(who: int) -> None:
        number = 0
        try:
            while True:
                number += 1
                ledger.write(who * BLOCK, number.to_bytes(8, "big"))
                group.flush()
                flushed[who] = number
        except TidelogError as error:
            ended.append(error)

    threads = [threading.Thread(target=write, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: min(flushed) > 50, timeout_s=20)
    promoted(running, "osaka")
    for thread in threads:
        thread.join(20)
    assert [type(error) for error in ended] == [Fenced] * 4
    data = read_at(running, "osaka", 4 * BLOCK)
    found = [int.from_bytes(data[who * BLOCK : who * BLOCK + 8], "big") for who in range(4)]
    assert all(number <= there <= number + 1 for number, there in zip(flushed, found, strict=True))


def test_with_no_writer_nobody_is_asked(running: RunningDeployment) -> None:
    """Never opened; closed in good order; and an epoch that a promotion has opened."""
    assert promoted(running, "osaka").stopped == []
    with open_group("bank", deployment=running.deployment) as group:
        group.create_volume("ledger", BLOCK).write(0, b"there")
    assert promoted(running, "london").stopped == []
    assert read_at(running, "london", 5) == b"there"
    assert promoted(running, "tokyo", timeout=1).stopped == []
    last = view_of(running)[writer_key("bank")]
    assert isinstance(last, WriterStatus) and (last.state, last.epoch) == (CLOSED, chosen(running).epoch)


def test_the_primary_is_not_promoted_again(running: RunningDeployment) -> None:
    """The same command again does nothing, but tidy up behind one that was cut short; and there and back again."""
    first = promoted(running, "osaka")
    group = running.group("bank")
    control = running.deployment.cluster.control
    control.publish(asked(group, writer=bytes(16), epoch=first.epoch - 1, asked_us=chosen(running).chosen_us - 1))
    assert promoted(running, "osaka").epoch == 0
    assert promotion_key("bank") not in view_of(running)
    group.create_volume("ledger", BLOCK).write(0, b"undisturbed")
    group.flush()
    assert promoted(running, "tokyo").before == "osaka"
    assert running.group("bank").read_side.site == "tokyo"


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers hear nothing, as one that hangs."""
    monkeypatch.setattr(SteppingDown, "hear", lambda _self: None)


@pytest.mark.usefixtures("deaf")
def test_a_writer_that_does_not_answer_is_left_alone(
    running: RunningDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, the request withdrawn; the writer goes on, also once it hears again."""
    group = running.group("bank")
    ledger = group.create_volume("ledger", BLOCK)
    with pytest.raises(PromotionRefused, match=r"did not end within 0.3 s.*tokyo still is the primary") as caught:
        promoted(running, "osaka", timeout=0.3)
    assert caught.value.exit_code == 13 and "--force" in caught.value.hint
    assert promotion_key("bank") not in view_of(running) and chosen(running) is None
    monkeypatch.undo()
    time.sleep(0.5)
    ledger.write(0, b"goes on")
    group.flush()
    assert not group.session.ended


@pytest.mark.usefixtures("deaf")
def test_ctrl_c_withdraws_the_request(running: RunningDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the writer goes on."""
    group = running.group("bank")

    def interrupted(*_: object) -> None:
        assert view_of(running)[promotion_key("bank")].writer == group.session.writer
        raise KeyboardInterrupt

    monkeypatch.setattr(Promotion, "_await_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        promoted(running, "osaka")
    assert promotion_key("bank") not in view_of(running) and chosen(running) is None
    group.create_volume("ledger", BLOCK)


@pytest.mark.usefixtures("deaf")
def test_forced_every_returned_flush_is_there_and_the_next_is_fenced(running: RunningDeployment) -> None:
    """The writer is not asked; what it has flushed is at the new primary before the epoch is opened."""
    group = running.group("bank")
    ledger = group.create_volume("ledger", BLOCK)
    ledger.write(0, b"flushed")
    group.flush()
    report = promoted(running, "osaka", forced=True, timeout=5)
    assert report.stopped == [] and chosen(running).forced
    ledger.write(0, b"unknown")
    with pytest.raises(Fenced, match=r"promotion to osaka, .* at 20") as caught:
        group.flush()
    assert "open it again" in caught.value.hint
    assert read_at(running, "osaka", 7) == b"flushed"


def test_a_request_is_for_one_session_and_a_while(running: RunningDeployment) -> None:
    """Another session's and one that is over are not obeyed, whenever they are heard; nor one that expires while the
    writer still flushes."""
    group = running.group("bank")
    control = running.deployment.cluster.control
    control.publish(asked(group, writer=bytes(16)))
    time.sleep(0.4)
    control.publish(asked(group, expires_us=wall_us() - 1))
    time.sleep(0.4)
    assert not group.session.ended
    log = running.deployment.cluster.log(running.deployment.cluster.find_group("bank"))
    ledger = group.create_volume("ledger", BLOCK)
    log.hold()
    ledger.write(0, b"late")
    threading.Timer(0.5, log.release).start()
    assert not step_down(group.session, asked(group, expires_us=wall_us() + 200_000))
    group.flush()
    assert not group.session.ended
    assert step_down(group.session, asked(group))
    assert group.session.ended


def test_sites_that_cannot_be_promoted_are_refused_before_anybody_is_asked(
    running: RunningDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown, without a worker, halted, being rebuilt, behind and still, without its Redis."""
    group = running.group("bank")
    volume = group.create_volume("ledger", BLOCK)
    control = running.deployment.cluster.control

    def refused(site: str, error: type[TidelogError], says: str, *, forced: bool = False) -> None:
        with pytest.raises(error, match=says):
            promoted(running, site, forced=forced)
        assert promotion_key("bank") not in view_of(running)
        group.flush()

    refused("nowhere", NotFound, "no site 'nowhere'")
    running.stop_site("osaka")
    volume.write(0, b"osaka is behind")
    refused("osaka", UsageError, "no worker of site osaka")
    refused("osaka", UsageError, "no worker of site osaka", forced=True)
    stopped = view_of(running)[status_key("bank", "osaka")]
    assert isinstance(stopped, SiteStatus)

    def says(**changes: object) -> None:
        later = wall_us() + 60_000_000
        control.publish(stopped.model_copy(update={"state": "STREAMING", "reported_us": later} | changes))

    says(state="STARTING", reason="its Redis does not answer", reported_us=1)
    monkeypatch.setattr(promote_plan_module, "A_MOMENT", 0.0)
    refused("osaka", UsageError, "has reported last at 1970-.*, WAITING")
    says(state="HALTED", reason="LogDiverged: it is another", hint="do something")
    refused("osaka", UsageError, "has halted.*it is another")
    says(state="REBUILDING")
    refused("osaka", UsageError, "is being rebuilt")
    says()
    store = open_store(running.deployment, "osaka", "bank")
    store.begin_rebuild(99)
    refused("osaka", UsageError, "is being rebuilt")
    store._keyspace.transact([(b"DEL", store._keys.rebuild)])
    monkeypatch.setattr(promote_module, "STALL", 0.3)
    refused("osaka", SiteBehind, "has not moved for 0.3 s")
    keyspace = running.deployment.keyspace("osaka", "bank")

    def away(_commands: object) -> None:
        raise StoreUnavailable("Redis does not answer")

    monkeypatch.setattr(keyspace, "transact", away)
    refused("osaka", StoreUnavailable, "Redis does not answer")
    assert chosen(running) is None


def test_a_gap_is_no_reason_to_refuse(running: RunningDeployment) -> None:
    """Only an opening ends it, and a promotion opens."""
    running.stop_site("osaka")
    stopped = view_of(running)[status_key("bank", "osaka")]
    later = {"state": "HALTED", "reason": "LogGap: sequence 9 is missing", "reported_us": wall_us() + 60_000_000}
    running.deployment.cluster.control.publish(stopped.model_copy(update=later))
    assert plan_promotion(running.deployment, "osaka", "bank", forced=False, timeout=1).done is False


def test_who_is_asked() -> None:
    """By the log's newest event and the report of that very session: a silent one is, one that is gone is not."""
    event = WriterOpened(
        epoch=3, writer=b"w" * 16, sequence=9, timestamp_us=1, previous=bytes(16), seal=bytes(16), opened_by="app:1"
    )
    report = WriterStatus(
        group="bank",
        epoch=3,
        writer=b"w" * 16,
        state="OPEN",
        sequence=9,
        timestamp_us=1,
        unlogged_us=0,
        reported_us=7,
        process="app:1",
    )

    def who(found: WriterStatus | None, *, gone: bool = False) -> tuple[str, int] | None:
        standing = WriterStanding(WriterState.SILENT, found, 100.0, 0.0)
        writer = writer_to_stop(event, standing, lambda _: gone)
        return None if writer is None else (writer.process, writer.reported_us)

    assert who(report) == ("app:1", 7)
    assert who(report, gone=True) is None
    assert who(report.model_copy(update={"state": "ENDED"})) is None
    assert who(None) == ("", 0)
    assert who(report.model_copy(update={"writer": b"x" * 16, "state": "CLOSED"})) == ("", 0)
    nobody = WriterStanding(WriterState.NONE, None, None, 0.0)
    assert writer_to_stop(None, nobody) is None
    assert writer_to_stop(replace(event, opened_by=opened_for("osaka", "ops:1")), nobody) is None
