"""What an observer exposes: every group at every site, derived from what Kafka and Redis hold, so that a restart of
whoever looks changes nothing."""

from collections.abc import Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tidelog.consumers.answers import Answer
from tidelog.consumers.catalogue import CatalogueCopy, SiteStanding
from tidelog.gateways.metrics.families import Families
from tidelog.gateways.metrics.listed import ELSEWHERE, SITE_STATES, WRITER_STATES, Place
from tidelog.gateways.standing.observer import Observed
from tidelog.recovery.rpo import WriterState


def exposition(observed: Sequence[Observed] | None, looked_us: int | None = None) -> tuple[bytes, str]:
    """Prometheus' text, and its media type. ``observed`` is what `Observer.observe` gave at ``looked_us`` (default:
    when the newest group in it was looked at); None if Kafka has not answered since that time (default: never)."""
    if looked_us is None:
        looked_us = max((group.observed_us for group in observed or ()), default=0)
    registry = CollectorRegistry()
    registry.register(_Once(observed_families(observed, looked_us)))
    return generate_latest(registry), CONTENT_TYPE_LATEST


def observed_families(observed: Sequence[Observed] | None, looked_us: int) -> Families:
    """The same, as families. Without an answer of Kafka nothing is said of groups, and never of a site that is not
    configured: it would be an alert for ever."""
    families = Families(Place.OBSERVER)
    families.add("tidelog_observer_up", observed is not None)
    families.add("tidelog_observer_look_timestamp_seconds", looked_us / 1_000_000)
    for group in observed or ():
        _add_group(families, group)
        _add_writer(families, group)
        for site in group.configured_sites:
            _add_site(families, group, site)
            _add_copies(families, site, group.standing.copies)
    return families


class _Once(Collector):
    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def _add_group(families: Families, group: Observed) -> None:
    name, copies, newest = group.standing.record.group, group.standing.copies, group.newest
    nothing = None if group.problem else 0
    families.add("tidelog_group_seen", not group.problem, name)
    families.add("tidelog_group_sequence", newest.last_sequence if newest else nothing, name)
    newest_seconds = newest.timestamp_us / 1_000_000 if newest else nothing
    families.add("tidelog_group_newest_timestamp_seconds", newest_seconds, name)
    families.add("tidelog_group_copies", len(copies), name)
    for what, equal in (("equal", True), ("differing", False), ("waiting", None)):
        families.add(f"tidelog_group_copies_{what}", sum(copy.equal is equal for copy in copies), name)
    families.add("tidelog_group_last_copy_timestamp_seconds", _newest_seconds(copies), name)
    families.add("tidelog_group_alarms", len(group.alarms), name)
    families.add("tidelog_group_objectives_missed", len(group.missed), name)
    families.add("tidelog_group_mirror", group.mirror is not None, name)


def _add_writer(families: Families, group: Observed) -> None:
    name, writer = group.standing.record.group, group.writer
    state = writer.state.value if group.mirror is None else ELSEWHERE
    families.add_one_of("tidelog_writer_state", WRITER_STATES, state, name)
    silent = None if group.problem else writer.silent_seconds or 0
    families.add("tidelog_writer_silent_seconds", silent, name)
    paced = writer.report if writer.state is WriterState.ALIVE else None
    delay = paced.delay_us / 1_000_000 if paced else 0
    families.add("tidelog_writer_delay_seconds", None if group.problem else delay, name)


def _add_site(families: Families, group: Observed, site: SiteStanding) -> None:
    where, exposed, rates = (site.group, site.site), group.exposures[site.site], group.rates[site.site]
    families.add_one_of("tidelog_site_state", SITE_STATES, site.state, *where)
    known, total = site.status, rates.total
    for name, value in (
        ("rpo_seconds", exposed.rpo),
        ("rpo_objective_seconds", exposed.objective),
        ("not_logged_seconds", exposed.not_logged),
        ("not_applied_seconds", exposed.not_applied),
        ("not_copied_seconds", exposed.not_copied),
        ("copy_rpo_seconds", exposed.copy_rpo),
        ("copy_rpo_objective_seconds", exposed.copy_objective),
        ("lag_events", site.lag_events),
        ("lag_seconds", site.lag_seconds),
        ("sequence", known.sequence if known else None),
        ("applied_timestamp_seconds", known.timestamp_us / 1_000_000 if known else None),
        ("silent_seconds", site.age_seconds),
        ("events_applied_total", total.events_applied if total else 0),
        ("bytes_applied_total", total.bytes_applied if total else 0),
        ("catch_up_seconds", rates.eta),
    ):
        families.add(f"tidelog_site_{name}", value, *where)


def _add_copies(families: Families, site: SiteStanding, copies: Sequence[CatalogueCopy]) -> None:
    where = (site.group, site.site)
    held = [copy for copy in copies if copy.answers.get(site.site) is Answer.FORMED]
    families.add("tidelog_site_copies", len(held), *where)
    families.add("tidelog_site_copies_missing", sum(site.site in copy.missing for copy in copies), *where)
    families.add("tidelog_site_last_copy_timestamp_seconds", _newest_seconds(held), *where)


def _newest_seconds(copies: Sequence[CatalogueCopy]) -> float:
    return max((copy.timestamp_us for copy in copies), default=0) / 1_000_000
