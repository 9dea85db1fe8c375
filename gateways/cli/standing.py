"""Where sites stand: the catalogue and the log's newest event, as tables and as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rich.table import Table
from rich.text import Text

from tidelog.clock import iso, wall_us
from tidelog.consumers.catalogue import Answer, CatalogueCopy, GroupStanding, Newest, SiteStanding, catalogue
from tidelog.consumers.primary import chosen_primary
from tidelog.gateways.cli.exit_codes import DEGRADED, HALTED, MISSED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import make_table, seconds_text, state_text, time_or_none
from tidelog.gateways.cli.primary_text import primary_json
from tidelog.gateways.cli.rpo_text import RPO_COLUMNS, rpo_cells, rpo_json, writer_json
from tidelog.gateways.cli.sidefile_files import configured, sentence, sidefile_json, state_word, summaries
from tidelog.producers.control import ControlView
from tidelog.producers.log import Log
from tidelog.producers.mirrors import mirror_here
from tidelog.producers.sidefile_folder import Summary
from tidelog.recovery.head import event_after, newest_event
from tidelog.recovery.parted import parted_sites
from tidelog.recovery.rpo import Exposure, WriterStanding, WriterState, exposure, missed, writer_standing
from tidelog.schemas.control import GroupCreated, SiteStatus
from tidelog.schemas.events import Event
from tidelog.schemas.mirrors import LogMirrored
from tidelog.schemas.promotions import PrimaryChosen

COLUMNS = ("site", "state", "applied", "behind", *RPO_COLUMNS, "reported", "worker")
NUMBERS = ("applied", "behind", *RPO_COLUMNS)


@dataclass(frozen=True, slots=True)
class Observed:
    """A group as the control topic and the log's end show it now."""

    standing: GroupStanding
    newest: Event | None  # of the log
    writer: WriterStanding
    exposures: dict[str, Exposure]  # by site
    observed_us: int
    chosen: PrimaryChosen | None  # what the last promotion has told of the primary
    configured: str | None  # the primary where there was none
    mirror: LogMirrored | None  # what makes the log here a mirror
    sidefiles: tuple[Summary, ...]  # those on this machine that hold anything

    @property
    def alarms(self) -> list[str]:
        """What is wrong whatever the objectives are, a sentence each."""
        bad = (sentence(found) for found in self.sidefiles if state_word(found) in ("lost", "damaged"))
        return [*self.standing.alarms, *bad]

    @property
    def missed(self) -> list[str]:
        """Objectives that are missed, a sentence each."""
        return missed(self.standing.record.group, self.exposures.values(), self.writer)


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
        parted = {record.group: self._parted(record, view) for record in records}
        events = {record.group: self._newest(record, view, parted[record.group]) for record in records}
        now_us, config = wall_us(), self._config
        newest = {name: Newest(event.last_sequence, event.timestamp_us) for name, event in events.items() if event}
        standings = catalogue(
            view,
            config.sites,
            now_us=now_us,
            status_interval=config.worker.status_interval,
            groups=events,
            newest=newest,
            parted=parted,
        )
        return [self._observed(view, standing, events[standing.record.group], now_us) for standing in standings]

    def _observed(self, view: ControlView, standing: GroupStanding, event: Event | None, now_us: int) -> Observed:
        config, group = self._config, standing.record.group
        writer = writer_standing(view, group, event, now_us, config.writer.heartbeat)
        found = {}
        for site in standing.sites:
            oldest_us = self._oldest_unapplied_us(standing.record, site, event)
            found[site.site] = exposure(view, config, site, writer, oldest_us, now_us)
        there = summaries(config, group) if group in configured(config) else ()
        sidefiles = tuple(one for one in there if one.writes or one.problem)
        chosen = chosen_primary(view, standing.record)
        mirror = mirror_here(view, group, self._logs[group].id)
        return Observed(standing, event, writer, found, now_us, chosen, config.primary, mirror, sidefiles)

    def _oldest_unapplied_us(self, record: GroupCreated, site: SiteStanding, newest: Event | None) -> int | None:
        if site.status is None or newest is None or site.parted or site.status.sequence >= newest.last_sequence:
            return 0
        event = event_after(self._logs[record.group], self._cluster.codec(record), site.status)
        return None if event is None else event.first_timestamp_us

    def _parted(self, record: GroupCreated, view: ControlView) -> dict[str, str]:
        if record.group not in self._logs:
            self._logs[record.group] = self._cluster.log(record)
        return parted_sites(self._logs[record.group], _reports(view, record.group))

    def _newest(self, record: GroupCreated, view: ControlView, parted: Mapping[str, str]) -> Event | None:
        shared = (status for status in _reports(view, record.group) if status.site not in parted)
        epoch = max((status.epoch for status in shared), default=0)
        return newest_event(self._logs[record.group], self._cluster.codec(record), epoch)


def _reports(view: ControlView, group: str) -> list[SiteStatus]:
    return [record for record in view.values() if isinstance(record, SiteStatus) and record.group == group]


def exit_code(sites: Iterable[SiteStanding], alarms: Iterable[str] = (), missed: Iterable[str] = ()) -> int:
    """3 for an alarm, else 4 for a site that has halted, else 5 for an objective that is missed, else 3 for a site that
    is silent, unknown or stopped, or whose worker reports what is in its way."""
    if any(True for _ in alarms):
        return DEGRADED
    sites = tuple(sites)
    if any(site.stuck for site in sites):
        return HALTED
    if any(True for _ in missed):
        return MISSED
    return OK if all(site.well for site in sites) else DEGRADED


def site_row(site: SiteStanding, exposed: Exposure) -> tuple[str | Text, ...]:
    """A row under `COLUMNS`."""
    status = site.status
    name = site.site if site.configured else f"{site.site} (not configured)"
    if status is None:
        return (name, state_text(site.state), "-", "-", *rpo_cells(exposed), "never", "-")
    return (
        name,
        state_text(site.state),
        str(status.sequence),
        "-" if site.lag_events is None else str(site.lag_events),
        *rpo_cells(exposed),
        f"{seconds_text(site.age_seconds)} ago",
        status.worker,
    )


def site_table(group: Observed) -> Table:
    """Every site of a group."""
    rows = [site_row(site, group.exposures[site.site]) for site in group.standing.sites]
    return make_table(COLUMNS, rows, NUMBERS)


def group_json(group: Observed) -> dict[str, Any]:
    """A group for programs."""
    event, standing = group.newest, group.standing
    return {
        "group": standing.record.group,
        "group_id": standing.record.group_id,
        "newest": None
        if event is None
        else {"sequence": event.last_sequence, "time": iso(event.timestamp_us), "epoch": event.epoch},
        "writer_alive": group.writer.state is WriterState.ALIVE,
        "writer": writer_json(group.writer),
        "primary": primary_json(group.chosen, group.configured, group.mirror),
        "mirror_of": None if group.mirror is None else group.mirror.source_cluster or "unknown",
        "sites": [site_json(site, group.exposures[site.site]) for site in standing.sites],
        "copies": len(standing.copies),
        "newest_copy": copy_json(standing.copies[-1]) if standing.copies else None,
        "alarms": group.alarms,
        "sidefiles": [sidefile_json(found) for found in group.sidefiles],
        "objectives_missed": group.missed,
    }


def site_json(site: SiteStanding, exposed: Exposure) -> dict[str, Any]:
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
        "applied_age_seconds": site.rpo_seconds,
        **rpo_json(exposed),
    }
    if status is None:
        return found | {"reported": None}
    return found | {
        "reported": iso(status.reported_us),
        "reported_state": status.state,
        "reason": site.reason,
        "hint": site.hint,
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
        "sites": {site: _answer_json(copy, site, answer) for site, answer in copy.answers.items()},
    }


def _answer_json(copy: CatalogueCopy, site: str, answer: Answer) -> dict[str, Any]:
    receipt = copy.receipts.get(site) if answer is Answer.FORMED else None
    return {
        "answer": answer.value,
        "digest": receipt.digest.hex() if receipt else None,
        "blocks_changed": receipt.blocks_changed if receipt else None,
        "formed": time_or_none(receipt.formed_us) if receipt else None,
        "archive": copy.archives[site].place if site in copy.archives else None,
    }
