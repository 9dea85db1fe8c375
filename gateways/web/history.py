"""The last hour of each group, in memory: what a page draws that was opened later. Bounded, gone with the process."""

from collections import deque
from collections.abc import Iterable
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
    """Events per second over the last `RATE_SECONDS`, by what was seen of a sequence number."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()

    def see(self, time_us: int, sequence: int) -> None:
        """A sequence number at a time. One that went back (another history, a rebuilt site) begins anew, and one after
        a time in which nobody could look: what came in between came at no rate that is known."""
        if self._seen and (sequence < self._seen[-1][1] or time_us - self._seen[-1][0] > OLD_SECONDS * 1_000_000):
            self._seen.clear()
        if not self._seen or time_us > self._seen[-1][0]:
            self._seen.append((time_us, sequence))
        while len(self._seen) > 2 and time_us - self._seen[1][0] >= RATE_SECONDS * 1_000_000:
            self._seen.popleft()

    def value(self, now_us: int) -> float | None:
        """None while less than two are known, or the newest is old."""
        if len(self._seen) < 2 or now_us - self._seen[-1][0] > OLD_SECONDS * 1_000_000:
            return None
        (first_us, first), (last_us, last) = self._seen[0], self._seen[-1]
        return (last - first) / ((last_us - first_us) / 1_000_000)


@dataclass(slots=True)
class Bucket:
    """`BUCKET_SECONDS` of a group: rates at their end, and of everything else the worst."""

    begins_s: int
    events_per_second: float | None = None
    sites: dict[str, Numbers] = field(default_factory=dict)  # by `COLUMNS`

    def json(self) -> dict[str, Any]:
        """For programs; numbers have three digits behind the point."""
        sites = {site: [_rounded(number) for number in numbers] for site, numbers in self.sites.items()}
        return {"time": self.begins_s, "events_per_second": _rounded(self.events_per_second), "sites": sites}


class GroupHistory:
    """The buckets of one group, oldest first."""

    def __init__(self) -> None:
        self.buckets: deque[Bucket] = deque(maxlen=BUCKETS)
        self._log, self._sites = Rate(), dict[str, Rate]()

    def add(self, group: Observed) -> Bucket:
        """Takes in a look; the bucket that it has fallen into."""
        begins_s = group.observed_us // 1_000_000 // BUCKET_SECONDS * BUCKET_SECONDS
        if not self.buckets or begins_s > self.buckets[-1].begins_s:
            self.buckets.append(Bucket(begins_s))
        bucket = self.buckets[-1]  # after a step of the clock backwards, the one before
        if group.newest is not None:
            self._log.see(group.observed_us, group.newest.last_sequence)
        bucket.events_per_second = self._log.value(group.observed_us)
        for standing in group.standing.sites:
            exposed = group.exposures[standing.site]
            rate = self._sites.setdefault(standing.site, Rate())
            if standing.status is not None:
                rate.see(standing.status.reported_us, standing.status.sequence)
            found = (standing.lag_events, exposed.not_logged, exposed.not_applied, exposed.not_copied)
            before = bucket.sites.get(standing.site, (None,) * len(COLUMNS))[1:]
            worst = (_worst(one, other) for one, other in zip(before, found, strict=True))
            bucket.sites[standing.site] = (rate.value(group.observed_us), *worst)
        return bucket


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
