"""How fast a site applies: what its worker tells of the last seconds, and what a reader makes of it.

Measured where it is applied, over a window of the worker's own clock, so a reader needs one look, and a worker that
starts again begins a new window. Heartbeats are no work: an idle group's rates are 0.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tidelog.clock import wall_us
from tidelog.consumers.counts import Counts
from tidelog.consumers.site_standing import STUCK, SiteStanding
from tidelog.producers.control import ControlView
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.reports import SiteRates, rates_key

WINDOW = 10.0
# States in which a worker moves along its log; in any other there is no way to the end of it to be measured.
_MOVING = frozenset({"REPLAYING", "STREAMING", "REBUILDING"})


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    events: int
    bytes: int
    behind: int | None  # records; None where the worker does not move along the log


class RateWindow:
    """The last `WINDOW` seconds of one group at one worker. ``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[_Sample] = deque()

    def rates(self, status: SiteStatus, counts: Counts) -> SiteRates:
        """What to tell beside ``status``, which is of now; called for each status, since it takes a sample."""
        samples, now = self._samples, self._clock()
        behind = max(0, status.end_offset - status.offset - 1) if status.state in _MOVING else None
        samples.append(_Sample(now, counts.changes, counts.bytes, behind))
        while len(samples) > 2 and samples[1].at <= now - WINDOW:
            samples.popleft()
        first, last = samples[0], samples[-1]
        return SiteRates(
            site=status.site,
            group=status.group,
            window_us=round((last.at - first.at) * 1_000_000),
            events=last.events - first.events,
            bytes=last.bytes - first.bytes,
            closing=0 if status.state == "STREAMING" else self._closing(),
            events_applied=counts.changes,
            bytes_applied=counts.bytes,
            reported_us=wall_us(),
            worker=status.worker,
        )

    def _closing(self) -> int:
        """So many records fewer behind than at the window's beginning."""
        first, last = self._samples[0].behind, self._samples[-1].behind
        return 0 if first is None or last is None else first - last


def same_rates(before: SiteRates | None, now: SiteRates) -> bool:
    """Whether ``now`` tells nothing new: idle as before. So an idle group costs no records. Of a window that grows over
    what was applied at its beginning the rate falls."""
    if before is None:
        return False
    what = ["events", "bytes", "closing", "events_applied", "bytes_applied", "worker"]
    if now.events or now.bytes or now.closing:
        what.append("window_us")
    return all(getattr(before, name) == getattr(now, name) for name in what)


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a site applies, over ``window`` seconds: 0 where it is idle, or has stopped; None where it is unknown.

    ``events`` and ``bytes`` are a second's, ``eta`` is in seconds: 0 at the end of the log, None if that does not come
    nearer. ``total`` is what the worker has told last, whoever is silent now.
    """

    window: float | None = None
    events: float | None = None
    bytes: float | None = None
    eta: float | None = None
    total: SiteRates | None = None


def rates_of(view: ControlView, standing: SiteStanding) -> Rates:
    """A site's rates, by its own word, if that is of the worker that speaks now."""
    status, found = standing.status, view.get(rates_key(standing.group, standing.site))
    told = found if isinstance(found, SiteRates) else None
    if status is None or standing.parted:
        return Rates(total=told)
    if status.state == "STOPPED":
        return Rates(0.0, 0.0, 0.0, None if standing.lag_events else 0.0, told)
    if standing.silent or told is None or told.worker != status.worker:
        return Rates(total=told)
    window = told.window_us / 1_000_000
    if not window:
        return Rates(0.0, 0.0, 0.0, _eta(status, 0.0), told)
    return Rates(window, told.events / window, told.bytes / window, _eta(status, told.closing / window), told)


def _eta(status: SiteStatus, closing: float) -> float | None:
    """Seconds to the end of the log, at ``closing`` records a second."""
    behind = status.end_offset - status.offset - 1
    if status.state in STUCK:
        return None
    if status.state == "STREAMING" or behind <= 0:
        return 0.0
    return behind / closing if closing > 0 else None
