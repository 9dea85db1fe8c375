"""The last hour of each group, in memory: what a page draws that was opened later. Bounded, gone with the process."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tidelog.gateways.standing.observer import Observed

BUCKET_SECONDS = 10
BUCKETS = 360
RATE_SECONDS = 10.0
OLD_SECONDS = 2 * RATE_SECONDS
COLUMNS = (
    "events_per_second",
    "lag_events",
    "not_logged_seconds",
    "not_applied_seconds",
    "not_copied_seconds",
)

Numbers = tuple[float | None, ...]


class Rate:
    """Events per second over the last `RATE_SECONDS`, by what was seen of a number that grows with each."""

    def __init__(self) -> None:
        self._told: deque[tuple[int, int]] = deque()

    def see(self, at_us: int, count: int) -> None:
        """The number at a time of this process's monotonic clock. One that went back (another history) begins anew, and
        so does a time in which nobody could look: what came in between came at no rate that is known."""
        if self._told:
            before_us, before = self._told[-1]
            if count < before or at_us - before_us > OLD_SECONDS * 1_000_000:
                self._told.clear()
        if not self._told or at_us > self._told[-1][0]:
            self._told.append((at_us, count))
        while len(self._told) > 2 and at_us - self._told[1][0] >= RATE_SECONDS * 1_000_000:
            self._told.popleft()

    def value(self, now_us: int) -> float | None:
        """At a time of that clock. None while less than two are known, or the newest was seen long ago."""
        if len(self._told) < 2 or now_us - self._told[-1][0] > OLD_SECONDS * 1_000_000:
            return None
        (first_us, first), (last_us, last) = self._told[0], self._told[-1]
        return (last - first) / ((last_us - first_us) / 1_000_000)


@dataclass(slots=True)
class Bucket:
    """`BUCKET_SECONDS` of a group: rates at their end, and of everything else the worst. Rates are of changes, which is
    every event but heartbeats, each write of a batch for itself: into the log, and at a site as its worker tells."""

    begins_s: int
    events_per_second: float | None = None
    sites: dict[str, Numbers] = field(default_factory=dict)  # by `COLUMNS`

    def json(self) -> dict[str, Any]:
        """For programs; numbers have three digits behind the point."""
        sites = {site: [_rounded(number) for number in numbers] for site, numbers in self.sites.items()}
        return {"time": self.begins_s, "events_per_second": _rounded(self.events_per_second), "sites": sites}


class GroupHistory:
    """The buckets of one group, oldest first. They are of the wall clock, since people read them; rates are not, so
    that they stay right when it is put forward or back."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.buckets: deque[Bucket] = deque(maxlen=BUCKETS)
        self._log = Rate()
        self._monotonic = monotonic

    def add(self, group: Observed) -> Bucket:
        """Takes in a look; the bucket that it has fallen into."""
        now_us, bucket = int(self._monotonic() * 1_000_000), self._bucket(group.observed_us)
        if group.changes is not None:
            self._log.see(now_us, group.changes)
        bucket.events_per_second = self._log.value(now_us)
        for standing in group.standing.sites:
            exposed = group.exposures[standing.site]
            found = (standing.lag_events, exposed.not_logged, exposed.not_applied, exposed.not_copied)
            before = bucket.sites.get(standing.site, (None,) * len(COLUMNS))[1:]
            worst = (_worst(one, other) for one, other in zip(before, found, strict=True))
            bucket.sites[standing.site] = (group.rates[standing.site].events, *worst)
        return bucket

    def _bucket(self, at_us: int) -> Bucket:
        begins_s = at_us // 1_000_000 // BUCKET_SECONDS * BUCKET_SECONDS
        while self.buckets and self.buckets[-1].begins_s > begins_s:
            self.buckets.pop()  # the clock was put back, and that time is yet to come
        if not self.buckets or self.buckets[-1].begins_s < begins_s:
            self.buckets.append(Bucket(begins_s))
        return self.buckets[-1]


class History:
    """Of all groups."""

    def __init__(self) -> None:
        self.groups: dict[str, GroupHistory] = {}

    def add(self, observed: Iterable[Observed]) -> dict[str, Bucket]:
        """Takes in a look; the newest bucket of each group. Groups that are no longer there are forgotten."""
        found = {group.standing.record.group: group for group in observed}
        self.groups = {name: self.groups.get(name) or GroupHistory() for name in found}
        return {name: self.groups[name].add(group) for name, group in found.items()}

    def json(self, group: str) -> dict[str, Any] | None:
        """For programs, of one group; None if it is not there."""
        if group not in self.groups:
            return None
        buckets = [bucket.json() for bucket in self.groups[group].buckets]
        columns = list(COLUMNS)
        return {"bucket_seconds": BUCKET_SECONDS, "buckets": BUCKETS, "columns": columns, "groups": {group: buckets}}


def _worst(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
