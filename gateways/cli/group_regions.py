"""`tidelog group regions`: one group at the sites of several regions, and whether their copies are equal."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from tidelog.clock import iso, wall_us
from tidelog.config import Config
from tidelog.consumers.catalogue import GroupStanding, Newest, SiteStanding, catalogue
from tidelog.consumers.deployment import Deployment
from tidelog.errors import LogUnavailable, UsageError
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, emit_table, equal_text, seconds_text, short, state_text
from tidelog.gateways.cli.standing import exit_code
from tidelog.gateways.standing.documents import copy_json
from tidelog.producers.control import ControlView
from tidelog.producers.mirrors import sealed_log
from tidelog.recovery.head import newest_event
from tidelog.recovery.regions import merged
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.events import Event
from tidelog.schemas.mirrors import HistorySealed


@dataclass(frozen=True, slots=True)
class Region:
    """One region as its control topic and the end of its log show it. ``name`` is its configuration's."""

    name: str
    cluster_id: str
    log_id: str
    sites: tuple[str, ...]
    view: ControlView
    newest: Event | None


def show_regions(invocation: Invocation, group: str, others: Sequence[Path], *, json: bool) -> int:
    """The exit code: as of `status`, 3 also where a region does not answer. Raises `UsageError` if the group of another
    region is another group."""
    found, silent = _look(invocation, group, others)
    standing = _standing(invocation.config, found, group)
    alarms = [*_parted(found, group), *standing.alarms]
    away = [Region(name, "", "", (), {}, None) for name in silent]
    if json:
        _emit_json(invocation, [*found, *away], standing, alarms)
    else:
        _print(invocation, found, standing, alarms)
    code = exit_code(standing.sites, alarms)
    return DEGRADED if silent and code == OK else code


def _look(invocation: Invocation, group: str, others: Sequence[Path]) -> tuple[list[Region], list[str]]:
    """Every region that answers, and the names of those that do not."""
    regions: list[Region] = []
    silent: list[str] = []
    group_id = ""
    with ExitStack() as closing:
        own = invocation.config.file
        reached = [(str(own) if own is not None else "here", invocation.deployment)]
        for path in others:
            reached.append((str(path), invocation.open(Config.load(path, {}))))
            closing.callback(reached[-1][1].close)
        for name, deployment in reached:
            try:
                region, its_id = _region(name, deployment, group)
            except LogUnavailable as error:
                invocation.say(f"{name}: {error}")
                silent.append(name)
                continue
            if group_id not in ("", its_id):
                raise UsageError(f"the group {group} of {name} is another group, with id {its_id}", group=group)
            group_id = its_id
            twin = next((one.name for one in regions if one.cluster_id == region.cluster_id), None)
            if twin is not None:
                raise UsageError(f"{name} and {twin} name the same Kafka cluster, {region.cluster_id}", group=group)
            regions.append(region)
    if not regions:
        raise LogUnavailable(f"no region of group {group} answers")
    return regions, silent


def _region(name: str, deployment: Deployment, group: str) -> tuple[Region, str]:
    cluster = deployment.cluster
    record, view = cluster.find_group(group), cluster.control.snapshot()
    reports = (status for status in view.values() if isinstance(status, SiteStatus) and status.group == group)
    log = cluster.log(record)
    try:
        newest = newest_event(log, cluster.codec(record), max((status.epoch for status in reports), default=0))
        return Region(name, log.cluster_id, log.id, tuple(deployment.config.sites), view, newest), record.group_id
    finally:
        log.close()


def _standing(config: Config, regions: Sequence[Region], group: str) -> GroupStanding:
    """All sites beside the newest event that any of the logs has."""
    events = [region.newest for region in regions if region.newest is not None]
    last = max(events, key=lambda event: (event.epoch, event.last_sequence), default=None)
    newest = {} if last is None else {group: Newest(last.last_sequence, last.timestamp_us)}
    sites = dict.fromkeys(site for region in regions for site in region.sites)
    (standing,) = catalogue(
        merged([region.view for region in regions], group),
        sites,
        now_us=wall_us(),
        status_interval=config.worker.status_interval,
        groups=[group],
        newest=newest,
    )
    return standing


def _seal(regions: Sequence[Region], region: Region, group: str) -> HistorySealed | None:
    """Where a promotion in any region has sealed the history in this one's log."""
    return next((seal for one in regions if (seal := sealed_log(one.view, group, region.log_id)) is not None), None)


def _parted(regions: Sequence[Region], group: str) -> list[str]:
    """Alarms: regions whose log has gone on behind its seal, to be lost."""
    found = []
    for region in regions:
        seal = _seal(regions, region, group)
        if seal is not None and region.newest is not None and region.newest.last_sequence > seal.sequence:
            found.append(
                f"the history of group {group} in {region.name} was sealed at sequence {seal.sequence} by a promotion"
                f" in another region, and its log goes on to {region.newest.last_sequence}: what is behind the seal is"
                f" lost to the group. Stop its writer there, then say: tidelog -c {region.name} group mirror {group}"
                " --from-config FILE"
            )
    return found


def _of(site: SiteStanding, regions: Sequence[Region]) -> str:
    """Whose control topic has the site's newest word."""
    told = next((one for one in regions if site.status is not None and site.status in one.view.values()), None)
    return told.name if told is not None else next((one.name for one in regions if site.site in one.sites), "")


def _print(invocation: Invocation, regions: Sequence[Region], standing: GroupStanding, alarms: Sequence[str]) -> None:
    for alarm in alarms:
        invocation.out.print(Text(f"ALARM: {alarm}", style="bold white on red"))
    rows: list[tuple[str | Text, ...]] = []
    for site in standing.sites:
        status = site.status
        applied, behind = ("-", "-") if status is None else (str(status.sequence), str(site.lag_events))
        lag = "-" if site.lag_seconds is None else seconds_text(site.lag_seconds)
        rows.append((site.site, _of(site, regions), state_text(site.state), applied, behind, lag))
    emit_table(invocation, ("site", "region", "state", "applied", "behind", "lag"), rows)
    copies: list[tuple[str | Text, ...]] = []
    for copy in standing.copies:
        digests = ", ".join(short(digest) for digest in sorted(copy.digests))
        where = ", ".join(copy.receipts)
        copies.append((copy.name, str(copy.sequence), iso(copy.timestamp_us), equal_text(copy.equal), digests, where))
    emit_table(invocation, ("pitc", "sequence", "time", "sites", "digest", "at"), copies)


def _emit_json(
    invocation: Invocation, regions: Sequence[Region], standing: GroupStanding, alarms: Sequence[str]
) -> None:
    emit_json(
        invocation,
        {
            "group": standing.record.group,
            "regions": [
                {
                    "configuration": region.name,
                    "cluster_id": region.cluster_id or None,
                    "newest_sequence": None if region.newest is None else region.newest.last_sequence,
                }
                for region in regions
            ],
            "sites": [
                {
                    "site": site.site,
                    "region": _of(site, regions),
                    "state": site.state,
                    "sequence": None if site.status is None else site.status.sequence,
                    "lag_events": site.lag_events,
                    "lag_seconds": site.lag_seconds,
                }
                for site in standing.sites
            ],
            "copies": [copy_json(copy) for copy in standing.copies],
            "alarms": list(alarms),
        },
    )
