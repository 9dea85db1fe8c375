"""Trimming a log: looked at, planned (`tidelog.recovery.trim_plan`), and then done by Kafka's DeleteRecords."""

from collections.abc import Collection, Sequence

from tidelog.clock import iso, wall_us
from tidelog.consumers.access import read_group
from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import NeedsRebuild, NotFound, TidelogError, UsageError
from tidelog.producers.control import ControlView
from tidelog.producers.follower import carries_head
from tidelog.producers.group_state import KnownCopy
from tidelog.producers.log import Log
from tidelog.producers.mirrors import mirrors_elsewhere, refuse_mirror, sealed_log, seals_of
from tidelog.recovery.trim_plan import Base, Need, TrimPlan, TrimSurvey, plan_trim
from tidelog.schemas.control import CopyFormed, SiteStatus
from tidelog.schemas.mirrors import cluster_of
from tidelog.stores.store import Copy, CopyOrigin

# What a Redis may lose of what it had: more than its AOF's everysec, or a replica's lag, as a rule.
DURABILITY_MARGIN = 60.0
# What a lost region is called here whose mirror was told its group's id alone.
UNNAMED = "unknown"


def plan(
    deployment: Deployment, group: str, margin: float = DURABILITY_MARGIN, without: Collection[str] = ()
) -> TrimPlan:
    """What a trim would delete now. ``margin`` is in seconds; the sites in ``without`` do not count, nor do
    the clusters that mirror the log.

    Raises `NotFound`, `UsageError` for a mirror, a mirrored log or an unknown site, `LogUnavailable`, `ConfigError` for
    a topic whose own retention would delete records, and what folding the log's end raises.
    """
    cluster = deployment.cluster
    record = cluster.find_group(group)
    refuse_mirror(cluster.control, record, lambda: cluster.log(record), "nothing of it is trimmed here")
    log = cluster.log(record)
    try:
        state, head = read_group(group, deployment)
        view = cluster.control.snapshot()
        without = _without_regions(view, group, log.id, without)
        sites = _sites(deployment, view, group, without)
        copies = state.copies()
        seen = _Seen(deployment, log, group, copies)
        bases = seen.look(sites)
        survey = TrimSurvey(
            group,
            sites,
            view,
            copies,
            bases,
            log.bounds(),
            head.epoch,
            wall_us(),
            round(margin * 1_000_000),
            seen.stands,
            seen.needs,
        )
        return plan_trim(survey)
    finally:
        log.close()


def trim(deployment: Deployment, planned: TrimPlan) -> None:
    """Deletes what was planned, if the log still begins where it did. Raises `UsageError`, `LogUnavailable`."""
    cluster = deployment.cluster
    log = cluster.log(cluster.find_group(planned.group))
    try:
        if log.bounds().start != planned.bounds.start:
            raise UsageError(f"the log was trimmed meanwhile, to offset {log.bounds().start}", hint="look again")
        if planned.records > 0:
            log.trim(planned.offset)
    finally:
        log.close()


def _without_regions(view: ControlView, group: str, log: str, without: Collection[str]) -> set[str]:
    """The sites in ``without``, which must name every cluster that mirrors this log, since how far it has come there is
    not known here, and what is deleted before it was sent leaves a hole; and every one whose own log was sealed and
    that does not mirror this one yet. Raises `UsageError`."""
    mirrors = {mirror.target_cluster for mirror in mirrors_elsewhere(view, group, log)}
    back = {cluster_of(one) for one in (log, *mirrors)}
    away = {cluster_of(sealed.log) for sealed in seals_of(view, group)} - back
    if sealed_log(view, group, "") is not None and not mirrors:
        away.add(UNNAMED)
    if left := sorted(mirrors - set(without)):
        raise UsageError(
            f"the log is mirrored to cluster {left[0]}, and what has not been sent there yet would be lost to it",
            group=group,
            hint=f"see there that every site has the copy that is trimmed to, then say --without {left[0]}",
        )
    if left := sorted(away - set(without)):
        raise UsageError(
            f"the region of cluster {left[0]} is away, and its sites need what was written here since",
            group=group,
            hint="take it up again first (docs/runbooks/region-lost.md), or say that its sites are to be rebuilt:"
            f" --without {left[0]}",
        )
    return set(without) - mirrors - away


def _sites(deployment: Deployment, view: ControlView, group: str, without: Collection[str]) -> tuple[str, ...]:
    """The configured ones and those that were heard of: somebody else's configuration may have them."""
    reports = (record for record in view.values() if isinstance(record, SiteStatus | CopyFormed))
    heard = {record.site for record in reports if record.group == group}
    every = [*deployment.config.sites, *sorted(heard - deployment.config.sites.keys())]
    unknown = sorted(set(without) - set(every))
    if unknown:
        raise NotFound(f"no site {unknown[0]!r} is known (there are: {', '.join(every)})")
    left = tuple(site for site in every if site not in without)
    if not left:
        raise UsageError("no site is left that counts: then all of the log would go")
    return left


class _Seen:
    """What the stores of the sites that count say. ``stands`` is where each stands that answers: 0 while it is empty,
    erased or rebuilt; ``needs`` are those that only a store tells of."""

    def __init__(self, deployment: Deployment, log: Log, group: str, copies: Sequence[KnownCopy]) -> None:
        self.stands: dict[str, int] = {}
        self.needs: list[Need] = []
        self._deployment, self._log, self._group, self._copies = deployment, log, group, copies
        self._found: dict[tuple[int, bytes], Copy] = {}
        self._whole = log.bounds().start == 0  # then all copies are known, else if one store is

    def look(self, sites: Sequence[str]) -> list[Base]:
        """Each known copy's record, by a store that holds it; the log must have it with that seal."""
        silent = [site for site in sites if site in self._deployment.config.sites and not self._site(site)]
        known = {(copy.sequence, copy.seal) for copy in self._copies}
        for identity, copy in self._found.items():
            if copy.locked_until_us and identity not in known and carries_head(self._log, copy.head):
                why = f"a site's store has it, locked until {iso(copy.locked_until_us)}"
                self.needs.append(Need(f"copy {copy.name}", copy.sequence, why))
        if not self._whole:
            why = "its store does not answer, and no other can tell all copies that are locked there"
            self.needs += [Need(f"site {site}", 0, why) for site in silent]
        found = (self._found.get((copy.sequence, copy.seal)) for copy in self._copies)
        return [
            Base(copy.sequence, copy.seal, copy.name, copy.timestamp_us, copy.epoch, copy.offset)
            for copy in found
            if copy is not None and carries_head(self._log, copy.head)
        ]

    def _site(self, site: str) -> bool:
        """Whether it answers."""
        self.stands[site] = 0
        try:
            store = open_store(self._deployment, site, self._group)
        except (NeedsRebuild, NotFound):
            return True
        except TidelogError:
            del self.stands[site]
            return False  # another site's store may tell as well
        try:
            stands = 0 if store.rebuilding() is not None else store.position().head.sequence
            marked = [copy for copy in store.copies() if copy.origin is CopyOrigin.MARKER]
            self._found |= {(one.sequence, one.seal): one for one in marked if one.cluster_id == self._log.id}
            self._whole |= store.whole() and stands > 0
            self.stands[site] = stands
        except NeedsRebuild:
            pass
        except TidelogError:
            del self.stands[site]
            return False
        finally:
            store.close()
        return True
