"""Promotions beside openings and other promotions, in memory: who opens meanwhile, and which of several holds."""

import threading
import time

import pytest

from tests.recovery.promote_lab import BLOCK, SITES, asked, chosen, promoted, read_at, view_of
from tidelog.clock import wall_us
from tidelog.consumers import primary as primary_module
from tidelog.consumers.access import open_group
from tidelog.consumers.primary import await_promotion
from tidelog.errors import ConfigError, Fenced, TidelogError
from tidelog.producers.group import Group
from tidelog.producers.memory_control import MemoryControl
from tidelog.producers.process_name import process_name
from tidelog.recovery.promote import Promotion, PromotionReport
from tidelog.recovery.promote_plan import PromotionRefused
from tidelog.recovery.tail import Tail
from tidelog.schemas.chain import Head
from tidelog.schemas.promotions import PrimaryChosen, is_promotion, promotion_key
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment


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


def test_who_opens_before_the_primary_is_told_reads_there(
    running: RunningDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch is open, and the primary not told yet: the session behind it is given that word."""
    monkeypatch.setattr(primary_module, "PATIENCE", 0.0)
    running.group("bank").create_volume("ledger", BLOCK)
    opened: list[Group] = []
    really = Promotion._record

    def told_late(self: Promotion, head: Head, tail: Tail) -> None:
        thread = threading.Thread(target=lambda: opened.append(running.group("bank")))
        thread.start()
        assert wait_until(lambda: tail.head().epoch > head.epoch, 20)
        really(self, head, tail)
        thread.join(20)

    monkeypatch.setattr(Promotion, "_record", told_late)
    promoted(running, "osaka")
    assert [group.read_side.site for group in opened] == ["osaka"]


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
