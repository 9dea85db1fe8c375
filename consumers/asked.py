"""A worker's answer to a writer that waits for sites: a report as soon as its position is reached, not only with the
next round.

A writer puts `PositionAsked` on the control topic; whoever serves the group reports once it has applied that much. An
asked position that another replaces before it was reached is kept: with a writer that asks again and again a site that
is a little behind would else never answer.
"""

import time
from collections.abc import Callable, Mapping

from tidelog.consumers.replica import Replica
from tidelog.producers.control import Control, ControlView
from tidelog.schemas.reports import PositionAsked, ask_key

# While a position is asked for that is not reached: how often the replica is looked at (seconds). Not so often once it
# was not reached within `SOON`; after `KEPT` the rounds are enough.
LOOK_EVERY, LOOK_LATER = 0.002, 0.05
SOON, KEPT = 1.0, 60.0
# Else the control topic is listened to for so long at a time, so that others in this process get at it.
LISTEN = 0.1
# So many positions of a group are remembered; with more, an elder one stands for those that follow it.
PENDING_MOST = 64


class Asked:
    """What writers have asked of the groups that one worker serves. For the worker's own thread."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._seen: dict[str, PositionAsked] = {}
        self._pending: dict[str, list[int]] = {}  # sequences not reached yet, lowest first
        self._heard: dict[str, float] = {}  # when one was asked last, on the monotonic clock

    def answer(
        self, until: float, replicas: Mapping[str, Replica], report: Callable[[str], None], stopping: Callable[[], bool]
    ) -> None:
        """Until ``until`` (monotonic seconds), or ``stopping``: calls ``report`` for each group as soon as an asked
        sequence is reached. Raises `LogUnavailable`, and what ``report`` does."""
        while not stopping() and (left := until - time.monotonic()) > 0:
            self._hear(self._control, replicas, min(left, self._pause()), stopping)
            for group in tuple(self._pending):
                if group not in replicas or time.monotonic() - self._heard[group] > KEPT:
                    del self._pending[group]
                elif self._reached(group, replicas[group].progress(0).head.sequence):
                    report(group)

    def _pause(self) -> float:
        if not self._pending:
            return LISTEN
        newest = max(self._heard[group] for group in self._pending)
        return LOOK_EVERY if time.monotonic() - newest < SOON else LOOK_LATER

    def _hear(
        self, control: Control, replicas: Mapping[str, Replica], timeout: float, stopping: Callable[[], bool]
    ) -> None:
        news: dict[str, PositionAsked] = {}

        def any_news(view: ControlView) -> bool:
            for group in replicas:
                asked = view.get(ask_key(group))
                if isinstance(asked, PositionAsked) and asked != self._seen.get(group):
                    news[group] = asked
            return bool(news) or stopping()

        control.wait_for(any_news, timeout)
        time.sleep(0.001)  # whoever else wants the control topic gets it now
        for group, asked in news.items():
            self._seen[group], self._heard[group] = asked, time.monotonic()
            pending = self._pending.setdefault(group, [])
            if len(pending) < PENDING_MOST:
                pending.append(asked.sequence)
                pending.sort()
            else:
                pending[-1] = max(pending[-1], asked.sequence)

    def _reached(self, group: str, sequence: int) -> bool:
        """Whether there is something to report; what was reached is forgotten."""
        pending = self._pending[group]
        left = [asked for asked in pending if asked > sequence]
        if left:
            self._pending[group] = left
        else:
            del self._pending[group]
        return len(left) < len(pending)
