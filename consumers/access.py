"""The two ways in for an application: `open_group` to write, `open_site` to read."""

import math
from collections.abc import Callable
from os import PathLike

from tidelog.clock import PROCESS_CLOCK, HybridClock
from tidelog.config import Config
from tidelog.consumers.deployment import Deployment, RealDeployment
from tidelog.consumers.primary import await_promotion, chosen_primary, primary_beside, primary_site
from tidelog.consumers.read_side import SiteReadSide
from tidelog.consumers.sidefiles import Plan, open_with_sidefile, sidefile_settings
from tidelog.consumers.site_view import ArchiveFinder, Site
from tidelog.consumers.vouching import vouched_by
from tidelog.errors import ConfigError, TidelogError
from tidelog.producers.archived import archived_copies
from tidelog.producers.group import Group
from tidelog.producers.group_state import GroupState
from tidelog.producers.lock_time import lock_time_us
from tidelog.producers.log import Log
from tidelog.producers.mirrors import refuse_mirror
from tidelog.producers.opening import open_session, read_state
from tidelog.producers.pacing import Pacing
from tidelog.producers.schedule import Schedule
from tidelog.producers.session import WriterSession
from tidelog.producers.sidefile_group import SidefileGroup
from tidelog.producers.sidefile_session import SidefileSession
from tidelog.producers.writer_reports import WriterReports
from tidelog.producers.writing import Writing
from tidelog.schemas.chain import Head
from tidelog.schemas.control import GroupCreated


def open_group(
    name: str,
    config: "Config | str | PathLike[str] | None" = None,
    *,
    site: str | None = None,
    deployment: Deployment | None = None,
    clock: HybridClock = PROCESS_CLOCK,
    schedule: bool = True,
    sidefile: bool = True,
    plan: Plan | None = None,
    linger: float | None = None,
) -> Group:
    """Opens a consistency group for writing: a new writer session, which fences any other.

    ``config`` is a path or a `Config` (default: ``TIDELOG_CONFIG``, ``./tidelog.toml``, the environment); ``site`` is
    where reads go (default: the group's primary, as the last promotion has chosen it, else the configuration's).
    ``deployment`` replaces what ``config`` would connect to, and stays open. The session makes the copies of the
    group's schedule, if it has one, unless ``schedule`` is False. The end of a promotion that is under way is waited
    for, for a minute at most. Where a sidefile is configured, and ``sidefile`` is not False, it is a `SidefileGroup`,
    and what an earlier process has left in the sidefile is in the log when this returns. ``plan`` may refuse the head
    that the session would extend: see `tidelog.producers.opening.open_session`; a sidefile has one of its own.
    ``linger``: seconds, in place of the configuration's (``[writer] linger``).

    Raises `SidefileLost`, `SidefileInUse` or `SidefileDamaged` about a sidefile, `NotFound` (make the group with
    ``tidelog group create``), `UsageError` (its log is a mirror), `ConfigError`, `LogUnavailable`, `LogDiverged`,
    `CorruptEvent`, `ClockSkew`, `Fenced`, `RegistryUnavailable`.
    """
    used = deployment or RealDeployment(loaded(config))
    try:
        owns = deployment is None
        return _open(used, name, site, clock, owns=owns, schedule=schedule, sidefile=sidefile, plan=plan, linger=linger)
    except BaseException:
        if deployment is None:
            used.close()
        raise


def open_site(
    name: str,
    config: "Config | str | PathLike[str] | None" = None,
    *,
    deployment: Deployment | None = None,
    archive: ArchiveFinder | None = None,
) -> Site:
    """Opens a site for reading: no writer session, no fencing. Arguments as for `open_group`; ``archive`` finds copies
    that the site's store has not got (`tidelog.open_site` brings one).

    Raises `NotFound` for a site that is not configured, `ConfigError`.
    """
    used = deployment or RealDeployment(loaded(config))
    return Site(used, name, owns=deployment is None, archive=archive)


def loaded(config: "Config | str | PathLike[str] | None") -> Config:
    """The configuration itself, or read from where it says."""
    if isinstance(config, Config):
        return config
    return Config.load(None if config is None else str(config))


def read_group(name: str, deployment: Deployment) -> tuple[GroupState, Head]:
    """What the log says of a group at its end, and the head there, with no session and no fencing.

    Raises `NotFound`, `LogUnavailable`, `LogDiverged`, `CorruptEvent`.
    """
    record = deployment.cluster.find_group(name)
    log = deployment.cluster.log(record)
    config, chosen = deployment.config, chosen_primary(deployment.cluster.control.snapshot(), record)
    primary = chosen.site if chosen is not None and chosen.site in config.sites else config.primary
    timeout = config.writer.write_timeout
    try:
        vouched = vouched_by(deployment, primary, name, log) if primary is not None else None
        return read_state(log, deployment.cluster.codec(record), record.group_id, timeout, vouched=vouched)
    except TidelogError as error:
        error.at_site(primary or "NAME", name)
        raise
    finally:
        log.close()


def _open(
    deployment: Deployment,
    name: str,
    site: str | None,
    clock: HybridClock,
    *,
    owns: bool,
    schedule: bool,
    sidefile: bool,
    plan: Plan | None,
    linger: float | None,
) -> Group:
    config = deployment.config
    if site is None and config.primary is None:
        raise ConfigError("no site is configured", hint="add [sites.NAME.redis] with its url")
    record = deployment.cluster.find_group(name)
    refuse_mirror(deployment.cluster.control, record, lambda: deployment.cluster.log(record))
    view = await_promotion(deployment.cluster.control, record)
    deployment.cluster.require_registry(record)  # before anybody is fenced
    asked_for, site = site, site or primary_site(view, record, config)
    log = deployment.cluster.log(record)
    read_side = SiteReadSide(deployment, site, name)
    try:
        session = _session(
            deployment, record, log, site, clock, schedule=schedule, sidefile=sidefile, plan=plan, linger=linger
        )
        told = asked_for or primary_beside(session.writer, deployment.cluster.control, record, config)
        if told != site:
            read_side.close()
            read_side = SiteReadSide(deployment, told, name)
    except BaseException as error:  # Ctrl-C, too, must not leave connections behind
        if isinstance(error, TidelogError):
            error.at_site(site, name)
        read_side.close()
        log.close()
        raise
    control, sites = deployment.cluster.control, tuple(config.sites)
    pacing = _pacing(config, name, session)
    reports = WriterReports(name, session, control, config.writer.heartbeat, pacing)
    closing = [reports.close, read_side.close, log.close] + ([deployment.close] if owns else [])
    rest = (read_side, control, config.writer.batch_bytes, sites, closing, pacing)
    return SidefileGroup(name, session, *rest) if isinstance(session, SidefileSession) else Group(name, session, *rest)


def _session(
    deployment: Deployment,
    record: GroupCreated,
    log: Log,
    site: str,
    clock: HybridClock,
    *,
    schedule: bool,
    sidefile: bool,
    plan: Plan | None,
    linger: float | None,
) -> WriterSession | SidefileSession:
    config, name, cluster = deployment.config, record.group, deployment.cluster
    writer = config.writer if linger is None else config.writer.model_copy(update={"linger": linger})
    codec = cluster.codec(record)

    def begin(plan: Plan | None = None, make: Callable[..., WriterSession] = WriterSession) -> WriterSession:
        session = open_session(
            log,
            codec,
            record.group_id,
            writer,
            vouched=vouched_by(deployment, site, name, log),
            clock=clock,
            on_turn=_schedule(deployment, name) if schedule else lambda _: math.inf,
            plan=plan,
            make=make,
        )
        try:  # again: the log may have been sealed in between, and an opening behind the seal would count
            refuse_mirror(cluster.control, record, lambda: cluster.log(record))
        except BaseException:
            session.abandon()
            raise
        return session

    settings = sidefile_settings(config, name) if sidefile else None
    return begin(plan) if settings is None else open_with_sidefile(begin, settings, record, log, codec, clock)


def _pacing(config: Config, group: str, session: Writing) -> Pacing | None:
    table = config.groups.get(group)
    if table is None or table.pacing is None:
        return None
    return Pacing(group, table.pacing, tuple(config.sites), session.confirmed, config.writer.write_timeout)


def _schedule(deployment: Deployment, group: str) -> Callable[[WriterSession], float]:
    table, control = deployment.config.groups.get(group), deployment.cluster.control
    if table is None or table.every is None:
        return lambda _: math.inf
    archived = None if table.archive is None else lambda: archived_copies(control.snapshot(), group)
    return Schedule(table.every, table.keep, lambda log_time_us: lock_time_us(log_time_us, group, control), archived)
