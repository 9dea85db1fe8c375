"""The plan of a promotion: what it rests on, what it refuses, and whom it would ask to end, before anybody is asked."""

from collections.abc import Callable
from dataclasses import dataclass

from tidelog.clock import iso, wall_us
from tidelog.consumers.catalogue import STUCK, SiteStanding, standing_of
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.consumers.primary import chosen_primary, promotion_under_way
from tidelog.errors import LogDiverged, NotFound, UsageError
from tidelog.producers.control import ControlView
from tidelog.producers.follower import carries_head
from tidelog.producers.log import Log
from tidelog.producers.mirrors import mirror_here, refuse_sealed, sealed_log, seals_of
from tidelog.producers.process_name import has_ended
from tidelog.recovery.head import find_head
from tidelog.recovery.region_seal import refuse_below_own, refuse_running_mirror
from tidelog.recovery.rpo import WriterStanding, writer_standing
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.events import Event
from tidelog.schemas.mirrors import LogMirrored
from tidelog.schemas.promotions import PrimaryChosen, PromotionAsked, is_promotion
from tidelog.schemas.reports import CLOSED, ENDED
from tidelog.stores.image import Store
from tidelog.stores.store import Position

# A site that has been silent is given so long to say a word (seconds).
A_MOMENT = 15.0


class PromotionRefused(UsageError):
    """A writer does not answer, or another promotion is under way: the primary is what it was."""

    exit_code = 13


@dataclass(frozen=True, slots=True)
class Writer:
    """A session that would have to end first. ``process`` is empty where it has never reported; ``silent_seconds`` is
    the age of its last sign of life, ``reported_us`` that sign's time by its own clock where there is a report."""

    epoch: int
    writer: bytes
    process: str
    silent_seconds: float
    reported_us: int


@dataclass(frozen=True, slots=True)
class PromotionPlan:
    """What a promotion will do. ``done`` where the site is the primary already. ``writer`` is asked to end, None where
    nobody is; a forced promotion asks nobody. ``applied`` and ``head`` are where the site and the log stood."""

    site: str
    group: str
    forced: bool
    timeout: float  # seconds, for all of it
    record: GroupCreated
    before: PrimaryChosen | None
    configured: str  # the configuration's primary
    head: Head
    applied: int
    writer: Writer | None
    done: bool
    mirror: LogMirrored | None  # what makes the log a mirror until now

    @property
    def primary(self) -> str:
        """The primary until now; empty where it was in another region."""
        if self.mirror is not None:
            return ""
        return self.before.site if self.before is not None else self.configured


def plan_promotion(
    deployment: Deployment,
    site: str,
    group: str,
    *,
    forced: bool,
    timeout: float,
    mirror_stopped: bool = False,
    give_up: bool = False,
) -> PromotionPlan:
    """Looks at the log, the site's store and the control topic, and plans; changes nothing.

    Raises `NotFound`, `StoreUnavailable`, `WrongStore`, `LogUnavailable`, what folding the log's end raises;
    `UsageError` for a mirrored log unless ``forced``, or while its mirror may run, which is not looked at if it is
    known to be ``mirror_stopped``, or has not brought all that this region itself had, unless that is to be given up
    (``give_up``); for a sealed log, and for a site that cannot be promoted as it is; `PromotionRefused` while another
    promotion is under way.
    """
    config = deployment.config
    find_site(config, site)
    cluster = deployment.cluster
    record, view = cluster.find_group(group), cluster.control.snapshot()
    chosen = chosen_primary(view, record)
    codec, log = cluster.codec(record), cluster.log(record)
    try:
        mirror = _mirror(view, site, group, log.id, forced=forced)
        if mirror is not None and not mirror_stopped:
            refuse_running_mirror(cluster, record)
        head = find_head(log, codec, record, view)
        if mirror is not None and not give_up:
            refuse_below_own(seals_of(view, group), log.id, head)
        event = event_at(log, codec, head)
        done = mirror is None and chosen is not None and chosen.site == site
        applied = 0
        if not done:
            refuse_other(promotion_under_way(view, record), forced=forced)
            applied = _position(deployment, site, group, log, view).head.sequence
    finally:
        log.close()
    standing = writer_standing(view, group, event, wall_us(), config.writer.heartbeat)
    writer = None if forced or done else writer_to_stop(event, standing)
    configured = config.primary or ""
    return PromotionPlan(site, group, forced, timeout, record, chosen, configured, head, applied, writer, done, mirror)


def _mirror(view: ControlView, site: str, group: str, log: str, *, forced: bool) -> LogMirrored | None:
    """What makes the log a mirror, which a forced promotion ends. Raises `UsageError`."""
    mirror, sealed = mirror_here(view, group, log), sealed_log(view, group, log)
    if mirror is None and sealed is not None:
        refuse_sealed(sealed)
    if mirror is not None and not forced:
        error = UsageError(
            f"the log of group {group} is a mirror of {mirror.source_cluster or 'another cluster'}, and writers there"
            " cannot be asked from here to end",
            group=group,
            hint="end them there, and see with `tidelog group regions` that all has come; or they are lost. Stop"
            " MirrorMaker, and say --force: tidelog site promote SITE --group GROUP --force",
        )
        error.at_site(site, group)
        raise error
    return mirror


def event_at(log: Log, codec: Codec, head: Head) -> Event | None:
    """The event of a head; None before the first. Raises what decoding it does."""
    found = log.record_at(head.offset) if head.sequence else None
    return None if found is None else codec.decode(found.value)


def writer_to_stop(
    event: Event | None, standing: WriterStanding, has_ended: Callable[[str], bool] = has_ended
) -> Writer | None:
    """The session that may still hold something that is not in the log; None if none does. ``event`` is the log's
    newest that counts.

    One that has been silent is asked like any other: it may be cut off, and not know. One whose process has ended on
    this machine, or that was opened for a promotion, holds nothing.
    """
    if event is None or is_promotion(event):
        return None
    report = standing.report
    if report is None or report.writer != event.writer:
        return Writer(event.epoch, event.writer, "", standing.silent_seconds or 0.0, 0)
    if report.state in (CLOSED, ENDED) or has_ended(report.process):
        return None
    return Writer(event.epoch, event.writer, report.process, standing.silent_seconds or 0.0, report.reported_us)


def refuse_other(other: PromotionAsked | None, *, forced: bool) -> None:
    """Raises `PromotionRefused` for a promotion that is under way elsewhere, unless this one is forced."""
    if other is not None and not forced:
        raise PromotionRefused(
            f"a promotion of group {other.group} to site {other.site} is under way, begun at {iso(other.asked_us)} by"
            f" {other.asked_by}",
            group=other.group,
            hint=f"wait for it; if that process is gone, until {iso(other.expires_us)}, or say --force",
        )


def refuse_unfit(standing: SiteStanding) -> None:
    """Raises `UsageError` for a site that, by what its worker reports, will not apply what is in the log."""
    status, group, site = standing.status, standing.group, standing.site
    if status is None or standing.silent or status.state == "STOPPED":
        said = "never" if status is None else f"last at {iso(status.reported_us)}, {status.shown_state}"
        raise UsageError(
            f"no worker of site {site} serves group {group} (it has reported {said})",
            hint=f"start one: tidelog site run {site}",
        )
    refuse_halted(standing)


def refuse_halted(standing: SiteStanding) -> None:
    """Raises `UsageError` for a site that has halted, or is being rebuilt."""
    status, group, site = standing.status, standing.group, standing.site
    if status is None:
        return
    # A gap is ended by the next opening alone, whoever opens.
    if status.state in STUCK and not status.reason.startswith("LogGap"):
        raise UsageError(f"site {site} has halted with group {group}: {status.reason}", hint=status.hint)
    if status.state == "REBUILDING":
        raise UsageError(f"site {site} is being rebuilt", group=group, hint="wait until it is whole: tidelog status")


def site_standing(deployment: Deployment, site: str, group: str, view: ControlView) -> SiteStanding:
    """Where the site stands, by what it reports."""
    interval = deployment.config.worker.status_interval
    return standing_of(view, group, site, configured=True, now_us=wall_us(), status_interval=interval)


def _heard(deployment: Deployment, site: str, group: str, view: ControlView) -> SiteStanding:
    """Where the site stands; one that has been silent gets a moment, since its machine may be busy."""
    standing, control = site_standing(deployment, site, group, view), deployment.cluster.control
    if standing.status is None or standing.status.state == "STOPPED" or not standing.silent:
        return standing
    control.wait_for(lambda now: not site_standing(deployment, site, group, now).silent, A_MOMENT)
    return site_standing(deployment, site, group, control.snapshot())


def whole_position(store: Store, log: Log) -> Position:
    """Where a site's store stands. Raises `UsageError` while it is being rebuilt, `LogDiverged` if it is of another
    history than the log."""
    position, site, group = store.position(), store.identity.site, store.identity.group
    if store.rebuilding() is not None:
        raise UsageError(f"site {site} is being rebuilt", group=group, hint="wait until it is whole: tidelog status")
    head = position.head
    if head.sequence and (position.cluster_id != log.id or not carries_head(log, head)):
        raise LogDiverged(
            f"what site {site} has applied, up to sequence {head.sequence}, is not what the log holds",
            group=group,
            offset=head.offset,
            hint=f"see: tidelog site status {site}",
        )
    return position


def _position(deployment: Deployment, site: str, group: str, log: Log, view: ControlView) -> Position:
    refuse_unfit(_heard(deployment, site, group, view))
    try:
        store = open_store(deployment, site, group)
    except NotFound as error:
        error.hint = error.hint or f"has a worker of it ever run? tidelog site run {site}"
        raise
    try:
        return whole_position(store, log)
    finally:
        store.close()
