"""Groups and their sites as they are now: the catalogue, the log's newest event, and what would be lost.

A group that cannot be looked at hides no other: it is shown by what the control topic has of it, and why.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from tidelog.clock import wall_us
from tidelog.config import Config
from tidelog.consumers.catalogue import GroupStanding, Newest, SiteStanding, catalogue
from tidelog.consumers.deployment import Deployment
from tidelog.consumers.primary import chosen_primary
from tidelog.consumers.rates import Rates, rates_of
from tidelog.errors import TidelogError
from tidelog.gateways.standing.changes import LogChanges
from tidelog.gateways.standing.sidefiles import configured, sentence, state_word, summaries
from tidelog.gateways.standing.unapplied import Unapplied
from tidelog.producers.control import ControlView
from tidelog.producers.log import Log
from tidelog.producers.mirrors import mirror_here
from tidelog.producers.sidefile_folder import Summary
from tidelog.recovery.head import newest_event
from tidelog.recovery.parted import parted_sites
from tidelog.recovery.rpo import Exposure, WriterStanding, WriterState, exposure, missed, unseen_writer, writer_standing
from tidelog.schemas.control import GroupCreated, SiteStatus
from tidelog.schemas.events import Event
from tidelog.schemas.mirrors import LogMirrored
from tidelog.schemas.promotions import PrimaryChosen


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
    rates: dict[str, Rates]  # by site
    problem: str = ""  # why the group could not be looked at: all of its log is unknown then
    hint: str = ""  # what to do about that
    changes: int | None = None  # that have come into the log since it was looked at first; None where it was not

    @property
    def alarms(self) -> list[str]:
        """What is wrong whatever the objectives are, a sentence each."""
        bad = (sentence(found) for found in self.sidefiles if state_word(found) in ("lost", "damaged"))
        unseen = [f"group {self.standing.record.group} cannot be looked at: {self.problem}"] if self.problem else []
        return [*unseen, *self.standing.alarms, *bad]

    @property
    def configured_sites(self) -> list[SiteStanding]:
        """Those of which something is expected; others that were heard of are shown, and not judged."""
        return [site for site in self.standing.sites if site.configured]

    @property
    def writer_is_gone(self) -> bool:
        """Without a word, or by an error. Of a mirror's that is known in its own region alone."""
        return self.mirror is None and self.writer.state in (WriterState.SILENT, WriterState.ENDED)

    @property
    def missed(self) -> list[str]:
        """Objectives that are missed, a sentence each."""
        return missed(self.standing.record.group, self.exposures.values(), self.writer)


class Observer:
    """Looks at groups, again and again if need be, on connections that it keeps. ``answered`` is called, in a look,
    whenever Kafka has answered."""

    def __init__(
        self, deployment: Deployment, only: str | None = None, answered: Callable[[], None] = lambda: None
    ) -> None:
        self._config = deployment.config
        self._cluster = deployment.cluster
        self._only, self._answered = only, answered
        self._logs: dict[str, Log] = {}
        self._topics: dict[str, str] = {}  # of those logs: a region that is taken up again has another
        self._changes: dict[str, LogChanges] = {}  # in those logs
        self._unapplied: dict[str, Unapplied] = {}  # of them

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for log in self._logs.values():
            log.close()

    def observe(self) -> list[Observed]:
        """Every group, or the one asked for. Raises `LogUnavailable` where the control topic does not answer; of the
        group that was asked for `NotFound`, and whatever is in the way of looking at it."""
        records = self._cluster.list_groups() if self._only is None else [self._cluster.find_group(self._only)]
        self._answered()
        view = self._cluster.control.snapshot()
        self._answered()
        parted: dict[str, dict[str, str]] = {}
        events: dict[str, Event | None] = {}
        problems: dict[str, TidelogError] = {}
        for record in records:
            name = record.group
            try:
                parted[name] = self._parted(record, view)
                events[name] = self._newest(record, view, parted[name])
            except TidelogError as error:
                problems[name] = self._unseen(name, error)
        now_us, config = wall_us(), self._config
        newest = {name: Newest(event.last_sequence, event.timestamp_us) for name, event in events.items() if event}
        standings = catalogue(
            view,
            config.sites,
            now_us=now_us,
            status_interval=config.worker.status_interval,
            groups=[record.group for record in records],
            newest=newest,
            parted=parted,
        )
        return [self._observed_or_not(view, standing, events, problems, now_us) for standing in standings]

    def _observed_or_not(
        self,
        view: ControlView,
        standing: GroupStanding,
        events: Mapping[str, Event | None],
        problems: Mapping[str, TidelogError],
        now_us: int,
    ) -> Observed:
        name = standing.record.group
        error = problems.get(name)
        if error is None:
            try:
                return self._observed(view, standing, events[name], now_us)
            except TidelogError as problem:
                error = self._unseen(name, problem)
        return unseen(view, self._config, standing, error, now_us)

    def _unseen(self, group: str, error: TidelogError) -> TidelogError:
        """Looks at that group from the beginning the next time. Raises the error if it is of the one asked for."""
        if group in self._logs:
            self._logs.pop(group).close()
            del self._topics[group], self._changes[group], self._unapplied[group]
        if self._only is not None:
            raise error
        return error

    def _observed(self, view: ControlView, standing: GroupStanding, event: Event | None, now_us: int) -> Observed:
        config, group = self._config, standing.record.group
        writer = writer_standing(view, group, event, now_us, config.writer.heartbeat)
        found = {}
        for site in standing.sites:
            oldest_us = self._oldest_unapplied_us(standing.record, site, event)
            found[site.site] = exposure(view, config, site, writer, oldest_us, now_us)
        sidefiles = _sidefiles(config, group)
        chosen = chosen_primary(view, standing.record)
        mirror = mirror_here(view, group, self._logs[group].id)
        rates = {site.site: rates_of(view, site) for site in standing.sites}
        return Observed(
            standing,
            event,
            writer,
            found,
            now_us,
            chosen,
            config.primary,
            mirror,
            sidefiles,
            rates,
            changes=self._changes[group].count,
        )

    def _oldest_unapplied_us(self, record: GroupCreated, site: SiteStanding, newest: Event | None) -> int | None:
        if site.status is None or newest is None or site.parted or site.status.sequence >= newest.last_sequence:
            return 0
        group = record.group
        log, codec = self._logs[group], self._cluster.codec(record)
        found = self._unapplied[group].since_us(log, codec, site.status, newest.epoch)
        self._answered()
        return found

    def _parted(self, record: GroupCreated, view: ControlView) -> dict[str, str]:
        if self._topics.get(record.group) != record.topic:
            if record.group in self._logs:
                self._logs.pop(record.group).close()
            self._logs[record.group], self._topics[record.group] = self._cluster.log(record), record.topic
            self._changes[record.group] = LogChanges(self._config.writer.heartbeat)
            self._unapplied[record.group] = Unapplied()
        found = parted_sites(self._logs[record.group], _reports(view, record.group))
        self._answered()
        return found

    def _newest(self, record: GroupCreated, view: ControlView, parted: Mapping[str, str]) -> Event | None:
        shared = (status for status in _reports(view, record.group) if status.site not in parted)
        epoch = max((status.epoch for status in shared), default=0)
        log, codec = self._logs[record.group], self._cluster.codec(record)
        found = newest_event(log, codec, epoch)
        self._answered()
        self._changes[record.group].look(log, codec, found)
        return found


def unseen(view: ControlView, config: Config, standing: GroupStanding, problem: TidelogError, now_us: int) -> Observed:
    """A group that could not be looked at: what sites and its writer have told, and nothing of its log."""
    group, writer = standing.record.group, unseen_writer(view, standing.record.group)
    sites = tuple(replace(site, lag_events=None, lag_seconds=None) for site in standing.sites)
    exposures = {
        site.site: replace(exposure(view, config, site, writer, None, now_us), not_applied=None) for site in sites
    }
    try:
        sidefiles = _sidefiles(config, group)
    except TidelogError:  # as a rule for the want of the key that ``problem`` speaks of
        sidefiles = ()
    return Observed(
        replace(standing, sites=sites),
        None,
        writer,
        exposures,
        now_us,
        chosen_primary(view, standing.record),
        config.primary,
        None,
        sidefiles,
        {site.site: rates_of(view, site) for site in sites},
        str(problem),
        problem.hint,
    )


def _sidefiles(config: Config, group: str) -> tuple[Summary, ...]:
    there = summaries(config, group) if group in configured(config) else ()
    return tuple(one for one in there if one.writes or one.problem)


def _reports(view: ControlView, group: str) -> list[SiteStatus]:
    return [record for record in view.values() if isinstance(record, SiteStatus) and record.group == group]
