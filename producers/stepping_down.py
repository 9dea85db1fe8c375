"""The writer's part of a planned promotion: it hears that it is to end, flushes, and ends.

On the thread that reports (`tidelog.producers.writer_reports`), which waits on the control topic a little, again and
again, rather than asking for its end: a fetch is on its way to Kafka anyway.
"""

import time

from tidelog.clock import iso, wall_us
from tidelog.errors import Fenced, LogUnavailable, TidelogError
from tidelog.producers.control import Control, ControlView
from tidelog.producers.writing import Writing
from tidelog.schemas.promotions import PromotionAsked, promotion_key

# What came in is looked at so often, for so long (seconds): others of this process want the control topic, too, and
# fewer than one in a hundred flushes of a busy writer shall meet it.
HEAR_EVERY, HEAR_FOR = 0.2, 0.005
# While the control topic does not answer, or the log does not take what a sidefile holds.
HEAR_LATER = 1.0


class SteppingDown:
    """Ends one session when a promotion asks it to. For one thread."""

    def __init__(self, group: str, session: Writing, control: Control) -> None:
        self._group, self._session, self._control = group, session, control
        self._too_late: PromotionAsked | None = None
        self._next = 0.0  # on the monotonic clock
        self.done = False

    def hear(self) -> None:
        """Looks whether somebody asks, and obeys; then ``done``. Returns at once where nobody does."""
        if time.monotonic() < self._next or self.done or self._session.ended:
            return
        found: list[PromotionAsked] = []

        def asked(view: ControlView) -> bool:
            record = view.get(promotion_key(self._group))
            mine = isinstance(record, PromotionAsked) and record.writer == self._session.writer
            found[:] = [record] if mine and isinstance(record, PromotionAsked) and record != self._too_late else []
            return bool(found)

        try:
            self._control.wait_for(asked, HEAR_FOR)
        except LogUnavailable:
            self._next = time.monotonic() + HEAR_LATER
            return
        if found:
            self.done = step_down(self._session, found[0])
            self._too_late = found[0] if wall_us() >= found[0].expires_us else None
            self._next = time.monotonic() + HEAR_LATER


def step_down(session: Writing, asked: PromotionAsked) -> bool:
    """Flushes and ends the session, so that each further call raises `Fenced`: nothing that it had accepted is
    unknown then. False, and the session goes on, if the promotion has given up meanwhile by its own word; False also
    if the session has ended, or the log does not take what it had accepted.
    """
    with session.order:  # nobody gets a write in between; flushes that wait already return
        if session.ended or wall_us() >= asked.expires_us:
            return False
        try:
            head = session.flush()
        except TidelogError:
            return False
        if wall_us() >= asked.expires_us:
            return False
        session.end(
            Fenced(
                f"group {asked.group} is promoted to site {asked.site}, as {asked.asked_by} asked at"
                f" {iso(asked.asked_us)}: this session (epoch {session.epoch}) has ended, and all that it had accepted"
                f" is in the log, up to sequence {head.sequence}",
                hint=f"open the group again: then it reads at {asked.site}",
                group=asked.group,
            )
        )
    return True
