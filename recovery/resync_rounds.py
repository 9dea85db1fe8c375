"""A resync from beginning to end: where both stores and the log are had, and as many rounds as writers make needed.

A copy that is cut while a round goes on may have taken damage with it: a block that was overwritten after the cut has
its old content there. It is compared in the next round, as soon as the other site has told of it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tidelog.consumers.catalogue import CatalogueCopy, copies_of
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.consumers.late_events import LogEvents
from tidelog.errors import CopiesDiffer, UsageError
from tidelog.recovery.live_check import OpenEvents
from tidelog.recovery.resync import Resync, ResyncReport
from tidelog.recovery.resync_plan import ResyncPlan
from tidelog.recovery.resync_survey import Resyncing
from tidelog.stores.ranges import Advance
from tidelog.stores.store import Copy

ROUNDS = 5
# How long the other site is waited for to tell of a copy that was cut meanwhile, in seconds.
TELL_WAIT = 20.0
PAUSE = 0.1


@contextmanager
def comparing(deployment: Deployment, site: str, other: str, group: str) -> Iterator[Resyncing]:
    """The two stores of a group, their common copies held. Raises `NotFound`, `UsageError` for one site twice,
    `LogUnavailable`, `StoreUnavailable`, `WrongStore`."""
    for one in (site, other):
        find_site(deployment.config, one)
    if site == other:
        raise UsageError(f"site {site} cannot be compared with itself", hint="name another site")
    mine = open_store(deployment, site, group)
    try:
        theirs = open_store(deployment, other, group)
        try:
            between = Resyncing(mine, theirs, _told(deployment, group), _events_of(deployment, group))
            try:
                yield between
            finally:
                between.close()
        finally:
            theirs.close()
    finally:
        mine.close()


def resync(
    deployment: Deployment, site: str, other: str, group: str, found: Callable[[ResyncPlan], None], advance: Advance
) -> tuple[ResyncPlan, ResyncReport]:
    """Mends until nothing differs: the first round's plan, and what all have done. ``found`` is told of each plan
    before it is carried out, ``advance`` of bytes read or moved.

    Raises as `comparing`, `Resyncing.survey` and `Resync.drive`; `CopiesDiffer` if there is still something to do after
    `ROUNDS`.
    """
    first, total = None, ResyncReport()
    for _ in range(ROUNDS):
        with comparing(deployment, site, other, group) as between:
            plan = between.survey(advance)
            first = first or plan
            if plan is not first and not plan.mendable:
                return first, total
            found(plan)
            total.add(Resync(between, advance).drive())
            newer = _newer(between)
            if not plan.mendable or not newer:
                return first, total
            _await(deployment, between, newer)
    raise CopiesDiffer(
        f"site {site} was found to differ from {other} in each of {ROUNDS} rounds",
        group=group,
        hint="something else changes that Redis; when that has ended, resync again or rebuild:"
        f" tidelog site rebuild {site} --group {group}",
    )


def _newer(between: Resyncing) -> list[Copy]:
    """The copies that the site has behind the newest that was compared."""
    newest = between.plan.pairs[0].mine
    return [copy for copy in between.site.copies() if copy.generation > newest.generation]


def _await(deployment: Deployment, between: Resyncing, copies: list[Copy]) -> None:
    """Waits until the other site has told of copies that it holds or is still to come to; some it may never hold."""
    wanted, deadline = {(copy.sequence, copy.seal, copy.name) for copy in copies}, time.monotonic() + TELL_WAIT
    while time.monotonic() < deadline:
        known = (one for one in _told(deployment, between.plan.group) if between.plan.other in one.receipts)
        told = {(one.sequence, one.seal, one.name) for one in known}
        there = {(copy.sequence, copy.seal, copy.name) for copy in between.site.copies()}
        if not (wanted & there) - told:
            return
        time.sleep(PAUSE)


def _told(deployment: Deployment, group: str) -> list[CatalogueCopy]:
    return copies_of(deployment.cluster.control.snapshot(), group, deployment.config.sites)


def _events_of(deployment: Deployment, group: str) -> OpenEvents:
    """The log of a group, from the end of a copy on."""
    record, settings = deployment.cluster.find_group(group), deployment.config.worker

    def opened(copy: Copy) -> LogEvents:
        return LogEvents(
            lambda: deployment.cluster.log(record),
            deployment.cluster.codec(record),
            record.group_id,
            copy,
            settings.queue_bytes,
            settings.poll_timeout,
        )

    return opened
