"""Making another site a group's primary: the writer ends in order, the site applies the log to its end, a new epoch is
opened, and the site is told as the primary.

Each step may be the last of this process. Before the epoch is opened nothing has changed, but that a writer may have
ended, with all that it had accepted in the log; the request to it expires by itself. Afterwards the same command again
goes on from there: an epoch that was opened for a promotion has no writer to ask. Which session counts is the log's to
say at any moment, whatever the control topic has.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from tidelog.clock import PROCESS_CLOCK, HybridClock, wall_us
from tidelog.consumers.deployment import Deployment, open_store
from tidelog.consumers.primary import chosen_primary, promotion_under_way
from tidelog.errors import Fenced, SiteBehind, UsageError
from tidelog.producers.control import ControlView
from tidelog.producers.log import Log
from tidelog.producers.opening import open_epoch
from tidelog.producers.process_name import process_name
from tidelog.recovery.promote_plan import (
    PromotionPlan,
    PromotionRefused,
    Writer,
    event_at,
    refuse_halted,
    site_standing,
    whole_position,
    writer_to_stop,
)
from tidelog.recovery.promotion_claim import Claim
from tidelog.recovery.region_seal import refuse_ended_mirror, seal_source
from tidelog.recovery.rpo import ALIVE_HEARTBEATS, writer_standing
from tidelog.recovery.tail import Tail
from tidelog.schemas.chain import Head
from tidelog.schemas.mirrors import HistorySealed
from tidelog.schemas.promotions import (
    PrimaryChosen,
    PromotionAsked,
    ends_mirror,
    is_promotion,
    opened_for,
    promotion_key,
)
from tidelog.schemas.reports import CLOSED, ENDED, WriterStatus, writer_key
from tidelog.stores.image import Store

# A site that is behind and has applied nothing for so long does not move (seconds).
STALL = 3.0
# How often the site's position is looked at, and what is told on the control topic.
STEP, ASK_EVERY = 0.01, 0.5
# A writer that has decided to end at the last moment has told so by then.
GRACE = 1.0


@dataclass(slots=True)
class PromotionReport:
    """What a promotion has done. ``stopped`` are the last reports of the sessions that ended for it; times in
    seconds: the site catching up while the writer still wrote, from the request to the new epoch, and all of it.
    ``sealed`` says where the history of the other region ends, if the log was a mirror."""

    site: str
    group: str
    before: str
    forced: bool
    stopped: list[WriterStatus]
    epoch: int = 0
    sequence: int = 0
    seal: bytes = b""
    catching_up: float = 0.0
    without_writer: float = 0.0
    seconds: float = 0.0
    sealed: HistorySealed | None = None


class Promotion:
    """One promotion, to be run once.

    Raises `SiteBehind`, `PromotionRefused` and what `plan_promotion` does, before the writer is asked or with the
    request withdrawn; `Fenced` if another promotion has come in between; `StoreUnavailable`, `LogUnavailable`.
    """

    def __init__(self, deployment: Deployment, plan: PromotionPlan, clock: HybridClock = PROCESS_CLOCK) -> None:
        self.plan = plan
        self.report = PromotionReport(plan.site, plan.group, plan.primary, plan.forced, [])
        self._deployment, self._clock = deployment, clock
        self._control, self._codec = deployment.cluster.control, deployment.cluster.codec(plan.record)
        self._claim = Claim(self._control, plan.record, forced=plan.forced)

    def run(self, say: Callable[[str], object] = lambda _: None) -> PromotionReport:
        """Does it, and says what it is at."""
        started = time.monotonic()
        with ExitStack() as closing:
            log = self._deployment.cluster.log(self.plan.record)
            closing.callback(log.close)
            if self.plan.done:
                self._tidy(log)
                return self.report
            store = open_store(self._deployment, self.plan.site, self.plan.group)
            closing.callback(store.close)
            tail = Tail(log, self._codec, self.plan.head)
            closing.callback(tail.close)
            self._promote(log, store, tail, started + self.plan.timeout, say)
        self.report.seconds = time.monotonic() - started
        return self.report

    def _promote(self, log: Log, store: Store, tail: Tail, deadline: float, say: Callable[[str], object]) -> None:
        plan, report, started = self.plan, self.report, time.monotonic()
        self._await_applied(log, store, tail.head(), deadline)
        report.catching_up = time.monotonic() - started
        try:
            started = time.monotonic()
            opened: Head | None = None
            while opened is None:
                head = tail.head()
                writer = self._writer(log, head)
                self._ask(head, writer, deadline)
                if writer is not None:
                    say(f"the writer (epoch {writer.epoch}, {writer.process or 'never reported'}) is asked to end")
                    self._await_end(tail, writer, deadline)
                session, head = head.writer, tail.head()  # with what it has sent up to its last report
                if head.writer != session and not self.plan.forced:
                    continue  # opened meanwhile, and nobody has asked that one
                self._await_applied(log, store, head, deadline)
                self._claim.require()
                opened = self._open(log, head)
            report.epoch, report.sequence, report.seal = opened.epoch, opened.sequence, opened.seal
            report.without_writer = time.monotonic() - started
            say(f"epoch {opened.epoch} is open, behind sequence {opened.sequence - 1}")
            if plan.mirror is not None:
                cluster, record = self._deployment.cluster, plan.record
                report.sealed = seal_source(cluster, log, self._codec, record, plan.mirror, opened)
            self._record(opened, tail)
            if plan.mirror is not None:
                self._control.retract(plan.mirror.key)
            self._close(opened)
        finally:
            self._claim.withdraw()
        self._see_applied(log, store, opened)

    def _writer(self, log: Log, head: Head) -> Writer | None:
        if self.plan.forced:
            return None
        event, view = event_at(log, self._codec, head), self._control.snapshot()
        heartbeat = self._deployment.config.writer.heartbeat
        return writer_to_stop(event, writer_standing(view, self.plan.group, event, wall_us(), heartbeat))

    def _await_applied(self, log: Log, store: Store, target: Head, deadline: float) -> None:
        """Until the site's own store has applied ``target``. Raises `SiteBehind` if it does not move, or not fast
        enough, `UsageError` if its worker halts."""
        plan, seen, moved, asked = self.plan, -1, time.monotonic(), 0.0
        while (sequence := store.position().head.sequence) < target.sequence:
            now = time.monotonic()
            if sequence != seen:
                seen, moved = sequence, now
            if now - moved > STALL or now > deadline:
                still = f"has not moved for {STALL:g} s"
                why = still if now - moved > STALL else f"did not come to it within {plan.timeout:g} s"
                raise SiteBehind(
                    f"site {plan.site} is at sequence {sequence} of group {plan.group}, the log at {target.sequence},"
                    f" and it {why}",
                    hint=f"see: tidelog site status {plan.site}",
                )
            if now - asked > ASK_EVERY:
                view, asked = self._control.snapshot(), now
                refuse_halted(site_standing(self._deployment, plan.site, plan.group, view))
            time.sleep(STEP)
        whole_position(store, log)

    def _see_applied(self, log: Log, store: Store, opened: Head) -> None:
        try:
            self._await_applied(log, store, opened, time.monotonic() + STALL)
        except (SiteBehind, UsageError) as error:
            raise SiteBehind(
                f"site {self.plan.site} is the primary of group {self.plan.group} now, but it has not applied the new"
                f" epoch yet, and reads wait for it: {error.message}",
                hint=error.hint,
            ) from error

    def _ask(self, head: Head, writer: Writer | None, deadline: float) -> None:
        """Tells everybody that a promotion is under way, and ``writer`` to end. The request expires by the writer's own
        clock, as far as its report tells that, so that it does not end for a promotion that is long over."""
        now_us, left = wall_us(), max(0.0, deadline - time.monotonic())
        base_us = now_us
        if writer is not None and writer.reported_us:
            most = ALIVE_HEARTBEATS * self._deployment.config.writer.heartbeat
            base_us = writer.reported_us + min(max(0, now_us - writer.reported_us), round(most * 1_000_000))
        self._claim.put(
            PromotionAsked(
                group=self.plan.group,
                site=self.plan.site,
                epoch=head.epoch,
                writer=writer.writer if writer is not None else bytes(16),
                forced=self.plan.forced,
                asked_us=now_us,
                expires_us=base_us + round(left * 1_000_000),
                asked_by=process_name(),
            )
        )

    def _await_end(self, tail: Tail, writer: Writer, deadline: float) -> None:
        """Until that session has told that it ended, or another was opened. Raises `PromotionRefused`."""
        deadline, key = deadline + GRACE, writer_key(self.plan.group)

        def ended(view: ControlView) -> WriterStatus | None:
            found = view.get(key)
            if not isinstance(found, WriterStatus) or found.writer != writer.writer:
                return None
            return found if found.state in (CLOSED, ENDED) else None

        while (left := deadline - time.monotonic()) > 0:
            self._control.wait_for(lambda view: ended(view) is not None, min(ASK_EVERY, left))
            view = self._control.snapshot()
            last = ended(view)
            if last is not None:
                self.report.stopped.append(last)
                return
            self._claim.require(view)
            if tail.head().writer != writer.writer:
                return
        silent = f", and was silent for {writer.silent_seconds:.0f} s" if writer.silent_seconds > GRACE else ""
        raise PromotionRefused(
            f"the writer of group {self.plan.group} (epoch {writer.epoch}, {writer.process or 'it has never reported'})"
            f" did not end within {self.plan.timeout:g} s{silent}; {self.report.before} still is the primary",
            group=self.plan.group,
            hint="if it is gone, or cut off, say --force: every write that it has flushed is in the log",
        )

    def _open(self, log: Log, head: Head) -> Head | None:
        """The new epoch; None if somebody else has opened the group meanwhile, who must be asked first."""
        plan = self.plan
        if plan.mirror is not None and ends_mirror(event_at(log, self._codec, head), log.id):
            return head  # by a promotion that was cut short
        if plan.mirror is not None:
            refuse_ended_mirror(self._control.snapshot(), plan.group, log.id)
        return open_epoch(
            log,
            self._codec,
            head,
            self._deployment.config.writer,
            behind=None if plan.forced and plan.mirror is None else head.writer,
            opened_by=opened_for(plan.site, process_name(), log.id if plan.mirror is not None else ""),
            clock=self._clock,
        )

    def _record(self, opened: Head, tail: Tail) -> None:
        """Tells the primary; of two promotions at once the one that opened the later epoch."""
        plan, control = self.plan, self._control
        chosen = PrimaryChosen(
            group=plan.group,
            group_id=plan.record.group_id,
            site=plan.site,
            before=self.report.before,
            epoch=opened.epoch,
            sequence=opened.sequence,
            seal=opened.seal,
            forced=plan.forced,
            chosen_us=wall_us(),
            chosen_by=process_name(),
        )
        before = chosen_primary(control.snapshot(), plan.record)
        if before is not None and before.epoch > opened.epoch and tail.head().epoch < before.epoch:
            control.retract(before.key)  # of a history that the log has lost
        control.publish(chosen)
        there = chosen_primary(control.snapshot(), plan.record)
        if there is not None and there.epoch > opened.epoch:
            control.publish(there)  # the last of its key, which is what compaction keeps
            raise Fenced(
                f"epoch {opened.epoch} was opened for site {plan.site}, and another promotion, to site {there.site},"
                f" has opened epoch {there.epoch} since: {there.site} is the primary",
                group=plan.group,
                hint="see: tidelog status",
            )

    def _close(self, opened: Head) -> None:
        """Tells that the epoch's session, in which nobody writes, has ended."""
        told = WriterStatus(
            group=self.plan.group,
            epoch=opened.epoch,
            writer=opened.writer,
            state=CLOSED,
            sequence=opened.sequence,
            timestamp_us=opened.timestamp_us,
            unlogged_us=0,
            reported_us=wall_us(),
            process=process_name(),
        )
        self._control.publish(told)

    def _tidy(self, log: Log) -> None:
        """The site is the primary already: what a promotion that was cut short behind that has left."""
        view, head = self._control.snapshot(), self.plan.head
        claim, told = view.get(promotion_key(self.plan.group)), view.get(writer_key(self.plan.group))
        if isinstance(claim, PromotionAsked) and promotion_under_way(view, self.plan.record) is None:
            self._control.retract(claim.key)
        known = isinstance(told, WriterStatus) and told.epoch >= head.epoch
        if is_promotion(event_at(log, self._codec, head)) and not known:
            self._close(head)
