"""From measured numbers to a row of the table. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a row's ratio."""

    bound: float
    at_least: bool

    def met(self, ratio: float) -> bool:
        """Whether the ratio keeps the bound; never for one that is not a number."""
        return ratio >= self.bound if self.at_least else ratio <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


def at_least(bound: float) -> Goal:
    return Goal(bound, at_least=True)


def at_most(bound: float) -> Goal:
    return Goal(bound, at_least=False)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. ``value`` and ``limit`` are medians in ``unit``; ``ratios`` has one entry a pair."""

    name: str
    value: float
    unit: str
    limit: float
    ratios: tuple[float, ...]
    goal: Goal
    note: str = ""

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def spread(self) -> float | None:
        """Highest less lowest ratio of the pairs; None of one run, which says nothing of it."""
        return None if len(self.ratios) == 1 else max(self.ratios) - min(self.ratios)

    @property
    def met(self) -> bool:
        return self.goal.met(self.ratio)

    def as_json(self) -> dict[str, Any]:
        """The object that goes into results.json."""
        return {
            "name": self.name,
            "value": significant(self.value),
            "unit": self.unit,
            "limit": significant(self.limit),
            "ratio": significant(self.ratio),
            "spread": None if self.spread is None else significant(self.spread),
            "goal": str(self.goal),
            "met": self.met,
        }


def paired(name: str, unit: str, ours: Sequence[float], limits: Sequence[float], goal: Goal, note: str = "") -> Row:
    """A row of alternating measurements: the n-th of ours was made beside the n-th limit."""
    ratios = tuple(mine / limit for mine, limit in zip(ours, limits, strict=True))
    return Row(name, median(ours), unit, median(limits), ratios, goal, note)


def bounded(name: str, unit: str, ours: Sequence[float], limit: float, goal: Goal, note: str = "") -> Row:
    """A row against a fixed limit."""
    return paired(name, unit, ours, [limit] * len(ours), goal, note)


def harmonic(first: float, second: float) -> float:
    """The rate of two steps done one after the other, each at its own rate."""
    return 1 / (1 / first + 1 / second)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least ``percent`` of all values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = math.ceil(percent / 100 * len(ordered))
    return ordered[max(0, rank - 1)]


def significant(value: float, digits: int = 4) -> float:
    """``value`` rounded to so many significant digits."""
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def seconds_between(samples: Sequence[tuple[float, int]], first: int, last: int) -> float:
    """How long it took to get from ``first`` to ``last``, both interpolated between samples of (time, reached)."""
    return _time_at(samples, last) - _time_at(samples, first)


def _time_at(samples: Sequence[tuple[float, int]], mark: int) -> float:
    before = samples[0]
    for sample in samples:
        if sample[1] >= mark:
            if sample[1] == before[1]:
                return sample[0]
            share = (mark - before[1]) / (sample[1] - before[1])
            return before[0] + max(0.0, share) * (sample[0] - before[0])
        before = sample
    raise ValueError(f"{mark} was never reached, only {before[1]}")


def alternate(sides: Mapping[str, Callable[[], float]], pairs: int) -> dict[str, list[float]]:
    """Measures every side once a round, in turns that reverse each round, so that no side always runs on a machine
    warmed or worn by the other. One round before the first is thrown away."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for turn in range(pairs + 1):
        for name in names if turn % 2 else reversed(names):
            value = sides[name]()
            if turn:
                found[name].append(value)
    return found
