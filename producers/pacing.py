"""Pacing: what a group's writer does while a site is too far behind. Added to volumes only where it is configured.

After Global Mirror's write pacing: a delay per write in steps, doubled while the lag is over its limit and halved when
it is under it, never more than ``max_delay``. What is known of a site's lag are its reports; before anything fires a
fresh one is asked for, so that the age of a report is not taken for lag.
"""

import time
from dataclasses import dataclass

from tidelog.clock import wall_us
from tidelog.config_tables import PacingConfig
from tidelog.errors import SiteBehind
from tidelog.producers.control import ControlView
from tidelog.producers.volume import Volume
from tidelog.producers.writing import Writing
from tidelog.schemas.chain import Head
from tidelog.schemas.control import SiteStatus, status_key

FIRST_DELAY = 0.0001
# So long a site has for a fresh report before a limit that its last one passes counts as passed (seconds).
ANSWER_WITHIN = 0.25
# A write that waits looks so often whether it still must, and whether the session has ended (seconds).
LOOK_EVERY = 0.005


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a site is behind what is confirmed in the log: by its last report."""

    site: str
    seconds: float
    events: int

    def __str__(self) -> str:
        return f"{self.site} is {self.seconds:.1f} s and {self.events} events behind"


class Pacing:
    """One session's. `look` belongs to the thread that looks at reports; `admit` is called by every writing thread."""

    def __init__(self, group: str, config: PacingConfig, sites: tuple[str, ...], opened: Head, timeout: float) -> None:
        self.config, self.timeout = config, timeout
        self._group, self._sites, self._opened_us = group, config.sites or sites, opened.timestamp_us
        self._asked: float | None = None  # when fresh reports were asked for, since the last ones pass a limit
        self.since_us = 0  # a limit is passed since; 0: none is
        self.count = 0
        self.worst = ""  # of the last time
        self.delay = 0.0  # seconds, of each write now
        self.delayed = 0.0  # seconds, of all writes

    @property
    def blocked(self) -> bool:
        """Whether writes are held."""
        return self.since_us > 0 and self.config.policy == "block"

    def look(self, view: ControlView, confirmed: Head) -> bool:
        """Takes the sites' reports into account; whether fresh ones should be asked for."""
        worst = max((self._lag(view, site, confirmed) for site in self._sites), key=self._excess)
        if self._excess(worst) <= 1:
            self._asked = None
            self._ease()
            return False
        if not self.since_us:
            now = time.monotonic()
            if self._asked is None:
                self._asked = now
                return True
            if now - self._asked < ANSWER_WITHIN:
                return False
            self.since_us, self.count = wall_us(), self.count + 1
        self.worst = str(worst)
        if self.config.policy == "pace":
            self.delay = min(self.config.max_delay, max(FIRST_DELAY, self.delay * 2))
        return True

    def admit(self, session: Writing) -> None:
        """Waits as long as a write must: nothing, ``delay`` seconds, or while writes are held. Ends at once when the
        session has ended; the write itself then says why. Raises `SiteBehind` if writes are held for longer than
        ``write_timeout``: nothing was written, and the session goes on."""
        if not self.since_us and not self.delay:
            return
        begun = time.monotonic()
        if self.blocked:
            self._await_site(session, begun + self.timeout)
        else:
            until = begun + self.delay
            while (left := until - time.monotonic()) > 0 and not session.ended:
                time.sleep(min(left, LOOK_EVERY))
        self.delayed += time.monotonic() - begun

    def _await_site(self, session: Writing, until: float) -> None:
        while self.blocked and not session.ended:
            if time.monotonic() > until:
                raise SiteBehind(
                    f"writes are held, since {self.worst}: for {self.timeout:g} s now",
                    group=self._group,
                    hint="see: tidelog status. Nothing of this write is in the log; groups.NAME.pacing sets the policy",
                )
            time.sleep(LOOK_EVERY)

    def _ease(self) -> None:
        self.delay = self.delay / 2 if self.delay > FIRST_DELAY else 0.0
        if not self.delay:
            self.since_us = 0

    def _lag(self, view: ControlView, site: str, confirmed: Head) -> Lag:
        found = view.get(status_key(self._group, site))
        sequence, reached_us = (found.sequence, found.timestamp_us) if isinstance(found, SiteStatus) else (0, 0)
        if sequence >= confirmed.sequence:
            return Lag(site, 0.0, 0)
        # Not from before this session: time in which nobody wrote is no lag.
        seconds = (confirmed.timestamp_us - max(reached_us, self._opened_us)) / 1_000_000
        return Lag(site, max(0.0, seconds), confirmed.sequence - sequence)

    def _excess(self, lag: Lag) -> float:
        """The lag as a multiple of its limit."""
        of_time = lag.seconds / self.config.max_lag if self.config.max_lag else 0.0
        return max(of_time, lag.events / self.config.max_lag_events if self.config.max_lag_events else 0.0)


class PacedVolume(Volume):
    """A volume whose writes are paced. The wait comes before the order is decided: others are not held up by it."""

    def write(self, offset: int, data: "bytes | bytearray | memoryview") -> None:
        """See `Volume.write`. Raises `SiteBehind`, too, where the policy is ``block``."""
        self._admit()
        super().write(offset, data)

    def discard(self, offset: int, length: int) -> None:
        """See `Volume.discard` and `write`."""
        self._admit()
        super().discard(offset, length)

    def _admit(self) -> None:
        if self._group.pacing is not None:
            self._group.pacing.admit(self._group.session)
