"""Regions that are lost in turn, at random: what every site holds in the end is what the log that goes on says."""

import random

import pytest

from tests.consumers.conftest import Lab, until
from tests.consumers.mirror_lab import History, MirrorLab
from tests.recovery.region_lab import promoted, records, take_up
from tests.reference import Reference
from tidelog.errors import TidelogError
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_survey import survey
from tidelog.recovery.rollback import SiteRollback
from tidelog.recovery.rollback_plan import Way, plan_rollback
from tidelog.schemas.mirrors import HistorySealed


class Undropped(History):
    """Drops no copy: a site that is rolled back behind a drop does not have it again (docs/runbooks/rollback.md).
    Names begin at ``turn``."""

    def __init__(self, a: Lab, chance: random.Random, turn: int) -> None:
        super().__init__(a, chance)
        self._turn = turn

    def _drop(self) -> None:
        pass


@pytest.mark.parametrize("seed", range(12))
def test_whoever_is_lost_and_wherever_sites_stand(a: Lab, b: MirrorLab, seed: int) -> None:
    """Random histories and mirrors, sites anywhere, turn after turn: every site ends with what the log says."""
    chance = random.Random(seed)
    here, there, mirror = a, b, b.mirror
    sites = {id(a): "tokyo", id(b): "osaka"}
    for turn in range(3):
        history = Undropped(here, chance, 1000 * turn)
        stopped = chance.random() < 0.5 and turn > 0
        for _ in range(4):
            history.go_on(chance.randrange(1, 6))
            mirror.at_random(chance)
        if not turn:
            a.worker("tokyo")
            b.worker("osaka")
        mirror.send(chance.randrange(1, 40))
        history.go_on(chance.randrange(8))
        if not stopped:
            here.caught_up(sites[id(here)])
        # ``here`` is lost
        caught_up_with_mirror(there, sites[id(there)])
        sealed = promoted(there, sites[id(there)]).sealed
        assert sealed is not None
        Undropped(there, chance, 1000 * turn + 500).go_on(chance.randrange(1, 6))
        _, mirror = take_up(here, there)
        mirror.at_random(chance)
        mirror.send()
        site = sites[id(here)]
        until(lambda here=here, site=site: here.status(site).state in ("HALTED", "STREAMING"), "a decision")
        until(lambda here=here, site=site, sealed=sealed: moved(here, site, sealed), "the site has noticed")
        if here.status(site).state == "HALTED":
            rolled_back_or_rebuilt(here, site)
        here.caught_up(site)
        there.caught_up(sites[id(there)])
        here, there = there, here


def caught_up_with_mirror(region: Lab, site: str) -> None:
    """All that has come is applied."""
    wanted = Reference(region.record.group_id).fold(records(region.log)).sequence

    def there() -> bool:
        try:
            return region.status(site) is not None and region.store(site).position().head.sequence >= wanted
        except TidelogError:
            return False  # its worker has yet to make the store

    until(there, f"{site} at {wanted}")


def moved(region: Lab, site: str, sealed: HistorySealed) -> bool:
    """Whether the site says that it halts since its log was sealed, or has gone on in the new one."""
    position, status = region.store(site).position(), region.status(site)
    return position.cluster_id == region.log.id or (
        status.state == "HALTED" and f"sealed at sequence {sealed.sequence}" in status.reason
    )


def rolled_back_or_rebuilt(region: Lab, site: str) -> None:
    """By whichever the plan says."""
    plan = plan_rollback(region.deployment, site, "bank")
    if plan.way is Way.REBUILD:
        for _ in Rebuild(region.deployment, plan_rebuild(survey(region.deployment, site, "bank"))):
            pass
        return
    for _ in SiteRollback(region.deployment, plan):
        pass
