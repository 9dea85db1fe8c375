"""A writer session whose unconfirmed part outlives it: what a group with a sidefile writes through."""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from tidelog.clock import HybridClock
from tidelog.errors import LogUnavailable
from tidelog.producers.batch import OpenBatch
from tidelog.producers.group_state import GroupState
from tidelog.producers.log import Appender, Log
from tidelog.producers.session import WriterSession
from tidelog.producers.writer_settings import WriterSettings
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Discard, Event, Marker, WriteBatch


class Left(NamedTuple):
    """What an ended session had accepted and not seen confirmed: ``events`` behind ``confirmed``, in order, and the
    writes of the open ``batch``."""

    confirmed: Head
    events: list[Event]
    batch: OpenBatch


class ResumableSession(WriterSession):
    """See `WriterSession`. It keeps each event until it is confirmed, so that nothing accepted is forgotten when it
    ends; and while ``draining`` it says nothing but what it is told to drain. ``order`` is shared with those before
    and after it."""

    def __init__(
        self,
        log: Log,
        appender: Appender,
        codec: Codec,
        opened: Head,
        state: GroupState,
        clock: HybridClock,
        settings: WriterSettings,
        on_turn: Callable[[WriterSession], float] = lambda _: math.inf,
        order: "threading.RLock | None" = None,
        *,
        draining: bool = False,
    ) -> None:
        self.draining = draining
        self._unconfirmed: deque[Event] = deque()

        def turn(session: WriterSession) -> float:
            return settings.heartbeat if self.draining else on_turn(session)

        super().__init__(log, appender, codec, opened, state, clock, settings, turn, order)

    @property
    def pending(self) -> bool:
        """Whether anything that was sent is not confirmed."""
        return self._confirmations.pending

    def fail(self, error: LogUnavailable) -> None:
        """Ends it: its owner waits no longer for the log."""
        self._confirmations.fail(error)

    def left(self) -> Left:
        """See `Left`; for who holds `order`, once the session has ended."""
        confirmed = self.confirmed
        events = [event for event in self._unconfirmed if event.last_sequence > confirmed.sequence]
        return Left(confirmed, events, self._batch)

    def drain(self, event: Event) -> None:
        """Sends what was accepted under an earlier session, at its own time if that is above the head's, else at the
        next one. Raises what ended this session. Takes no lock: while it drains nobody else says anything, and who
        holds the order may be waiting for just this."""
        confirmations, most = self._confirmations, self._settings.buffer_bytes
        if not confirmations.wait(lambda: confirmations.unconfirmed_bytes <= most):
            self._raise()
        if confirmations.error is not None or self._closed:
            self._raise()
        last_us = self._planned.timestamp_us
        if isinstance(event, WriteBatch):
            self._fill(_writes(event))
            self._close_batch()
        elif isinstance(event, Discard):
            fields: dict[str, Any] = {"volume": event.volume, "offset": event.offset, "length": event.length}
            self._send(Discard, timestamp_us=max(event.timestamp_us, last_us + 1), **fields)
        elif isinstance(event, Marker):
            self._send(Marker, timestamp_us=max(event.timestamp_us, last_us + 1), name=event.name)
        self._clock.witness(self._planned.timestamp_us)

    def drained(self) -> None:
        """Returns once all that was drained is confirmed; as `drain`, without the lock. Raises what ended this
        session."""
        confirmations, target = self._confirmations, self._planned.sequence
        if not confirmations.wait(lambda: confirmations.confirmed.sequence >= target):
            self._raise()

    def adopt(self, batch: OpenBatch) -> None:
        """Takes the writes of a batch that was open under another session, as its own open batch, sent when that
        closes; for who holds `order`, while nothing else is open. An ended session takes them, too, and leaves them."""
        self._fill(batch.writes)
        self._wake.set()

    def _fill(self, writes: Iterable[tuple[int, int, bytes, int]]) -> None:
        last_us, batch = self._planned.timestamp_us, OpenBatch(self._planned.sequence + 1)
        for volume, offset, data, stamp in writes:
            last_us = max(stamp, last_us + 1)
            batch.writes.append((volume, offset, data, last_us))
            batch.size += len(data)
        self._clock.witness(last_us)
        self._batch = batch

    def _hand_over(self, event: Event, message: bytes) -> None:
        confirmed = self.confirmed.sequence
        while self._unconfirmed and self._unconfirmed[0].last_sequence <= confirmed:
            self._unconfirmed.popleft()
        self._unconfirmed.append(event)
        try:
            super()._hand_over(event, message)
        except LogUnavailable as error:
            # It was accepted: that it did not get into the log is for the next call to find out.
            self._confirmations.fail(error)

    def _linger(self) -> None:
        if not self.draining:
            super()._linger()

    def _beat(self) -> None:
        if not self.draining:
            super()._beat()


def _writes(event: WriteBatch) -> Iterator[tuple[int, int, bytes, int]]:
    at = 0
    for volume, offset, length, stamp in zip(
        event.volumes, event.offsets, event.lengths, event.timestamps_us, strict=True
    ):
        yield volume, offset, event.data[at : at + length], stamp
        at += length


def with_timeout(settings: WriterSettings, seconds: float) -> WriterSettings:
    """The same settings, with another ``write_timeout``."""
    return _Settings(
        settings.batch_bytes,
        settings.linger,
        settings.buffer_bytes,
        seconds,
        settings.heartbeat,
        settings.max_clock_skew,
        settings.overlay_bytes,
    )


class _Settings(NamedTuple):
    batch_bytes: int
    linger: float
    buffer_bytes: int
    write_timeout: float
    heartbeat: float
    max_clock_skew: float
    overlay_bytes: int
