"""What a promotion goes by when the reports that it reads are not of one moment, or of a history that is lost."""

import time

import pytest

from tests.recovery.promote_lab import BLOCK, asked, chosen, promoted, read_at, view_of
from tidelog.clock import wall_us
from tidelog.consumers import primary as primary_module
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.consumers.primary import promotion_under_way
from tidelog.producers.group import Group
from tidelog.recovery.promote import Promotion
from tidelog.recovery.promote_plan import PromotionRefused
from tidelog.schemas.chain import Head
from tidelog.schemas.promotions import PrimaryChosen, promotion_key
from tidelog.testing.running import RunningDeployment


def test_a_primary_of_a_lost_history_hides_no_promotion(running: RunningDeployment) -> None:
    """The log has lost the epoch in which it was told: who promotes now is seen, waited for and not disturbed."""
    group = running.group("bank")
    control, record = running.deployment.cluster.control, running.deployment.cluster.find_group("bank")
    lost = PrimaryChosen(
        group="bank",
        group_id=record.group_id,
        site="osaka",
        before="tokyo",
        epoch=group.session.epoch + 40,
        sequence=1000,
        seal=b"l" * 16,
        forced=True,
        chosen_us=wall_us() - 3_600_000_000,
        chosen_by="elsewhere:7",
    )
    control.publish(lost)
    asks = asked(group, writer=bytes(16), site="london")
    control.publish(asks)
    assert promotion_under_way(view_of(running), record) == asks
    for site in ("tokyo", "london"):
        with pytest.raises(PromotionRefused, match="to site london is under way"):
            promoted(running, site)
    assert promoted(running, "osaka").epoch == 0  # the primary already, as far as is told
    assert view_of(running)[promotion_key("bank")] == asks, "another one's request was taken away"
    control.retract(promotion_key("bank"))
    report = promoted(running, "london")
    assert chosen(running).site == "london" and chosen(running).epoch == report.epoch
    # Told behind a request, it ends that one, whoever asked.
    control.publish(asked(group, writer=bytes(16), asked_us=chosen(running).chosen_us))
    assert promotion_under_way(view_of(running), record) is None


def test_what_an_ended_writer_sent_last_is_at_the_site_before_it_is_the_primary(
    running: RunningDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last events come into the log, and its report says that it has ended, after the log's end was looked at."""
    group = running.group("bank")
    ledger = group.create_volume("ledger", BLOCK)
    group.flush()
    keyspace = running.deployment.keyspace("osaka", "bank")
    ends: list[int] = []
    applied: list[int] = []
    writer, opens = Promotion._writer, Promotion._open

    def ended_meanwhile(self: Promotion, log: object, head: object) -> object:
        if not ends:
            keyspace.between = lambda point: time.sleep(0.5) if point == "exec" else None  # osaka is slow
            ledger.write(0, b"the last")
            group.close()
            ends.append(group.session.confirmed.sequence)
        return writer(self, log, head)  # type: ignore[arg-type]

    def opened(self: Promotion, log: object, head: Head) -> object:
        store = open_store(running.deployment, "osaka", "bank")
        applied.append(store.position().head.sequence)
        store.close()
        return opens(self, log, head)  # type: ignore[arg-type]

    monkeypatch.setattr(Promotion, "_writer", ended_meanwhile)
    monkeypatch.setattr(Promotion, "_open", opened)
    report = promoted(running, "osaka")
    assert report.stopped == [] and report.sequence == ends[0] + 1
    assert applied == ends, "it was behind when its epoch was opened"
    assert read_at(running, "osaka", 8) == b"the last"


def test_who_opens_while_the_writer_is_waited_for_is_asked_as_well(
    running: RunningDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer that was asked is fenced by the new one, which had accepted a write, not flushed."""
    monkeypatch.setattr(primary_module, "PATIENCE", 0.0)
    running.group("bank").create_volume("ledger", BLOCK)
    opened: list[Group] = []
    really = Promotion._await_end

    def await_end(self: Promotion, *arguments: object) -> None:
        if not opened:
            opened.append(open_group("bank", deployment=running.deployment))
            opened[0].volume("ledger").write(0, b"in between")
        really(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Promotion, "_await_end", await_end)
    report = promoted(running, "osaka")
    assert report.stopped[-1].epoch == opened[0].session.epoch == report.epoch - 1
    assert read_at(running, "osaka", 10) == b"in between"
    opened[0].close()
