"""What a writer session tells on the control topic, so that an idle writer, a dead one and one that cannot get at the
log look different from afar; and where it hears how far sites have come, and that it is to end for a promotion.

On a thread of its own: the control topic may not answer, and the session's own thread must not wait for it.
"""

import threading
import time

from tidelog.clock import wall_us
from tidelog.errors import Fenced, LogUnavailable
from tidelog.producers import at_exit
from tidelog.producers.control import Control
from tidelog.producers.pacing import Pacing
from tidelog.producers.process_name import process_name
from tidelog.producers.stepping_down import HEAR_EVERY, SteppingDown
from tidelog.producers.writing import Writing
from tidelog.schemas.reports import CLOSED, ENDED, OPEN, PositionAsked, WriterStatus

PUBLISH_TIMEOUT = 2.0
# Sites' reports are looked at so often where pacing is configured; and so often while a limit is passed (seconds).
LOOK_EVERY, LOOK_CLOSELY = 0.3, 0.1
# A promotion waits for the last report of a session that has stepped down: tried so often until it is there (seconds).
LAST_AGAIN = 1.0


class WriterReports:
    """Reports on one session every ``every`` seconds, and when it ends; ends it if a promotion asks. A fenced one says
    nothing any more: the group has another writer, whose report stands there."""

    def __init__(
        self, group: str, session: Writing, control: Control, every: float, pacing: Pacing | None = None
    ) -> None:
        self._group, self._session, self._control, self._every = group, session, control, every
        self._pacing = pacing
        self._stepping_down = SteppingDown(group, session, control)
        self._next = 0.0  # on the monotonic clock
        self._failed_at = -1  # what was confirmed when a report could not be published
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tidelog-reports-{group}", daemon=True)
        self._thread.start()
        at_exit.opened(self)

    @property
    def session(self) -> Writing:
        """Whose reports they are."""
        return self._session

    def close(self) -> None:
        """Reports for a last time, after the session has ended. Where Kafka does not answer, that report is missing,
        and the group looks as if its writer had died."""
        at_exit.closed(self)
        self._closing.set()
        self._thread.join(2 * PUBLISH_TIMEOUT)

    def _run(self) -> None:
        pause = 0.0
        while not self._rest(pause) and not self._session.ended:
            pause = self._turn()
        self._report()
        while self._stepping_down.done and self._failed_at >= 0 and not self._closing.wait(LAST_AGAIN):
            self._report()

    def _rest(self, seconds: float) -> bool:
        """Listens meanwhile; whether the owner closes. Over as soon as the session has ended."""
        until = time.monotonic() + seconds
        while not self._closing.wait(min(HEAR_EVERY, max(0.0, until - time.monotonic()))):
            self._stepping_down.hear()
            if self._session.ended or time.monotonic() >= until:
                return False
        return True

    def _turn(self) -> float:
        """Seconds until the next."""
        was_paced = self._pacing is not None and self._pacing.since_us
        closely = self._pacing is not None and self._look(self._pacing)
        fired = self._pacing is not None and self._pacing.since_us != was_paced
        if fired or time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self._report()
        left = max(0.0, self._next - time.monotonic())
        return min(left, LOOK_CLOSELY if closely else LOOK_EVERY) if self._pacing is not None else left

    def _look(self, pacing: Pacing) -> bool:
        """Whether to look again soon. While the control topic does not answer, what was known stays."""
        try:
            confirmed = self._session.confirmed
            ask = pacing.look(self._control.snapshot(PUBLISH_TIMEOUT), confirmed)
            if ask:
                asked = PositionAsked(group=self._group, sequence=confirmed.sequence, asked_us=wall_us())
                self._control.publish(asked, PUBLISH_TIMEOUT)
            return ask or pacing.delay > 0
        except LogUnavailable:
            return False

    def _report(self) -> None:
        """Not again after a failure until the log has confirmed something: trying may take long, and close waits."""
        error, stepped_down = self._session.error, self._stepping_down.done
        if not stepped_down and (isinstance(error, Fenced) or self._failed_at == self._session.confirmed.sequence):
            return
        if isinstance(error, LogUnavailable):
            return  # Kafka is gone: the report that stands there ages, which tells the same
        try:
            self._control.publish(self._status(), PUBLISH_TIMEOUT)
            self._failed_at = -1
        except LogUnavailable:
            self._failed_at = self._session.confirmed.sequence

    def _status(self) -> WriterStatus:
        session, pacing = self._session, self._pacing
        unlogged_us, error = session.unlogged_us, None if self._stepping_down.done else session.error
        state = OPEN if not session.ended else ENDED if error is not None or unlogged_us else CLOSED
        status = WriterStatus(
            group=self._group,
            epoch=session.epoch,
            writer=session.writer,
            state=state,
            reason="" if state != ENDED else str(error or "closed without a flush"),
            sequence=session.confirmed.sequence,
            timestamp_us=session.confirmed.timestamp_us,
            unlogged_us=unlogged_us,
            reported_us=wall_us(),
            process=process_name(),
        )
        if pacing is None:
            return status
        return status.model_copy(
            update={
                "policy": pacing.config.policy,
                "paced_since_us": pacing.since_us,
                "paced_for": pacing.worst,
                "paced_count": pacing.count,
                "delay_us": round(pacing.delay * 1_000_000),
                "delayed_us": round(pacing.delayed * 1_000_000),
            }
        )
