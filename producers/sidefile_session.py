"""A group's writer that goes on while Kafka is away: writer sessions, one after another, and a sidefile between them.

While a session lives it does everything. Once it has ended with `LogUnavailable`, what it left and all later writes go
into a sidefile. A thread of its own opens the next session when Kafka answers, drains the file into it, and hands over
under the order lock, so that no write is between the two.
"""

import math
import threading
import time
from collections.abc import Container
from typing import Any

from tidelog.errors import Fenced, LogUnavailable, SessionClosed, TidelogError
from tidelog.producers.durability import Durability
from tidelog.producers.outage import Outage, SidefileSettings, Source
from tidelog.producers.overlay import Named
from tidelog.producers.resumable_session import ResumableSession
from tidelog.producers.spool import Spool
from tidelog.producers.succession import ASK_AGAIN, Succession
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Discard, Event

# The thread looks so often whether the log confirms (seconds).
LOOK_EVERY = 0.1
# Between two tries of a log that does not answer.
TRY_AGAIN = 0.5
# So long `abandon` waits for the thread, which may be waiting for Kafka.
_JOIN = 5.0


class SidefileSession(Succession):
    """As a `WriterSession`, for all who use one. Thread-safe.

    `settle` is a flush that may be content with the sidefile; `flush` is not. What is neither write nor discard is
    confirmed in the log when `emit` returns, or refused with `LogUnavailable`.
    """

    def __init__(self, source: Source, settings: SidefileSettings, first: ResumableSession) -> None:
        super().__init__(source, settings, first)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tidelog-sidefile-{source.group}", daemon=True)
        self._thread.start()

    def write(self, volume: int, offset: int, data: bytes) -> None:
        """See `WriterSession.write`. While the log is away it goes into the sidefile: raises `SidefileFull` if that has
        no room and the policy is to fail, else `LogUnavailable` after ``write_timeout``; nothing was taken then."""
        with self.order:
            while not self._spooled(lambda spool: spool.write(volume, offset, data)):
                try:
                    self._session.write(volume, offset, data)
                except LogUnavailable:
                    self._leave_log()
                else:
                    break

    def emit(self, kind: type[Event], **fields: Any) -> Event:
        """A discard, as `write`; anything else is confirmed in the log when this returns. Raises `LogUnavailable` while
        the log is away, with nothing done; or, when it goes away just now: unknown."""
        with self.order:
            if kind is Discard:
                return self._discard(**fields)
            self._check()
            if self._away is not None:
                raise LogUnavailable(
                    f"Kafka is away, and a sidefile takes writes and discards, no {kind.kind}: nothing was done",
                    group=self._source.group,
                    hint="try again once Kafka answers and the sidefile is drained",
                )
            session = self._session
            try:
                event = session.emit(kind, **fields)
                session.flush()
            except LogUnavailable:
                self._leave_log()
                raise
            return event

    def _discard(self, **fields: Any) -> Event:
        events: list[Event] = []
        while not self._spooled(lambda spool: events.append(spool.discard(**fields))):
            try:
                return self._session.emit(Discard, **fields)
            except LogUnavailable:
                self._leave_log()
        return events[0]

    def flush(self) -> Head:
        """Returns when all before is confirmed in the log. Raises `LogUnavailable` while that is away: what was taken
        is then on disk in the sidefile."""
        with self.order:
            if self._spooled(Spool.sync, doubtful=True):
                raise self._is_away()
            session = self._session
        try:
            return session.flush()
        except LogUnavailable:
            with self.order:
                if self._session is session and self._away is None:
                    self._leave_log()
                self._spooled(Spool.sync, doubtful=True)
            raise

    def settle(self, *, in_log: bool = False) -> Durability:
        """Returns when all before is durable, and where. With ``in_log`` it waits for the log, for ``write_timeout``
        at most, and raises `LogUnavailable` then: what was taken is in the sidefile. Raises `Fenced`."""
        deadline = time.monotonic() + self._settings.timeout
        while True:
            with self.order:
                if self._spooled(Spool.sync, doubtful=True):
                    if not in_log:
                        return Durability.IN_SIDEFILE
                    if time.monotonic() > deadline:
                        raise self._is_away()
                    session = None
                else:
                    session = self._session
            if session is None:
                time.sleep(ASK_AGAIN)
                continue
            try:
                session.flush()
                return Durability.IN_LOG
            except LogUnavailable:
                with self.order:
                    if self._session is session and self._away is None:
                        self._leave_log()

    def patch(self, volume: int, offset: int, data: bytearray, after: int) -> bool:
        """See `WriterSession.patch`."""
        self.overlay.index()
        with self.order:
            self._check()
            if self._away is None:
                try:
                    return self._session.patch(volume, offset, data, after)
                except LogUnavailable:
                    self._leave_log()
            assert self._away is not None
            return self._away.spool.patch(volume, offset, data, after)

    def named(self, after: int, volumes: Container[int], most: float = math.inf) -> Named | None:
        """See `WriterSession.named`; None while the log is away."""
        with self.order:
            self._check()
            return None if self._away is not None else self._session.named(after, volumes, most)

    def close(self) -> None:
        """Waits for the log, as `settle` does, and ends. Who leaves without an error has everything in the log; else
        what was taken is in the sidefile, and the next one to open the group drains it."""
        try:
            away = self._away
            if self._closed:
                return
            if away is None and self.error is not None:
                self._session.close()
            elif away is None or self._error is not None or not away.holds_nothing:
                self.settle(in_log=True)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Ends without waiting. What was not flushed may or may not be in the log or in the sidefile."""
        self._closed = True
        self._closing.set()
        away = self._away
        if away is not None and away.session is not None:
            away.session.abandon()  # so that the thread need not drain to the end
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN)
        self._session.abandon()
        if self._away is not None:
            self._away.end(remove=self._error is None)

    # ---- the thread: away, and back

    def _run(self) -> None:
        self._turns()
        away = self._away
        if self._closed and away is not None and away.session is not None:
            away.session.abandon()  # it was opened when nobody waited for it any more

    def _turns(self) -> None:
        while not self._closing.wait(LOOK_EVERY) and self._error is None:
            try:
                if self._away is None:
                    self._watch()
                else:
                    self._come_back(self._away)
            except TidelogError as error:
                if not isinstance(error, SessionClosed):
                    self._fail(error)
                return
            except Exception as error:
                if self._closed:
                    return  # what it works on was taken from under it
                self._fail(TidelogError(f"the sidefile's thread failed: {error!r}", hint="this is a bug in tidelog"))
                return

    def _watch(self) -> None:
        """Ends a session that confirms nothing, and leaves one that has ended."""
        session, now = self._session, time.monotonic()
        confirmed = session.confirmed.sequence
        if confirmed != self._moved[0] or not session.pending:
            self._moved = (confirmed, now)
        elif now - self._moved[1] > self._settings.after:
            session.fail(LogUnavailable(f"the log confirmed nothing for {self._settings.after:g} s"))
        if isinstance(session.error, LogUnavailable) and self.order.acquire(timeout=LOOK_EVERY):
            try:
                if self._session is session and self._away is None and not self._closed:
                    self._leave_log()
            finally:
                self.order.release()

    def _come_back(self, away: Outage) -> None:
        try:
            away.come_back(self.order)
        except (LogUnavailable, Fenced):
            if away.drain.superseded is None:
                self._closing.wait(TRY_AGAIN)
                return
            self._lose(away)
            return
        while self._away is away and away.ready and not self._closing.is_set():
            if self.order.acquire(timeout=LOOK_EVERY):
                try:
                    self._finish()
                finally:
                    self.order.release()

    def _lose(self, away: Outage) -> None:
        if not self.order.acquire(timeout=LOOK_EVERY):
            assert away.drain.superseded is not None
            self._error = Fenced(away.drain.superseded.because)  # ends who waits with the order
            self.order.acquire()
        try:
            self._error = away.keep()
        finally:
            self.order.release()

    def _fail(self, error: TidelogError) -> None:
        self._error = self._error or error
