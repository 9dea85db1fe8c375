"""Promoting a site, in memory with real workers on threads: nothing that was accepted is lost, who may not be promoted
is refused before anybody is asked, and of several promotions at once one holds."""

import threading
import time
from collections.abc import Iterator

import pytest

from tidelog.clock import wall_us
from tidelog.config import Config
from tidelog.consumers import primary as primary_module
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import MemoryDeployment, open_store
from tidelog.consumers.primary import await_promotion, chosen_primary
from tidelog.errors import ConfigError, Fenced, NotFound, SiteBehind, StoreUnavailable, TidelogError, UsageError
from tidelog.producers.group import Group
from tidelog.producers.memory_control import MemoryControl
from tidelog.producers.process_name import process_name
from tidelog.producers.stepping_down import SteppingDown, step_down
from tidelog.recovery import promote as promote_module
from tidelog.recovery.promote import Promotion, PromotionReport
from tidelog.recovery.promote_plan import PromotionRefused, plan_promotion
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.promotions import PrimaryChosen, PromotionAsked, is_promotion, promotion_key
from tidelog.schemas.reports import CLOSED, WriterStatus, writer_key
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

SITES = ("tokyo", "osaka", "london")
BLOCK = 4096


@pytest.fixture
def running() -> Iterator[RunningDeployment]:
    """The group ``bank`` served by three sites; tokyo is the configured primary."""
    sites = {site: {"redis": {"url": f"redis://memory-{site}"}} for site in SITES}
    config = Config(sites=sites, worker={"status_interval": 0.2}, writer={"heartbeat": 0.2, "write_timeout": 5})
    with RunningDeployment(MemoryDeployment(config)) as running:
        running.deployment.cluster.create_group("bank")
        for site in SITES:
            running.wait_for_store(site, "bank")
        assert wait_until(lambda: all(status_key("bank", site) in view_of(running) for site in SITES), timeout_s=20)
        yield running


def view_of(running: RunningDeployment):
    return running.deployment.cluster.control.snapshot()


def promoted(running: RunningDeployment, site: str, *, forced: bool = False, timeout: float = 20) -> PromotionReport:
    plan = plan_promotion(running.deployment, site, "bank", forced=forced, timeout=timeout)
    return Promotion(running.deployment, plan).run()


def chosen(running: RunningDeployment) -> PrimaryChosen | None:
    return chosen_primary(view_of(running), running.deployment.cluster.find_group("bank"))


def read_at(running: RunningDeployment, site: str, length: int) -> bytes:
    store = open_store(running.deployment, site, "bank")
    data, _ = store.read_live(store.volume("ledger"), 0, length)
    store.close()
    return data


def asked(group: Group, **changes: object) -> PromotionAsked:
    """A request to that session, as a promotion to osaka makes it."""
    record = PromotionAsked(
        group="bank",
        site="osaka",
        epoch=group.session.epoch,
        writer=group.session.writer,
        forced=False,
        asked_us=wall_us(),
        expires_us=wall_us() + 20_000_000,
        asked_by="elsewhere:1",
    )
    return record.model_copy(update=changes)


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
    control.publish(asked(group, epoch=first.epoch - 1))
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
    group.create_volume("ledger", BLOCK)
    control = running.deployment.cluster.control

    def refused(site: str, error: type[TidelogError], says: str, *, forced: bool = False) -> None:
        with pytest.raises(error, match=says):
            promoted(running, site, forced=forced)
        assert promotion_key("bank") not in view_of(running)
        group.flush()

    refused("nowhere", NotFound, "no site 'nowhere'")
    running.stop_site("osaka")
    refused("osaka", UsageError, "no worker of site osaka")
    refused("osaka", UsageError, "no worker of site osaka", forced=True)
    stopped = view_of(running)[status_key("bank", "osaka")]
    assert isinstance(stopped, SiteStatus)

    def says(**changes: object) -> None:
        later = wall_us() + 60_000_000
        control.publish(stopped.model_copy(update={"state": "STREAMING", "reported_us": later} | changes))

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


def test_who_opens_in_between_is_asked_as_well(running: RunningDeployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that opens again by itself as soon as it is fenced loses nothing either."""
    monkeypatch.setattr(primary_module, "PATIENCE", 0.0)
    running.group("bank").create_volume("ledger", BLOCK)
    opened: list[Group] = []
    really = Promotion._open

    def open_late(self: Promotion, log: object, head: object) -> object:
        if not opened:
            opened.append(running.group("bank"))
            opened[0].volume("ledger").write(0, b"in between")
        return really(self, log, head)  # type: ignore[arg-type]

    monkeypatch.setattr(Promotion, "_open", open_late)
    report = promoted(running, "osaka")
    assert [last.epoch for last in report.stopped] == [opened[0].session.epoch - 1, opened[0].session.epoch]
    assert report.epoch == opened[0].session.epoch + 1
    assert read_at(running, "osaka", 10) == b"in between"


def test_an_opening_waits_for_a_promotion_under_way(running: RunningDeployment) -> None:
    """Until it is over by its own word, the process is gone, or the primary is chosen."""
    group = running.group("bank")
    record = running.deployment.cluster.find_group("bank")
    control = running.deployment.cluster.control
    for over in (
        {"expires_us": wall_us() - 1},
        {"asked_by": process_name().rpartition(":")[0] + ":4194305"},  # above the greatest process number
    ):
        control.publish(asked(group, writer=bytes(16), **over))
        started = time.monotonic()
        await_promotion(control, record)
        assert time.monotonic() - started < 1
    control.publish(asked(group, writer=bytes(16), expires_us=wall_us() + 600_000))
    started = time.monotonic()
    await_promotion(control, record)
    assert time.monotonic() - started > 0.4
    control.publish(asked(group, writer=bytes(16)))
    opened: list[str] = []
    thread = threading.Thread(target=lambda: opened.append(running.group("bank").read_side.site))
    thread.start()
    time.sleep(0.4)
    assert not opened
    told = PrimaryChosen(
        group="bank",
        group_id=record.group_id,
        site="london",
        before="tokyo",
        epoch=group.session.epoch + 1,
        sequence=2,
        seal=bytes(16),
        forced=False,
        chosen_us=wall_us(),
        chosen_by="elsewhere:1",
    )
    control.publish(told)
    thread.join(10)
    assert opened == ["london"]


def test_a_primary_that_is_not_configured_is_named(running: RunningDeployment) -> None:
    promoted(running, "london")
    chosen_one = chosen(running)
    running.deployment.cluster.control.publish(chosen_one.model_copy(update={"site": "kyoto"}))
    with pytest.raises(ConfigError, match="the primary of group bank is site kyoto since") as caught:
        running.group("bank")
    assert "[sites.kyoto.redis]" in caught.value.hint
    assert open_group("bank", deployment=running.deployment, site="osaka").read_side.site == "osaka"


def test_of_two_promotions_the_later_epoch_counts_whoever_tells_last() -> None:
    """Also to who has only what compaction has left; a group that was made anew begins anew."""
    control = MemoryControl()
    first = PrimaryChosen(
        group="bank",
        group_id="one",
        site="osaka",
        before="",
        epoch=4,
        sequence=9,
        seal=bytes(16),
        forced=False,
        chosen_us=1,
        chosen_by="a:1",
    )
    second = first.model_copy(update={"site": "london", "epoch": 5})
    for record in (first, second, first):
        control.publish(record)
    assert control.snapshot()[first.key] == second
    another = first.model_copy(update={"group_id": "two", "epoch": 1})
    control.publish(another)
    assert control.snapshot()[first.key] == another


def test_two_at_once_to_different_sites(running: RunningDeployment) -> None:
    """Again and again beside a writer: who succeeds holds the epoch that he says, the last one is the primary, the
    others say why not, and nothing flushed is lost."""
    log = running.deployment.cluster.log(running.deployment.cluster.find_group("bank"))
    codec = running.deployment.cluster.codec(running.deployment.cluster.find_group("bank"))
    running.group("bank").create_volume("ledger", BLOCK)
    outcomes: list[PromotionReport | TidelogError] = []
    stop, flushed = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            group = open_group("bank", deployment=running.deployment)
            try:
                while not stop.is_set():
                    group.volume("ledger").write(0, (flushed[0] + 1).to_bytes(8, "big"))
                    group.flush()
                    flushed[0] += 1
                    time.sleep(0.001)
            except Fenced:
                group.abandon()
        group.close()

    def once(site: str) -> None:
        try:
            outcomes.append(promoted(running, site, timeout=5))
        except (Fenced, PromotionRefused) as error:
            outcomes.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    for turn in range(5):
        pair = ("osaka", "london") if turn % 2 else ("london", "tokyo")
        threads = [threading.Thread(target=once, args=(site,)) for site in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert promotion_key("bank") not in view_of(running)
    stop.set()
    writer.join(30)
    reports = [outcome for outcome in outcomes if isinstance(outcome, PromotionReport) and outcome.epoch]
    assert len(outcomes) == 10 and reports
    events = {event.seal: event for event in (codec.decode(record.value) for record in log._records)}
    for report in reports:
        assert is_promotion(events[report.seal]) and f"to {report.site}," in events[report.seal].opened_by
    newest = max(reports, key=lambda report: report.epoch)
    assert (chosen(running).site, chosen(running).epoch) == (newest.site, newest.epoch)
    assert wait_until(
        lambda: all(int.from_bytes(read_at(running, site, 8), "big") >= flushed[0] for site in SITES), timeout_s=20
    )
