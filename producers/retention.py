"""Retention: which copies stay and which are dropped, each with the reason. A pure plan.

Counted from the copies that there are, never from the age that they have by some clock: the newest ``last``, and the
newest copy of each of the newest hours, days, ISO weeks and months (UTC, by the log's timestamps) that have a copy at
all. So a time in which no copy was made takes none away, and a clock set forward takes none away either.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tidelog.clock import LATEST_US, iso, utc
from tidelog.config_tables import KeepConfig, KeepRules
from tidelog.producers.archived import CopyIdentity
from tidelog.producers.group_state import KnownCopy

# The fields of `KeepRules` that count periods, and how a period is written.
PERIODS = {"hourly": "%Y-%m-%dT%H", "daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m"}


@dataclass(frozen=True, slots=True)
class Decision:
    """What retention does with a copy, and every reason for it, as people read it."""

    copy: KnownCopy
    dropped: bool
    reasons: tuple[str, ...]


def plan_retention(copies: Sequence[KnownCopy], keep: KeepConfig, lock_time_us: int) -> list[Decision]:
    """A decision for each copy, oldest first. ``lock_time_us`` is the time that locks are judged by.

    Dropped is a copy of the schedule (with ``keep.named`` any) for which no rule speaks, and which is neither locked,
    kept by hand, nor the newest of all. Copies that are locked or kept count for the rules as the others do, so
    dropping what is to be dropped changes no other decision.
    """
    ordered = sorted(copies, key=lambda copy: (copy.sequence, copy.timestamp_us))
    subject = [copy for copy in ordered if keep.named or copy.scheduled]
    ruled = _ruled(subject, keep)
    decisions = []
    for copy in ordered:
        reasons = list(_protections(copy, lock_time_us))
        if copy is ordered[-1]:
            reasons.append("the newest copy")
        reasons += ruled.get(copy, [])
        if copy not in ruled:
            reasons.append("made by name: stays until it is dropped by name")
        dropped = not reasons
        decisions.append(Decision(copy, dropped, tuple(reasons) or (f"no rule keeps it: {rules_text(keep)}",)))
    return decisions


def archived_first(decisions: Iterable[Decision], archived: Collection[CopyIdentity]) -> list[Decision]:
    """The same, but that nothing is dropped before it is among ``archived``."""
    return [
        Decision(found.copy, dropped=False, reasons=(*found.reasons, "is dropped when it is archived"))
        if found.dropped and (found.copy.sequence, found.copy.seal, found.copy.name) not in archived
        else found
        for found in decisions
    ]


def rules_text(keep: KeepRules) -> str:
    """``last 10, hourly 24``: the rules that keep anything."""
    rules = {"last": keep.last} | {rule: getattr(keep, rule) for rule in PERIODS}
    return ", ".join(f"{rule} {count}" for rule, count in rules.items() if count)


def _protections(copy: KnownCopy, lock_time_us: int) -> Iterator[str]:
    if copy.locked_until_us > lock_time_us:
        yield f"locked until {iso(copy.locked_until_us)}"
    if copy.kept:
        yield "kept by hand"


def _ruled(subject: list[KnownCopy], keep: KeepRules) -> dict[KnownCopy, list[str]]:
    """For each copy that is subject to the rules those that keep it; oldest first goes in."""
    newest_first = subject[::-1]
    found: dict[KnownCopy, list[str]] = {copy: [] for copy in subject}
    for copy in newest_first[: keep.last]:
        found[copy].append(f"one of the last {keep.last}")
    for rule, written in PERIODS.items():
        periods: dict[str, KnownCopy] = {}
        for copy in newest_first:
            periods.setdefault(_period(copy, written), copy)
        count: int = getattr(keep, rule)
        for period, copy in list(periods.items())[:count]:
            found[copy].append(f"{rule} of {period}")
    return found


def _period(copy: KnownCopy, written: str) -> str:
    return utc(min(copy.timestamp_us, LATEST_US)).strftime(written)
