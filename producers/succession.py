"""Which session a group with a sidefile writes through, or which outage, and the step from one to the other."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from tidelog.errors import LogUnavailable, SessionClosed, SidefileFull, TidelogError
from tidelog.producers.group_state import GroupState
from tidelog.producers.log import Log
from tidelog.producers.outage import Outage, SidefileSettings, Source
from tidelog.producers.overlay import Overlay
from tidelog.producers.resumable_session import ResumableSession
from tidelog.producers.spool import Spool
from tidelog.schemas.chain import Head

# A writer that waits looks so often whether it still must (seconds).
ASK_AGAIN = 0.005


class Succession:
    """Writer sessions, one after another, with an outage between two. ``order`` is the lock of them all."""

    def __init__(self, source: Source, settings: SidefileSettings, first: ResumableSession) -> None:
        self._source, self._settings = source, settings
        self._session = first
        self.order: threading.RLock = first.order
        self._away: Outage | None = None
        self._error: TidelogError | None = None
        self._closed = False
        self._moved = (first.confirmed.sequence, time.monotonic())  # when the log last confirmed something

    @property
    def log(self) -> Log:
        """See `WriterSession`; so for all that follow."""
        return self._source.log

    @property
    def epoch(self) -> int:
        """Of the newest session."""
        return self._newest.epoch

    @property
    def writer(self) -> bytes:
        """Of the newest session."""
        return self._newest.writer

    @property
    def confirmed(self) -> Head:
        """The last event that certainly stands in the log."""
        return self._newest.confirmed

    @property
    def _newest(self) -> ResumableSession:
        """The one that drains, if there is one, else that which writes, or was cut off."""
        away = self._away
        return (away.session if away is not None else None) or self._session

    @property
    def state(self) -> GroupState:
        """Of the session that writes, or was cut off: unchanged while the log is away."""
        return self._session.state

    @property
    def overlay(self) -> Overlay:
        """Of the same, with what came since."""
        return self._session.overlay

    @property
    def error(self) -> TidelogError | None:
        """What has ended it, other than its owner. That the log is away has not."""
        if self._error is None and self._away is None and not isinstance(self._session.error, LogUnavailable):
            return self._session.error
        return self._error

    @property
    def ended(self) -> bool:
        """Whether each further call raises."""
        return self._closed or self.error is not None

    @property
    def sidefile(self) -> Path | None:
        """The file that writes go into; None while they go into the log."""
        away = self._away
        return None if away is None else away.spool.path

    @property
    def unlogged_us(self) -> int:
        """The time of the oldest change that is not confirmed in the log; 0 if there is none."""
        away = self._away
        return self._session.unlogged_us if away is None else away.unlogged_us

    @property
    def time_us(self) -> int:
        """The log's time now."""
        return self._source.clock.stamp()

    def end(self, error: TidelogError) -> None:
        """See `WriterSession.end`: who has flushed has nothing in the sidefile."""
        self._session.end(error)

    # ---- into the sidefile; for who holds the order

    def _spooled(self, put: Callable[[Spool], object], *, doubtful: bool = False) -> bool:
        """Does something with the sidefile while the log is away; False if it is not. Where there is no room, or none
        but a ``doubtful`` thing may be done, it does as the policy says."""
        deadline = time.monotonic() + self._settings.timeout
        while True:
            self._check()
            away = self._away
            if away is None:
                return False
            full = None
            if doubtful or not away.spool.doubtful:
                try:
                    put(away.spool)
                    return True
                except SidefileFull as error:
                    if self._settings.full == "fail":
                        raise
                    full = error
            self._finish()
            if time.monotonic() > deadline and self._away is away:
                raise self._is_away(full)
            time.sleep(ASK_AGAIN)

    def _leave_log(self) -> None:
        """The session has ended, since the log is away: from here on there is a sidefile. Raises what it ended with if
        that cannot be made."""
        try:
            self._away = Outage(self._source, self._settings, self._session)
        except (OSError, TidelogError) as error:
            first = self._session.error
            assert first is not None
            self._error = LogUnavailable(f"{first.message}; and there is no sidefile: {error}", hint=first.hint)
            raise self._error from error

    def _finish(self) -> None:
        """Goes on with the log if all but a little is drained into it."""
        session = self._away.finish() if self._away is not None else None
        if session is not None:
            self._session, self._away = session, None
            self._moved = (session.confirmed.sequence, time.monotonic())

    def _check(self) -> None:
        if self._error is not None:
            first = self._error
            raise type(first)(first.message, hint=first.hint, group=first.group) from first
        if self._closed:
            raise SessionClosed("this writer session is closed", hint="open the group again")

    def _is_away(self, full: SidefileFull | None = None) -> LogUnavailable:
        away, group = self._away, self._source.group
        assert away is not None
        if full is not None:
            return LogUnavailable(f"Kafka is away, and {full.message}", group=group, hint="nothing of this was taken")
        if away.spool.doubtful:
            return LogUnavailable(
                f"Kafka is away, and whether it has a {away.spool.doubtful} is unknown: no write is taken before it is",
                group=group,
                hint=f"what was written before is in the sidefile {away.spool.path}",
            )
        return LogUnavailable(
            f"Kafka is away; what was written before is in the sidefile {away.spool.path}",
            group=group,
            hint="it is drained into the log once Kafka answers, by this process or whoever opens the group next",
        )
