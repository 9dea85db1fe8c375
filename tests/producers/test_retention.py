"""Retention is a pure plan: which copies stay, which go, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidelog.clock import microseconds
from tidelog.config import KeepConfig
from tidelog.names import scheduled_name
from tidelog.producers.archived import archived_copies
from tidelog.producers.group_state import KnownCopy
from tidelog.producers.retention import PERIODS, Decision, archived_first, plan_retention, rules_text
from tidelog.schemas.control import CopyArchived, CopyFormed, GroupCreated

START = datetime(2026, 11, 25, 18, tzinfo=UTC)
NEVER = 1 << 60
counts = st.integers(0, 6)
policies = st.builds(
    lambda rules, named: KeepConfig(**dict(zip(("last", *PERIODS), rules, strict=True)), named=named),
    st.tuples(counts, counts, counts, counts, counts).filter(any),
    st.booleans(),
)


def copy(minutes: float, sequence: int, name: str = "", **protection: object) -> KnownCopy:
    """A copy so long after `START`; scheduled unless it has a name."""
    time_us = microseconds(START + timedelta(minutes=minutes))
    return KnownCopy(sequence, b"s" * 16, name or scheduled_name(time_us), time_us, (), **protection)  # type: ignore[arg-type]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[KnownCopy], int]:
    """Copies some minutes to some weeks apart, some named, locked or kept; and the time that locks are judged by."""
    made, minutes = [], 0.0
    for index in range(draw(st.integers(0, 40))):
        minutes += draw(st.sampled_from([1, 7, 15, 15, 60, 500, 1440, 12000]))
        name = draw(st.sampled_from(["", "", "", f"named-{index}"]))
        end = microseconds(START + timedelta(minutes=minutes + draw(st.sampled_from([-1, 0, 5, 90000]))))
        locked = draw(st.sampled_from([0, 0, 0, end]))
        made.append(copy(minutes, index + 5, name, locked_until_us=locked, kept=draw(st.integers(0, 7)) == 0))
    now = microseconds(START + timedelta(minutes=minutes + draw(st.integers(0, 100))))
    return made, now


def dropped(decisions: Sequence[Decision]) -> set[int]:
    return {decision.copy.sequence for decision in decisions if decision.dropped}


@given(history=histories(), keep=policies)
def test_nothing_protected_is_dropped_and_everything_is_explained(
    history: tuple[list[KnownCopy], int], keep: KeepConfig
) -> None:
    """Never a locked, a kept, a named or the newest copy; a reason for each copy, in the order of the log."""
    copies, now = history
    decisions = plan_retention(copies, keep, now)
    assert [decision.copy for decision in decisions] == copies
    assert all(decision.reasons and all(decision.reasons) for decision in decisions)
    for decision in decisions:
        if decision.dropped:
            found = decision.copy
            assert found.locked_until_us <= now and not found.kept and found is not copies[-1]
            assert found.scheduled or keep.named
            assert decision.reasons == (f"no rule keeps it: {rules_text(keep)}",)


@given(history=histories(), keep=policies)
def test_once_is_enough(history: tuple[list[KnownCopy], int], keep: KeepConfig) -> None:
    """A second plan drops nothing, and neither order of the input nor dropping only some of it changes the rest."""
    copies, now = history
    first = plan_retention(copies, keep, now)
    gone = dropped(first)
    rest = [found for found in copies if found.sequence not in gone]
    again = plan_retention(rest, keep, now)
    assert dropped(again) == set()
    kept = {decision.copy.sequence: decision.reasons for decision in first if not decision.dropped}
    assert {decision.copy.sequence: decision.reasons for decision in again} == kept
    assert plan_retention(copies[::-1], keep, now) == first
    half = set(sorted(gone)[::2])
    assert dropped(plan_retention([c for c in copies if c.sequence not in half], keep, now)) == gone - half


@given(history=histories(), keep=policies, more=st.integers(0, NEVER))
def test_time_alone_drops_only_what_was_locked(
    history: tuple[list[KnownCopy], int], keep: KeepConfig, more: int
) -> None:
    """However far the time goes on with no new copy, no rule lets go of one: only locks end."""
    copies, now = history
    later = dropped(plan_retention(copies, keep, now + more)) - dropped(plan_retention(copies, keep, now))
    assert all(found.locked_until_us > now for found in copies if found.sequence in later)


@given(history=histories(), keep=policies)
def test_each_rule_keeps_as_many_as_it_says(history: tuple[list[KnownCopy], int], keep: KeepConfig) -> None:
    """The newest of each of so many periods, told by another way than the plan's."""
    copies, now = history
    subject = [found for found in copies if found.scheduled or keep.named]
    stays = {found.sequence for found in copies} - dropped(plan_retention(copies, keep, now))
    assert {found.sequence for found in subject[len(subject) - min(keep.last, len(subject)) :]} <= stays
    for rule, written in PERIODS.items():
        newest: dict[str, int] = {}
        for found in subject:
            moment = datetime.fromtimestamp(found.timestamp_us / 1_000_000, UTC)
            newest[moment.strftime(written)] = found.sequence
        count = getattr(keep, rule)
        assert set(list(newest.values())[-count:] if count else []) <= stays


def test_every_reason_in_words() -> None:
    """What a person reads, copy by copy."""
    copies = [
        copy(-60 * 24 * 40, 1),
        copy(-60 * 24, 2, "before-upgrade"),
        copy(-70, 3, kept=True),
        copy(-65, 4),
        copy(0, 5, locked_until_us=microseconds(START + timedelta(days=1))),
        copy(15, 6),
        copy(30, 7),
    ]
    decisions = plan_retention(copies, KeepConfig(last=1, hourly=2, monthly=2), microseconds(START))
    assert [(decision.dropped, decision.reasons) for decision in decisions] == [
        (False, ("monthly of 2026-10",)),
        (False, ("made by name: stays until it is dropped by name",)),
        (False, ("kept by hand",)),
        (False, ("hourly of 2026-11-25T16",)),
        (False, ("locked until 2026-11-26T18:00:00.000000Z",)),
        (True, ("no rule keeps it: last 1, hourly 2, monthly 2",)),
        (False, ("the newest copy", "one of the last 1", "hourly of 2026-11-25T18", "monthly of 2026-11")),
    ]


def test_weeks_are_those_of_iso() -> None:
    """The days around a new year belong to one week, which has one name."""
    days = [datetime(2026, 12, 31, 12, tzinfo=UTC), datetime(2027, 1, 1, 12, tzinfo=UTC)]
    copies = [copy((day - START) / timedelta(minutes=1), index + 2) for index, day in enumerate(days)]
    decisions = plan_retention(copies, KeepConfig(weekly=5), 0)
    assert dropped(decisions) == {2} and "weekly of 2026-W53" in decisions[1].reasons


@pytest.mark.parametrize("now", [0, microseconds(START), NEVER])
def test_a_timestamp_beyond_any_calendar_is_a_time_all_the_same(now: int) -> None:
    """An event's timestamp may be any number: the plan never fails."""
    copies = [KnownCopy(2, b"s" * 16, "auto-20261125t180000z", NEVER, ()), KnownCopy(3, b"s" * 16, "x", NEVER + 1, ())]
    assert dropped(plan_retention(copies, KeepConfig(hourly=1), now)) == set()


def test_an_archive_is_of_one_copy_that_everybody_has_alike() -> None:
    """Not of the copy by time at the same place in the log; and not while anybody's digest is another."""
    marked, by_time = copy(0, 5, "marked"), copy(1, 5, "by-time")
    identity = {"group": "bank", "sequence": 5, "seal": b"s" * 16, "timestamp_us": 1}

    def archive(name: str) -> CopyArchived:
        told = {"site": "tokyo", "group_id": "id", "place": "/there", "archived_us": 1, "digest": b"d" * 16}
        return CopyArchived(name=name, **identity, **told)  # type: ignore[arg-type]

    def receipt(name: str, site: str, digest: bytes) -> CopyFormed:
        told = {"site": site, "digest": digest, "blocks_changed": 1, "formed_us": 1}
        return CopyFormed(name=name, **identity, **told)  # type: ignore[arg-type]

    created = GroupCreated(group="bank", group_id="id", topic="t", keyed=False, created_us=1)

    def goes(*records: CopyArchived | CopyFormed) -> list[str]:
        archived = archived_copies({record.key: record for record in (created, *records)}, "bank")
        decisions = [Decision(one, dropped=True, reasons=()) for one in (marked, by_time)]
        return [decision.copy.name for decision in archived_first(decisions, archived) if decision.dropped]

    assert goes(archive("by-time")) == ["by-time"]
    assert goes(archive("marked"), receipt("marked", "osaka", b"d" * 16)) == ["marked"]
    assert goes(archive("marked"), receipt("by-time", "osaka", b"x" * 16)) == ["marked"]
    assert goes(archive("marked"), receipt("marked", "osaka", b"x" * 16)) == []
    assert goes(receipt("marked", "osaka", b"d" * 16)) == []
