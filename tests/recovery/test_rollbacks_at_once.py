"""A roll back and what changes the store meanwhile: another roll back, a transaction of somebody else's."""

import itertools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from tests.consumers.conftest import Lab, until
from tests.recovery.test_rollback import diverged
from tidelog.errors import StoreUnavailable
from tidelog.recovery import rollback as rollback_module
from tidelog.recovery.rollback import SiteRollback
from tidelog.recovery.rollback_plan import RollbackPlan, plan_rollback
from tidelog.stores.keyspace import Command, Reply
from tidelog.stores.rollback import Rollback


@pytest.fixture
def lab() -> Iterator[Lab]:
    """See `Lab`."""
    lab = Lab()
    yield lab
    lab.end()


def with_worker(plan: RollbackPlan) -> RollbackPlan | None:
    """The plan, if it sees one."""
    return plan if plan.worker else None


@pytest.mark.parametrize("nth", range(1, 13))
def test_two_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """One of them ends, the other is told, and the site is whole, wherever they meet: all of the second comes between
    two requests of the first, up to those of its steps."""
    monkeypatch.setattr(rollback_module, "STEP", 0.002)
    diverged(lab)
    # One whose worker seems silent, as it may on a busy machine, would hand on to nobody.
    plan = until(lambda: with_worker(plan_rollback(lab.deployment, "osaka", "bank")), "a plan that sees the worker")
    keyspace, requests, told = lab.keyspace(), itertools.count(1), []
    real, this_thread = keyspace.transact, threading.get_ident()

    def run() -> None:
        try:
            for _ in SiteRollback(lab.deployment, plan):
                pass
        except StoreUnavailable as error:
            told.append(error)

    def transact(commands: Sequence[Command]) -> list[Reply]:
        if threading.get_ident() == this_thread and next(requests) == nth:
            run()
        return real(commands)

    monkeypatch.setattr(keyspace, "transact", transact)
    run()
    assert next(requests) > nth and len(told) == 1, told
    lab.caught_up()


def test_a_worker_that_seemed_silent_goes_on(lab: Lab) -> None:
    """The roll back hands on to nobody then, and is over before the worker, which has halted, may have seen it."""
    stood, _ = diverged(lab)
    plan = replace(plan_rollback(lab.deployment, "osaka", "bank"), worker=False)
    rollback = SiteRollback(lab.deployment, plan)
    for _ in rollback:
        pass
    assert not rollback.report.worker and lab.store().rebuilding() is None
    store = lab.caught_up()
    assert store.copy("lost-tail").sequence == stood


def test_a_store_that_moves_on_is_not_rolled_back_over(lab: Lab) -> None:
    """What was planned is conditional on the store: a transaction in between refuses the first step."""
    diverged(lab)
    plan = plan_rollback(lab.deployment, "osaka", "bank")
    keyspace = lab.keyspace()

    def come_between(point: str) -> None:
        if point == "exec":
            keyspace.between = lambda _point: None
            keyspace.transact([(b"SET", b"tidelog:{bank}:position", keyspace.get(b"tidelog:{bank}:position"))])

    keyspace.between = come_between
    with Rollback(keyspace, lab.store().identity) as rollback, pytest.raises(StoreUnavailable, match="another process"):
        rollback.begin(plan.position, plan.copy, plan.head, plan.cluster_id)
    assert lab.store().rebuilding() is None and len(lab.store().copies(lost=True)) == len(lab.store().copies())
