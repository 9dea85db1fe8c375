"""Where a site stands with a group, by what it last said and how old that is. Pure.

Who has been silent for `SILENT_AFTER` status intervals is shown as such, whatever the state that it last reported.
"""

from dataclasses import dataclass

from tidelog.producers.control import ControlView
from tidelog.schemas.control import SiteStatus, status_key

SILENT_AFTER = 5.0
# States of `tidelog.consumers.replica.State` in which nothing will happen by itself.
STUCK = frozenset({"HALTED", "NEEDS_REBUILD"})


@dataclass(frozen=True, slots=True)
class SiteStanding:
    """Where a site stands with a group, and how old that news is. ``status`` is None if it never reported.

    ``lag_events`` and ``lag_seconds`` count to the newest event that anybody knows of; ``rpo_seconds`` is the age now
    of the newest event that the site has applied. None where nothing is known.
    """

    site: str
    group: str
    configured: bool
    status: SiteStatus | None
    age_seconds: float | None
    silent: bool
    lag_events: int | None
    lag_seconds: float | None
    rpo_seconds: float | None
    parted: str = ""  # why the log does not have the site's last event; a caller has looked

    @property
    def state(self) -> str:
        """The state to show: what it last said, ``SILENT`` if that is old, ``UNKNOWN`` if it never spoke, ``DIVERGED``
        if the log is not the one that it has applied and it has not halted on that, else `SiteStatus.shown_state`.

        One that ended in an orderly way has said so and is ``STOPPED``, not silent.
        """
        if self.status is None:
            return "UNKNOWN"
        if self._parted_unsaid:
            return "DIVERGED"
        if self.silent and self.status.state not in STUCK and self.status.state != "STOPPED":
            return "SILENT"
        return self.status.shown_state

    @property
    def stuck(self) -> bool:
        """Whether it waits for an operator."""
        return self.status is not None and (self.status.state in STUCK or self._parted_unsaid)

    @property
    def reason(self) -> str:
        """What is in its way, by its own word or by the log; empty if nothing is known to be."""
        if self._parted_unsaid:
            return f"LogDiverged: {self.parted}"
        return self.status.reason if self.status is not None else ""

    @property
    def hint(self) -> str:
        """What to do about it."""
        if self._parted_unsaid:
            see = f"tidelog site rollback {self.site} --group {self.group} --dry-run"
            return f"the log was cut back, or is another one; see where the two part: {see}"
        return self.status.hint if self.status is not None else ""

    @property
    def _parted_unsaid(self) -> bool:
        return bool(self.parted) and self.status is not None and self.status.state not in STUCK

    @property
    def well(self) -> bool:
        """Whether a worker is there and at work or up to date, and reports nothing that is in its way. Of a site that
        is not configured nothing is expected, and nobody judges it by this."""
        if self.status is None or self.silent or self.reason:
            return False
        return self.state in ("STREAMING", "REPLAYING", "STARTING")


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest event of a log that a caller has looked at itself."""

    sequence: int
    timestamp_us: int


def standing_of(
    view: ControlView,
    group: str,
    site: str,
    *,
    configured: bool,
    now_us: int,
    status_interval: float,
    newest: Newest | None = None,
    parted: str = "",
) -> SiteStanding:
    """Where one site stands with one group. Of one that has ``parted`` from the log nobody can tell how far it is
    behind."""
    status = view.get(status_key(group, site))
    if not isinstance(status, SiteStatus):
        return SiteStanding(site, group, configured, None, None, True, None, None, None)
    age = max(0.0, (now_us - status.reported_us) / 1_000_000)
    head = newest or Newest(status.sequence, status.timestamp_us)
    behind = max(0, head.sequence - status.sequence)
    known = status.timestamp_us > 0
    lag = max(0.0, (head.timestamp_us - status.timestamp_us) / 1_000_000) if known else None
    rpo = max(0.0, (now_us - status.timestamp_us) / 1_000_000) if known else None
    silent = age > SILENT_AFTER * status_interval
    if parted:
        return SiteStanding(site, group, configured, status, age, silent, None, None, rpo, parted)
    return SiteStanding(site, group, configured, status, age, silent, behind, lag if behind else 0.0, rpo)
