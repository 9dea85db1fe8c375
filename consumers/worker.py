"""A site worker: the replicas of the groups that it owns at one site, and what it says of them."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence

from tidelog.clock import wall_us
from tidelog.config_tables import KeepRules
from tidelog.consumers.archive_policy import Archive, ArchivePolicy, archive_place
from tidelog.consumers.asked import Asked
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.consumers.membership import Membership
from tidelog.consumers.orders import Order, orders_of
from tidelog.consumers.replica import Replica, State
from tidelog.consumers.site_reports import SiteReports
from tidelog.consumers.site_store import head_before, open_site_store
from tidelog.errors import TidelogError, Unavailable
from tidelog.producers.log import Log
from tidelog.producers.mirrors import mirror_follower
from tidelog.producers.process_name import process_name
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated, SiteStatus, status_key
from tidelog.stores.store import CopyOrigin, Position

LEAVE_TIMEOUT = 30.0
# Kafka is asked for so long each time, and once more before a worker leaves: without an answer, what a replica still
# waits for is Kafka, and its store is at a whole event. So a worker ends within some 6 s when Kafka is gone.
ASK_TIMEOUT, LEAVE_ASK_TIMEOUT = 5.0, 3.0


class SiteWorker:
    """Runs replicas for a site until `stop`. ``groups`` restricts it to some; by default it serves every group there
    is, also those made later.

    `run` blocks; it returns after `stop`, called from another thread or a signal's. Ends on no error of a single
    group: that is the group's status. Copies that are to be archived before they are dropped are, by ``archive``;
    without it they stay.
    """

    def __init__(
        self,
        deployment: Deployment,
        site: str,
        membership: Callable[[], Membership],
        groups: Iterable[str] = (),
        archive: Archive | None = None,
    ) -> None:
        find_site(deployment.config, site)
        self.site = site
        self._deployment, self._make_membership = deployment, membership
        self._only = frozenset(groups)
        self._stopping = threading.Event()
        self._replicas: dict[str, tuple[Replica, GroupCreated]] = {}
        self._halted_at: dict[str, Position | None] = {}  # where halted stores stood when that was seen first
        self._logs: dict[str, Log] = {}
        self._ends: dict[str, int] = {}
        self.statuses: dict[str, SiteStatus] = {}  # what was last said of each group
        self.turns = 0  # rounds that are over, through or not
        self.unreachable: TidelogError | None = None  # why the last round could not be completed
        self._policy = None if archive is None else ArchivePolicy(deployment, site, self._served, archive)
        self._asked = Asked(deployment.cluster.control)
        self.reports = SiteReports(deployment.cluster.control, site, ASK_TIMEOUT)
        self._name = process_name()

    @property
    def replicas(self) -> dict[str, Replica]:
        """The replicas that run now, by group."""
        return {name: replica for name, (replica, _) in tuple(self._replicas.items())}

    def stop(self) -> None:
        """Asks `run` to end, and the replicas at once, since `run` may be waiting for Kafka; returns at once."""
        self._stopping.set()
        if self._policy is not None:
            self._policy.ask_to_stop()
        for replica in self.replicas.values():
            replica.ask_to_stop()

    def run(self) -> None:
        """Serves until `stop`. Kafka out of reach is waited out; the replicas go on from their positions.

        After `stop` it returns when each replica has ended its transaction; within some 10 s if Kafka is gone.
        """
        membership: Membership | None = None
        interval = self._deployment.config.worker.status_interval
        if self._policy is not None:
            self._policy.start()
        try:
            while not self._stopping.is_set():
                try:
                    if membership is None:
                        membership = self._make_membership()
                    self._round(membership)
                    self.unreachable = None
                except Unavailable as error:
                    self.unreachable = error
                self.turns += 1
                self._rest(interval)
        finally:
            self._leave(membership)

    def _round(self, membership: Membership) -> None:
        view = self._deployment.cluster.control.snapshot(ASK_TIMEOUT)
        there = {record.group: record for record in view.values() if isinstance(record, GroupCreated)}
        wanted = {name: record for name, record in there.items() if not self._only or name in self._only}
        owned = membership.owned({name: record.topic for name, record in wanted.items()})
        lost = self._replicas.keys() - owned
        self._end_replicas(lost)
        for name in lost:
            self.reports.lose(name)
        self._end_replicas({name for name, replica in self.replicas.items() if self._rebuild_begun(name, replica)})
        for name in {name for name, (_, record) in self._replicas.items() if record.topic != wanted[name].topic}:
            self._end_replicas({name})  # it goes on in another incarnation
            self._ends.pop(name, None)
        for name in owned - self._replicas.keys():
            self._start_replica(wanted[name], orders_of(view, name), view.get(status_key(name, self.site)))
        offsets = {}
        for name, (replica, record) in self._replicas.items():
            if (orders := orders_of(view, name)) != replica.orders:
                replica.orders = orders
            if self._stopping.is_set():
                return
            status = self.statuses[name] = self._status(name, replica, self._end_offset(name))
            self.reports.tell_rates(status)
            self._deployment.cluster.control.publish(status, ASK_TIMEOUT)
            self.reports.tell_uncopied(name, replica)
            self.reports.tell_began(name, replica)
            offsets[record.topic] = status.offset + 1
        membership.commit(offsets)

    def _rest(self, interval: float) -> None:
        """Waits for the next round, and reports at once where a writer waits for it."""
        until = time.monotonic() + interval
        try:
            self._asked.answer(until, self.replicas, self._report, self._stopping.is_set)
        except Unavailable as error:
            self.unreachable = error
            self._stopping.wait(max(0.0, until - time.monotonic()))

    def _report(self, name: str) -> None:
        replica, _ = self._replicas[name]
        end = max(self._ends.get(name, 0), replica.progress(0).head.next_offset)
        status = self.statuses[name] = self._status(name, replica, end)
        self._deployment.cluster.control.publish(status, ASK_TIMEOUT)

    def _start_replica(self, record: GroupCreated, orders: Sequence[Order], before: object) -> None:
        cluster = self._deployment.cluster
        codec, refusal = Codec(), None
        try:
            codec = cluster.codec(record)
        except TidelogError as error:
            refusal = error

        def open_log() -> Log:
            if refusal is not None:  # a key that is missing here stops this group, not the worker
                raise refusal
            return cluster.log(record)

        replica = Replica(
            record.group,
            codec,
            open_log,
            lambda: open_site_store(self._deployment, self.site, record.group),
            cluster.control,
            self._deployment.config.worker,
            orders,
            self._own_retention(record.group),
            mirror_follower(cluster.control, record.group),
            head_before(before),
            self.reports.counts_of(record.group),
        )
        self._replicas[record.group] = (replica, record)
        replica.start()

    def _served(self) -> list[str]:
        return list(self.replicas)

    def _own_retention(self, group: str) -> KeepRules | None:
        """What the replica itself may drop: nothing that is to be archived first."""
        config = self._deployment.config
        archived = archive_place(config, self.site, group, CopyOrigin.TIME) is not None
        return None if archived else find_site(config, self.site).keep

    def _rebuild_begun(self, name: str, replica: Replica) -> bool:
        """Whether a replica that has halted may start over, because an operator has begun to rebuild its store, has
        rolled it back or imported a copy into it, which may be over before anybody has seen that it began."""
        progress = replica.progress(0)
        if progress.state not in (State.HALTED, State.NEEDS_REBUILD) or replica.running:
            self._halted_at.pop(name, None)
            return False
        position: Position | None = None
        try:
            store = open_store(self._deployment, self.site, name)
            try:
                if store.rebuilding() is not None:
                    return True
                position = store.position()
            finally:
                store.close()
        except TidelogError:
            pass  # there is none, or none that can be read
        before = self._halted_at.setdefault(name, position)
        if position is None:
            return False
        moved = position.head.sequence - progress.head.sequence
        return position != before or moved < 0 or (moved > 0 and progress.state is State.NEEDS_REBUILD)

    def _stop_replicas(self, names: Iterable[str]) -> None:
        """All at once, by one deadline: a site may have hundreds, and each takes its last transaction's time."""
        replicas = [self._replicas[name][0] for name in names]
        for replica in replicas:
            replica.ask_to_stop()
        deadline = time.monotonic() + (LEAVE_TIMEOUT if self.unreachable is None else ASK_TIMEOUT)
        for replica in replicas:
            replica.stop(max(0.0, deadline - time.monotonic()))

    def _end_replicas(self, names: set[str]) -> None:
        self._stop_replicas(names)
        for name in names:
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._halted_at.pop(name, None)
        self.reports.forget(name)
        del self._replicas[name]
        log = self._logs.pop(name, None)
        if log is not None:
            log.close()

    def _status(self, name: str, replica: Replica, end: int) -> SiteStatus:
        before = self._ends.get(name)
        self._ends[name] = end
        progress = replica.progress(end if before is None else before)
        head, error = progress.head, progress.error
        if error is None and self._policy is not None:
            error = self._policy.problems.get(name)
        return SiteStatus(
            site=self.site,
            group=name,
            state=progress.state,
            reason=f"{type(error).__name__}: {error}" if error else "",
            hint=error.hint if error else "",
            sequence=head.sequence,
            seal=head.seal,
            epoch=head.epoch,
            timestamp_us=head.timestamp_us,
            offset=head.offset,
            end_offset=end,
            events_applied=self.reports.counts_of(name).changes,
            redelivered=progress.skipped.redelivered,
            void=progress.skipped.void,
            reported_us=wall_us(),
            worker=self._name,
        )

    def _end_offset(self, name: str) -> int:
        try:
            if name not in self._logs:
                self._logs[name] = self._deployment.cluster.log(self._replicas[name][1])
            return self._logs[name].bounds(ASK_TIMEOUT).end
        except TidelogError:
            return self._ends.get(name, 0)  # the replica meets the same, and says so

    def _leave(self, membership: Membership | None) -> None:
        replicas = dict(self._replicas)
        if self.unreachable is None and replicas:
            try:  # or a replica that waits for a Kafka which has just gone is waited for
                self._deployment.cluster.control.snapshot(LEAVE_ASK_TIMEOUT)
            except Unavailable as error:
                self.unreachable = error
        self._stop_replicas(replicas)
        try:
            for name, (replica, _) in replicas.items():
                if replica.progress(0).state is State.STOPPED and self.unreachable is None:
                    end = max(self._ends.get(name, 0), replica.progress(0).head.next_offset)  # Kafka is not asked again
                    status = self._status(name, replica, end)
                    self._deployment.cluster.control.publish(status, timeout=3.0)
                    self.reports.tell_uncopied(name, replica)
        except Unavailable as error:
            self.unreachable = error  # the status then ages, which tells the same
        finally:
            for name in replicas:
                self._forget(name)
            if membership is not None:
                membership.close()
            if self._policy is not None:
                self._policy.stop()
