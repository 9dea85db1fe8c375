"""Rolling a site back: to its newest copy that the log still has, with all that is lost kept (`lost-tail`).

Restartable: killed anywhere, it is run again and goes on. The store is not served before it is whole; a worker of the
site waits meanwhile, and goes on by itself.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import RollingBack, StoreUnavailable, UsageError
from tidelog.recovery.rollback_plan import RollbackPlan, Way
from tidelog.stores.image import Store
from tidelog.stores.keyspace import PositionMoved
from tidelog.stores.rollback import Rollback

# A worker that is alive looks for an end once a status interval; one that does not within this time (seconds) is told
# of, and the next one that begins goes on.
WAIT = 60.0
STEP = 0.1
# Somebody may be about to change the store, such as a worker that has not noticed yet.
TRIES = 50


@dataclass(slots=True)
class RollbackReport:
    """``blocks`` were moved; ``worker`` has taken the store over, or, if ``waits``, is to; empty if there is none."""

    blocks: int = 0
    seconds: float = 0.0
    worker: str = ""
    waits: bool = False


class SiteRollback:
    """One roll back. Iterate over it to do it, which gives (blocks done, blocks in all); `report` is complete then.

    Raises `UsageError` for a plan that is none, `StoreUnavailable`.
    """

    def __init__(self, deployment: Deployment, plan: RollbackPlan) -> None:
        if plan.way in (Way.NOTHING, Way.REBUILD):
            raise UsageError(f"nothing is to be rolled back at site {plan.site}", group=plan.group)
        self.plan, self.report = plan, RollbackReport(worker=plan.worker)
        self._deployment = deployment

    def __iter__(self) -> Iterator[tuple[int, int]]:
        started = time.monotonic()
        store = open_store(self._deployment, self.plan.site, self.plan.group)
        keyspace = self._deployment.keyspace(self.plan.site, self.plan.group)
        try:
            with Rollback(keyspace, store.identity) as rollback:
                if self.plan.way is Way.RELOCATE:
                    assert self.plan.head is not None
                    rollback.relocate(self.plan.head, self.plan.cluster_id, self.plan.offsets)
                else:
                    if self.plan.way is Way.ROLL_BACK:
                        self._begin(store, rollback)
                    if rollback.under_way() is not None:
                        for done in rollback.steps(self.plan.offsets):
                            yield done, rollback.total
                self.report.blocks = rollback.done
            self._hand_on(store)
        finally:
            keyspace.close()
            store.close()
        self.report.seconds = time.monotonic() - started

    def _begin(self, store: Store, rollback: Rollback) -> None:
        copy, head = self.plan.copy, self.plan.head
        assert copy is not None and head is not None
        for left in reversed(range(TRIES)):
            try:
                finish_forming(store, rollback)
                rollback.begin(self.plan.position, copy, head, self.plan.cluster_id)
                return
            except RollingBack:
                raise
            except (StoreUnavailable, PositionMoved):
                if not left:
                    raise
                time.sleep(STEP)

    def _hand_on(self, store: Store) -> None:
        """The store is at the copy: a worker that is alive begins anew there and says that it is good; else it is said
        here, and the next worker begins there."""
        deadline = time.monotonic() + (WAIT if self.report.worker else 0)
        while store.rebuilding() is not None and time.monotonic() < deadline:
            time.sleep(STEP)
        if store.rebuilding() is None:
            return
        if self.report.worker:
            self.report.waits = True
        else:
            store.end_rebuild()


def finish_forming(store: Store, rollback: Rollback) -> None:
    """Ends, or takes away, a late copy that is half made. Raises `PositionMoved`, `StoreUnavailable`."""
    if rollback.half_made:
        with store.applier("") as applier:
            while rollback.half_made and applier.maintain():
                pass
