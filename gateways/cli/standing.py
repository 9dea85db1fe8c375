"""Where sites stand: the catalogue and the log's newest event, as tables and as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from rich.table import Table
from rich.text import Text

from tidelog.clock import iso, wall_us
from tidelog.consumers.catalogue import CatalogueCopy, GroupStanding, Newest, SiteStanding, catalogue
from tidelog.gateways.cli.exit_codes import DEGRADED, HALTED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import make_table, seconds_text, state_text, time_or_none
from tidelog.gateways.cli.writers import ALIVE_HEARTBEATS
from tidelog.producers.control import ControlView
from tidelog.producers.log import Log
from tidelog.recovery.head import newest_event
from tidelog.schemas.control import GroupCreated, SiteStatus
from tidelog.schemas.events import Event

COLUMNS = ("site", "state", "applied", "behind", "lag", "RPO now", "reported", "worker")
NUMBERS = ("applied", "behind", "lag", "RPO now")


@dataclass(frozen=True, slots=True)
class Observed:
    """A group as the control topic and the log's end show it now."""

    standing: GroupStanding
    newest: Event | None  # of the log
    writer_alive: bool
    observed_us: int


class Observer:
    """Looks at groups, again and again if need be, on connections that it keeps."""

    def __init__(self, invocation: Invocation, only: str | None = None) -> None:
        self._config = invocation.deployment.config
        self._cluster = invocation.deployment.cluster
        self._only = only
        self._logs: dict[str, Log] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for log in self._logs.values():
            log.close()

    def observe(self) -> list[Observed]:
        """Every group, or the one asked for. Raises `NotFound`, `LogUnavailable`."""
        records = self._cluster.list_groups() if self._only is None else [self._cluster.find_group(self._only)]
        view = self._cluster.control.snapshot()
        events = {record.group: self._newest(record, view) for record in records}
        now_us, config = wall_us(), self._config
        newest = {name: Newest(event.last_sequence, event.timestamp_us) for name, event in events.items() if event}
        standings = catalogue(
            view,
            config.sites,
            now_us=now_us,
            status_interval=config.worker.status_interval,
            groups=events,
            newest=newest,
        )
        alive_us = ALIVE_HEARTBEATS * config.writer.heartbeat * 1_000_000
        return [_observed(standing, events[standing.record.group], now_us, alive_us) for standing in standings]

    def _newest(self, record: GroupCreated, view: ControlView) -> Event | None:
        if record.group not in self._logs:
            self._logs[record.group] = self._cluster.log(record)
        reports = (status for status in view.values() if isinstance(status, SiteStatus))
        epoch = max((status.epoch for status in reports if status.group == record.group), default=0)
        return newest_event(self._logs[record.group], self._cluster.codec(record), epoch)


def _observed(standing: GroupStanding, event: Event | None, now_us: int, alive_us: float) -> Observed:
    alive = event is not None and now_us - event.timestamp_us < alive_us
    return Observed(standing, event, alive, now_us)


def exit_code(sites: Iterable[SiteStanding], alarms: Iterable[str] = ()) -> int:
    """3 for an alarm, else 4 for a site that has halted, else 3 for one that is silent, unknown or stopped, or whose
    worker reports what is in its way."""
    if any(True for _ in alarms):
        return DEGRADED
    sites = tuple(sites)
    if any(site.stuck for site in sites):
        return HALTED
    return OK if all(site.well for site in sites) else DEGRADED


def site_row(site: SiteStanding) -> tuple[str | Text, ...]:
    """A row under `COLUMNS`."""
    status = site.status
    name = site.site if site.configured else f"{site.site} (not configured)"
    if status is None:
        return (name, state_text(site.state), "-", "-", "-", "-", "never", "-")
    return (
        name,
        state_text(site.state),
        str(status.sequence),
        str(site.lag_events),
        seconds_text(site.lag_seconds),
        seconds_text(site.rpo_seconds),
        f"{seconds_text(site.age_seconds)} ago",
        status.worker,
    )


def site_table(sites: tuple[SiteStanding, ...]) -> Table:
    """Every site of a group."""
    return make_table(COLUMNS, [site_row(site) for site in sites], NUMBERS)


def writer_text(group: Observed) -> Text:
    """Whether somebody writes, idle or busy, or has ended."""
    event = group.newest
    if event is None:
        return Text("no writer yet", style="yellow")
    age = seconds_text(max(0.0, (group.observed_us - event.timestamp_us) / 1_000_000))
    if group.writer_alive:
        return Text(f"writer alive (epoch {event.epoch}), newest event {age} old", style="green")
    return Text(f"no writer: the newest event is {age} old (epoch {event.epoch})", style="yellow")


def group_json(group: Observed) -> dict[str, Any]:
    """A group for programs."""
    event, standing = group.newest, group.standing
    return {
        "group": standing.record.group,
        "group_id": standing.record.group_id,
        "newest": None
        if event is None
        else {"sequence": event.last_sequence, "time": iso(event.timestamp_us), "epoch": event.epoch},
        "writer_alive": group.writer_alive,
        "sites": [site_json(site) for site in standing.sites],
        "copies": len(standing.copies),
        "newest_copy": copy_json(standing.copies[-1]) if standing.copies else None,
        "alarms": list(standing.alarms),
    }


def site_json(site: SiteStanding) -> dict[str, Any]:
    """A site for programs; numbers are null where nothing is known."""
    status = site.status
    found: dict[str, Any] = {
        "site": site.site,
        "group": site.group,
        "configured": site.configured,
        "state": site.state,
        "silent": site.silent,
        "age_seconds": site.age_seconds,
        "lag_events": site.lag_events,
        "lag_seconds": site.lag_seconds,
        "rpo_seconds": site.rpo_seconds,
    }
    if status is None:
        return found | {"reported": None}
    return found | {
        "reported": iso(status.reported_us),
        "reported_state": status.state,
        "reason": status.reason,
        "hint": status.hint,
        "sequence": status.sequence,
        "seal": status.seal.hex(),
        "epoch": status.epoch,
        "time": time_or_none(status.timestamp_us),
        "offset": status.offset,
        "end_offset": status.end_offset,
        "events_applied": status.events_applied,
        "redelivered": status.redelivered,
        "void": status.void,
        "worker": status.worker,
    }


def copy_json(copy: CatalogueCopy) -> dict[str, Any]:
    """A copy for programs, digests in full."""
    return {
        "name": copy.name,
        "sequence": copy.sequence,
        "seal": copy.seal.hex(),
        "time": iso(copy.timestamp_us),
        "equal": copy.equal,
        "sites": {
            site: {
                "answer": answer.value,
                "digest": copy.receipts[site].digest.hex() if site in copy.receipts else None,
                "blocks_changed": copy.receipts[site].blocks_changed if site in copy.receipts else None,
                "formed": time_or_none(copy.receipts[site].formed_us) if site in copy.receipts else None,
                "archive": copy.archives[site].place if site in copy.archives else None,
            }
            for site, answer in copy.answers.items()
        },
    }
