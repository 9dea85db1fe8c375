"""What would be lost: the RPO of a site, in its three parts. Pure: what was reported and the log's end in, seconds out.

Each part is the age of the oldest thing in it, so an idle group has none, however long nobody writes:

- not in the log: accepted by the writer, not confirmed. The writer reports it. Of a writer that has gone silent it is
  unknown what it had accepted; nothing older than its last sign of life, since a log is in order: that age then counts.
- in the log and not applied at the site, by the site's last report. A heartbeat does not count: nothing is lost with
  it, whether the site has heard of it or not.
- applied at the site and in none of its copies. Only what changes a volume counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tidelog.config import Config
from tidelog.consumers.catalogue import SiteStanding
from tidelog.producers.applied import NOT_GOOD
from tidelog.producers.control import ControlView
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.events import Event
from tidelog.schemas.reports import CLOSED, ENDED, UncopiedSince, WriterStatus, uncopied_key, writer_key

# A writer that is alive puts an event into the log, and reports, at least this often, in heartbeats.
ALIVE_HEARTBEATS = 3.0


class WriterState(StrEnum):
    """What can be said of a group's writer."""

    NONE = "none"  # the log has no event
    ALIVE = "alive"
    CLOSED = "closed"  # by its owner, with everything in the log
    ENDED = "ended"  # by an error that it has reported; what it had not flushed may or may not be in the log
    SILENT = "silent"  # killed, or cut off
    UNKNOWN = "unknown"  # the log cannot be read


@dataclass(frozen=True, slots=True)
class WriterStanding:
    """A group's writer, by its own report, if that is of the session that the log's newest event is of, and by the log.

    ``not_logged_seconds`` is the first part of the RPO; of a silent writer at most so much, and None where the log
    cannot be read.
    """

    state: WriterState
    report: WriterStatus | None
    silent_seconds: float | None  # since its last sign of life
    not_logged_seconds: float | None


@dataclass(frozen=True, slots=True)
class Exposure:
    """A site's parts, in seconds; None where nothing is known. ``objective`` and ``copy_objective`` are configured."""

    site: str
    not_logged: float | None
    not_applied: float | None
    not_copied: float | None
    objective: float | None
    copy_objective: float | None

    @property
    def rpo(self) -> float | None:
        """What losing everything but this site's image would lose: the age of the oldest change that is not in it."""
        if self.not_logged is None or self.not_applied is None:
            return None
        return max(self.not_logged, self.not_applied)

    @property
    def copy_rpo(self) -> float | None:
        """The same of this site's copies."""
        return None if self.rpo is None or self.not_copied is None else max(self.rpo, self.not_copied)


def writer_standing(
    view: ControlView, group: str, newest: Event | None, now_us: int, heartbeat: float
) -> WriterStanding:
    """Where the group's writer stands; ``newest`` is the log's newest event, ``heartbeat`` in seconds."""
    if newest is None:
        return WriterStanding(WriterState.NONE, None, None, 0.0)
    found = view.get(writer_key(group))
    # A report of an elder session says nothing of the one that has written since.
    report = found if isinstance(found, WriterStatus) and found.epoch >= newest.epoch else None
    if report is not None and report.state in (CLOSED, ENDED):
        unlogged_us = report.unlogged_us if report.state == ENDED else 0
        state = WriterState.CLOSED if report.state == CLOSED else WriterState.ENDED
        return WriterStanding(state, report, None, _age(unlogged_us, now_us) if unlogged_us else 0.0)
    heard_us = max(newest.timestamp_us, report.reported_us if report is not None else 0)
    silent = _age(heard_us, now_us)
    if silent < ALIVE_HEARTBEATS * heartbeat:
        unlogged_us = report.unlogged_us if report is not None else 0
        # What was not confirmed when it reported is in the log by now, if what came later is.
        waits = unlogged_us > newest.timestamp_us
        return WriterStanding(WriterState.ALIVE, report, silent, _age(unlogged_us, now_us) if waits else 0.0)
    known_us = newest.timestamp_us
    if report is not None:
        known_us = max(known_us, report.unlogged_us or report.reported_us)
    return WriterStanding(WriterState.SILENT, report, silent, _age(known_us, now_us))


def unseen_writer(view: ControlView, group: str) -> WriterStanding:
    """Where the group's writer stands while its log cannot be read: its report alone does not say whether it lives."""
    found = view.get(writer_key(group))
    return WriterStanding(WriterState.UNKNOWN, found if isinstance(found, WriterStatus) else None, None, None)


def exposure(
    view: ControlView,
    config: Config,
    standing: SiteStanding,
    writer: WriterStanding,
    oldest_unapplied_us: int | None,
    now_us: int,
) -> Exposure:
    """A site's parts. ``oldest_unapplied_us`` is the time of the first change in the log behind the site's reported
    position: 0 if there is none, None if it could not be read (then the position's own time stands for it)."""
    site, group, status = standing.site, standing.group, standing.status
    not_applied = not_copied = None
    if isinstance(status, SiteStatus) and status.state not in NOT_GOOD and not standing.parted:
        if oldest_unapplied_us is not None:
            not_applied = _age(oldest_unapplied_us, now_us) if oldest_unapplied_us else 0.0
        elif status.timestamp_us:
            not_applied = _age(status.timestamp_us, now_us)
    uncopied = view.get(uncopied_key(group, site))
    if isinstance(uncopied, UncopiedSince):
        not_copied = _age(uncopied.since_us, now_us) if uncopied.since_us else 0.0
    of_site, of_group = config.sites.get(site), config.groups.get(group)
    # A site that is not configured is retired, or somebody else's: the group's objective is not for it.
    tables = [table for table in (of_site, of_group) if table is not None] if standing.configured else []
    return Exposure(
        site,
        writer.not_logged_seconds,
        not_applied,
        not_copied,
        _strictest(table.rpo for table in tables),
        _strictest(table.copy_rpo for table in tables),
    )


def missed(group: str, exposures: Iterable[Exposure], writer: WriterStanding) -> list[str]:
    """What is wrong, one sentence each; nothing where no objective is configured."""
    found = []
    for site in exposures:
        unlogged = "without a word from the writer" if writer.state is WriterState.SILENT else "not yet in the log"
        parts = [(site.not_logged, unlogged), (site.not_applied, "in the log and not applied")]
        copied = (site.not_copied, "applied and in no copy")
        for objective, rpo, name, causes in (
            (site.objective, site.rpo, "RPO", parts),
            (site.copy_objective, site.copy_rpo, "copy RPO", [*parts, copied]),
        ):
            if objective is None or (rpo is not None and rpo <= objective):
                continue
            if rpo is None:
                found.append(f"the {name} of group {group} at {site.site} is unknown; its objective is {objective:g} s")
                continue
            why = ", ".join(f"{age:.1f} s {what}" for age, what in causes if age is not None and age > objective)
            found.append(
                f"the {name} of group {group} at {site.site} is {rpo:.1f} s, more than the {objective:g} s of its"
                f" objective: {why}"
            )
    return found


def _age(since_us: int, now_us: int) -> float:
    return max(0.0, (now_us - since_us) / 1_000_000)


def _strictest(objectives: Iterable[float | None]) -> float | None:
    return min((objective for objective in objectives if objective is not None), default=None)
