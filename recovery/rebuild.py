"""Rebuilding a site's store: erase, load a base if there is one, replay the log behind it, and compare what came out.

Restartable: killed while erasing it erases again, killed while loading or replaying it goes on (a worker of that site
replays by itself). The store is never served as good before it is whole: it is marked before its first key is deleted.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tidelog.consumers.deployment import Deployment, open_store
from tidelog.consumers.orders import orders_of
from tidelog.consumers.receipts import not_held
from tidelog.consumers.replica import Replica
from tidelog.consumers.site_store import told_began, told_stopped
from tidelog.errors import (
    REBUILD,
    ROLLBACK,
    Halted,
    NeedsRebuild,
    RollingBack,
    StoreUnavailable,
    TidelogError,
    Unavailable,
    UsageError,
)
from tidelog.producers.mirrors import mirror_follower
from tidelog.recovery.base_load import BaseLoading
from tidelog.recovery.rebuild_bases import Exports
from tidelog.recovery.rebuild_plan import RebuildPlan
from tidelog.recovery.rebuild_report import Phase, RebuildProgress, RebuildReport, VerifiedCopy
from tidelog.schemas.control import CopyFormed
from tidelog.stores.image import Store
from tidelog.stores.store import Copy

# A worker that is alive but does not move for so long (seconds) is helped: it may not have seen the erase yet.
STALL = 3.0
# Nothing moves and Kafka or Redis is away: after so many seconds the rebuild gives up, to be started again.
GIVE_UP = 60.0
STEP = 0.1
COPIES_VERIFIED = 5


class Rebuild:
    """One rebuild. Iterate over it to do it; `report` is complete when the iteration has ended.

    Raises `WrongStore`, `UsageError` for clones and locked copies that would go, and what `BaseLoading` does for a base
    that is not what it was, before anything is erased; `StoreUnavailable`, `LogUnavailable`, and what a replica halts
    on.
    """

    def __init__(self, deployment: Deployment, plan: RebuildPlan, exports: Exports | None = None) -> None:
        """``exports`` opens a base that is in one."""
        self.plan = plan
        self._exports = exports
        self.report = RebuildReport(plan.site, plan.group, by=plan.worker or "this process")
        self._deployment = deployment
        self._replica: Replica | None = None

    def __iter__(self) -> Iterator[RebuildProgress]:
        started = time.monotonic()
        before = self._receipts()
        store = open_store(self._deployment, self.plan.site, self.plan.group, create=True)
        try:
            if self.plan.loads:
                yield from self._load(store)
            else:
                if self.plan.erase:
                    yield from self._erased(store, store.erase)
                store.begin_rebuild(self.plan.until_sequence)
            yield from self._replay(store)
            yield from self._verify(store, before)
            self._tell(store)
            self.report.seconds = time.monotonic() - started
        finally:
            if self._replica is not None:
                self._replica.stop()
            store.close()

    def _tell(self, store: Store) -> None:
        """As the site's worker would: there may be none for a while, and what was told last is of before."""
        site, group, control = self.plan.site, self.plan.group, self._deployment.cluster.control
        head = store.position().head
        if head.sequence:
            control.publish(told_began(site, group, store.began()))
        if self._replica is not None:
            for receipt in not_held(store, set(), control.snapshot()):  # its own answering may not have come to them
                control.retract(receipt.key)
            control.publish(told_stopped(site, group, head, "rebuilt"))

    def _load(self, store: Store) -> Iterator[RebuildProgress]:
        with BaseLoading(self._deployment, self.plan, self.report, self._exports) as base:
            if self.plan.erase:
                yield from self._erased(store, lambda: base.begin(store), base.check_log)
            else:
                base.resume(store)
            yield from base.load()

    def _erased(
        self, store: Store, erase: Callable[[], Iterator[int]], check: Callable[[], None] = lambda: None
    ) -> Iterator[RebuildProgress]:
        started = time.monotonic()
        before = store.begin_erase()  # first: a clone that is made later would go unasked, and a trim sees it
        try:
            self._refuse_clones(store)
            self._refuse_locked()
            check()
        except (UsageError, Halted, Unavailable):  # no erase has begun: not with clones, and the rest looks first
            store.withdraw_erase(before)
            raise
        for keys in erase():
            self.report.keys_erased = keys
            yield RebuildProgress(Phase.ERASING, keys, 0, 0, 0, time.monotonic() - started, self.report.by)

    def _refuse_clones(self, store: Store) -> None:
        """What stands in a clone is nowhere else. Of a store that is damaged nobody can tell."""
        if self.plan.drop_clones:
            return
        try:
            names = ", ".join(clone.name for clone in store.clones.all())
        except RollingBack:
            names = ", ".join(store.left_rolling()[1])
        except Halted:
            return
        if names:
            raise UsageError(
                f"group {self.plan.group} at site {self.plan.site} has clones, which an erase takes away: {names}",
                hint="export what is wanted of them (tidelog clone export), then say --drop-clones",
            )

    def _refuse_locked(self) -> None:
        """A lock is to keep a copy, whatever is done to its site."""
        plan = self.plan
        if plan.locked_lost and not plan.leave_locked:
            error = UsageError(
                f"group {plan.group} at site {plan.site} has locked copies, which {plan.base} does not bring back:"
                f" {', '.join(plan.locked_lost)}",
                hint=_locked_hint(plan),
            )
            error.at_site(plan.site, plan.group)
            raise error

    def _replay(self, store: Store) -> Iterator[RebuildProgress]:
        if not self.plan.worker:
            self._start_replica()
        started = moved = time.monotonic()
        first = seen = self.plan.from_sequence - 1
        goal = self.plan.until_sequence
        while store.rebuilding() is not None:
            with _there():
                sequence = store.position().head.sequence
            now = time.monotonic()
            if sequence != seen:
                seen, moved = sequence, now
            self._attend(now - moved)
            yield self._replayed(sequence - first, goal - first, now - started)
            time.sleep(STEP)
        self.report.replay_seconds = time.monotonic() - started
        self.report.events = max(0, goal - first)
        self.report.bytes_estimated = self.plan.bytes_estimated
        yield self._replayed(goal - first, goal - first, self.report.replay_seconds)

    def _attend(self, still_for: float) -> None:
        """Helps a worker that does not move, and gives up on a replica that cannot."""
        if self._replica is None:
            if still_for > STALL:
                self._start_replica()
            return
        error = self._replica.progress(0).error
        if not self._replica.running:
            raise error or TidelogError("the replay has stopped", hint="run the rebuild again; it goes on from there")
        if isinstance(error, Unavailable) and still_for > GIVE_UP:
            raise error

    def _start_replica(self) -> None:
        cluster, plan = self._deployment.cluster, self.plan
        record = cluster.find_group(plan.group)
        self._replica = Replica(
            plan.group,
            cluster.codec(record),
            lambda: cluster.log(record),
            lambda: open_store(self._deployment, plan.site, plan.group),
            cluster.control,
            self._deployment.config.worker,
            orders_of(cluster.control.snapshot(), plan.group),
            make_follower=mirror_follower(cluster.control, plan.group),
        )
        self.report.by = "this process"
        self._replica.start()

    def _replayed(self, done: int, total: int, seconds: float) -> RebuildProgress:
        done = min(max(done, 0), max(total, 0))
        size = self.plan.bytes_estimated
        so_far = round(size * done / total) if total > 0 else size
        return RebuildProgress(Phase.REPLAYING, done, max(total, 0), so_far, size, seconds, self.report.by)

    def _verify(self, store: Store, before: list[CopyFormed]) -> Iterator[RebuildProgress]:
        """The newest copies against every receipt: other sites', and this one's own from before it was erased."""
        with _there():
            newest = store.copies()[-COPIES_VERIFIED:]
        started = time.monotonic()
        for count, copy in enumerate(newest, start=1):
            with _there():
                digest = store.digest(copy)
            self.report.copies.append(_verified(copy, digest, before))
            seconds = time.monotonic() - started
            yield RebuildProgress(Phase.VERIFYING, count, len(newest), 0, 0, seconds, self.report.by)

    def _receipts(self) -> list[CopyFormed]:
        view = self._deployment.cluster.control.snapshot()
        return [
            record for record in view.values() if isinstance(record, CopyFormed) and record.group == self.plan.group
        ]


@contextmanager
def _there() -> Iterator[None]:
    """Around what reads a store that this rebuild has put a position into."""
    try:
        yield
    except NeedsRebuild as error:
        raise StoreUnavailable(
            "another process has taken this store over since it was erased for this rebuild",
            hint="is another rebuild, an import or a roll back running? run it again when that has ended",
        ) from error


def _locked_hint(plan: RebuildPlan) -> str:
    gone = plan.store.gone if plan.store is not None else ()
    if plan.store is not None and plan.store.rolling:
        return (
            f"end the roll back, which keeps them: {ROLLBACK}; if it cannot end, nothing of them can be read any more,"
            f" then say --leave-locked: {REBUILD} --from-scratch --leave-locked"
        )
    if any(copy.locked for copy in gone):
        return (
            "no base brings back what the log does not have: export it first"
            " (tidelog pitc export COPY --group GROUP --site SITE --to PLACE), then say --leave-locked:"
            f" {REBUILD} --from-scratch --leave-locked"
        )
    return "begin with an older base, or the log (--from); or say --leave-locked: other sites keep theirs"


def _verified(copy: Copy, digest: bytes, receipts: list[CopyFormed]) -> VerifiedCopy:
    of_this = {
        receipt.site: receipt.digest
        for receipt in receipts
        if (receipt.sequence, receipt.seal) == (copy.sequence, copy.seal)
    }
    return VerifiedCopy(copy.name, copy.sequence, digest, of_this)
