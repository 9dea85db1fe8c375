"""A writer session: the one that may extend a group's log, and knows which of its events stand in it.

Order, sequence, time and chain are decided under one lock, in the thread that calls; the log's own thread confirms
(`tidelog.producers.confirmation`).
"""

import math
import threading
import time
from collections.abc import Callable, Container
from dataclasses import replace
from functools import partial
from typing import Any

from tidelog.clock import HybridClock
from tidelog.errors import SessionClosed, TidelogError
from tidelog.producers.batch import MAX_WRITES, OpenBatch
from tidelog.producers.confirmation import Confirmations, interrupted
from tidelog.producers.extents import out_of_bounds
from tidelog.producers.group_state import GroupState
from tidelog.producers.log import UNKNOWN_OFFSET, Appender, Log
from tidelog.producers.overlay import Named, Overlay
from tidelog.producers.writer_settings import WriterSettings
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Event, Heartbeat

# A long linger keeps neither the fence nor the end of a session waiting for longer than this (seconds).
_LINGER_SLICE = 0.005


class WriterSession:
    """Appends events to one group's log. Thread-safe; order is the order in which calls take the lock.

    Made by `tidelog.producers.opening.open_session`, after its ``WriterOpened`` was confirmed. Every error of the log,
    and being fenced, ends the session: nothing more is sent, and each later call raises that error again.
    """

    def __init__(
        self,
        log: Log,
        appender: Appender,
        codec: Codec,
        opened: Head,
        state: GroupState,
        clock: HybridClock,
        settings: WriterSettings,
        on_turn: "Callable[[WriterSession], float]" = lambda _: math.inf,
        order: "threading.RLock | None" = None,
    ) -> None:
        self.log, self._appender, self._codec = log, appender, codec
        self._clock, self._settings = clock, settings
        self._on_turn = on_turn  # what else the session's own thread does
        self.epoch, self.writer, self.state = opened.epoch, opened.writer, state
        self.overlay = Overlay(opened, settings.overlay_bytes)
        self._order = order or threading.RLock()  # sequence, time, chain and the order of sends
        self._wake = threading.Event()  # something for the session's own thread to do
        self._confirmations = Confirmations(log, codec, opened, settings.write_timeout, self._wake.set)
        self._planned = opened  # the last event handed to the log
        self._closed = False
        self._batch = OpenBatch(opened.sequence + 1)
        self._promised = opened.sequence  # the last sequence that somebody else than this session cares for
        self._last_send = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"tidelog-writer-{log.name}", daemon=True)
        self._thread.start()

    @property
    def confirmed(self) -> Head:
        """The last event that certainly stands in the log and counts."""
        return self._confirmations.confirmed

    @property
    def error(self) -> TidelogError | None:
        """What has ended the session, other than its owner."""
        return self._confirmations.error

    @property
    def ended(self) -> bool:
        """Whether each further call raises."""
        return self._closed or self._confirmations.error is not None

    @property
    def unlogged_us(self) -> int:
        """The time of the oldest change that was accepted and is not confirmed in the log: UTC microseconds; 0 if there
        is none. Of about now: no lock is taken."""
        batch = tuple(self._batch.writes[:1])
        return self._confirmations.oldest_us or (batch[0][3] if batch else 0)

    @property
    def time_us(self) -> int:
        """The log's time now, above that of every event so far: UTC microseconds."""
        return self._clock.stamp()

    @property
    def ready(self) -> bool:
        """Whether, for who holds `order`, an emit would go through without waiting."""
        sent = self._confirmations
        return sent.error is None and not self._closed and sent.unconfirmed_bytes <= self._settings.buffer_bytes

    @property
    def order(self) -> threading.RLock:
        """The lock that decides the order; hold it to check something and emit on the strength of it."""
        return self._order

    def write(self, volume: int, offset: int, data: bytes) -> None:
        """Buffers one write of at most ``batch_bytes`` to the volume with that id.

        Blocks while ``buffer_bytes`` are unconfirmed, for ``write_timeout`` at most without progress. Raises
        `OutOfBounds`: a write outside its volume never enters the log.
        """
        with self._order:
            if self._confirmations.error is not None or self._closed:
                self._raise()
            info = self.state.volumes.get(volume)
            if info is None or offset < 0 or not data or offset + len(data) > info.size:
                raise out_of_bounds(info, "write", offset, len(data))
            if self._confirmations.unconfirmed_bytes > self._settings.buffer_bytes:
                self._await_room()
            batch = self._batch
            batch.writes.append((volume, offset, data, self._clock.stamp()))
            batch.size += len(data)
            if batch.size >= self._settings.batch_bytes or len(batch.writes) >= MAX_WRITES:
                self._close_batch()
            elif len(batch.writes) == 1:
                self._wake.set()

    def emit(self, kind: type[Event], **fields: Any) -> Event:
        """Closes the open batch and sends one event behind it, with the group's state following; not confirmed yet.
        Blocks as `write` does."""
        with self._order:
            if self._confirmations.error is not None or self._closed:
                self._raise()
            if self._confirmations.unconfirmed_bytes > self._settings.buffer_bytes:
                self._await_room()
            self._close_batch()
            return self._send(kind, timestamp_us=self._clock.stamp(), **fields)

    def flush(self) -> Head:
        """Returns when everything written or emitted before this call is confirmed in the log: that is the ack.

        Raises `Fenced` or `LogUnavailable` (no progress for ``write_timeout`` seconds): then what was not confirmed
        may or may not be in the log, and the session has ended.
        """
        target, confirmations = self._begin_flush(), self._confirmations
        if not confirmations.wait(lambda: confirmations.confirmed.sequence >= target):
            self._raise()
        return confirmations.confirmed

    def flush_soon(self, tell: Callable[[bool], None]) -> None:
        """The same for who cannot wait: see `Confirmations.tell_when`. That the log is away is not noticed here."""
        self._confirmations.tell_when(self._begin_flush(), tell)

    def patch(self, volume: int, offset: int, data: bytearray, after: int) -> bool:
        """Lays every own write after sequence ``after`` over a site's ``data``; False if some of them are forgotten.
        Raises what ended the session: its unconfirmed writes are then no part of the volume."""
        self.overlay.index()  # the long part, without the lock that every writer needs
        with self._order:
            if self._confirmations.error is not None or self._closed:
                self._raise()
            return self.overlay.patch(volume, offset, data, after, self._batch)

    def named(self, after: int, volumes: Container[int], most: float = math.inf) -> Named | None:
        """What own events after sequence ``after`` name of some volumes, those of the open batch, which is closed for
        it, included: `Overlay.named`. For who holds `order`, that is all of them."""
        with self._order:
            if self._confirmations.error is not None or self._closed:
                self._raise()
            self._close_batch()
            return self.overlay.named(after, volumes, most)

    def close(self) -> None:
        """Flushes and ends. Raises as `flush` does, also of a session that failed earlier with something unconfirmed:
        who leaves without an error has everything in the log. Closing twice does nothing more."""
        try:
            unconfirmed = self._batch.writes or self.confirmed.sequence < self._promised
            if not self._closed and (self._confirmations.error is None or unconfirmed):
                self.flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Ends without flushing: what was not confirmed may or may not be in the log. Does nothing a second time."""
        self._closed = True
        self._wake.set()
        self._thread.join(self._settings.write_timeout)

    def end(self, error: TidelogError) -> None:
        """Ends with an error that each further call raises; for who holds `order` and has flushed."""
        self._confirmations.fail(error)

    # ---- sending, under the order lock

    def _begin_flush(self) -> int:
        with self._order:
            if self._confirmations.error is not None or self._closed:
                self._raise()
            self._close_batch()
            return self._planned.sequence

    def _close_batch(self) -> None:
        if self._batch.writes:
            self._append(self._batch.event(self.epoch, self.writer, self._planned.seal))

    def _send(self, kind: type[Event], **fields: Any) -> Event:
        fields |= {"epoch": self.epoch, "writer": self.writer, "previous": self._planned.seal}
        return self._append(kind(sequence=self._planned.sequence + 1, **fields))

    def _append(self, event: Event) -> Event:
        """Encodes an event and hands it to the log; with its seal. Ctrl-C while it encodes has changed nothing; any
        interruption after that ends the session, since the log may then hold what its state does not."""
        message, seal = self._codec.encode(event)
        event = replace(event, seal=seal)
        try:
            self._hand_over(event, message)
        except BaseException as error:
            self._confirmations.fail(error if isinstance(error, TidelogError) else interrupted(error))
            raise
        return event

    def _hand_over(self, event: Event, message: bytes) -> None:
        self.overlay.add(event, self._batch, self.state.volumes)
        self._batch = OpenBatch(event.last_sequence + 1)
        self._planned = self._planned.after(event, UNKNOWN_OFFSET)
        if not isinstance(event, Heartbeat):
            self._promised = event.last_sequence
        self._last_send = time.monotonic()
        confirmations = self._confirmations
        sent = confirmations.sending(self._planned, len(message), event)
        self._appender.send(message, partial(confirmations.acknowledged, sent))
        self.state.fold(event)

    def _await_room(self) -> None:
        confirmations, most = self._confirmations, self._settings.buffer_bytes
        if not confirmations.wait(lambda: confirmations.unconfirmed_bytes <= most):
            self._raise()

    def _raise(self) -> None:
        first = self._confirmations.error
        if first is not None:
            raise type(first)(
                first.message, hint=first.hint, group=first.group, sequence=first.sequence, offset=first.offset
            ) from first
        raise SessionClosed("this writer session is closed", hint="open the group again")

    # ---- the session's own thread: linger, heartbeats, doubt

    def _run(self) -> None:
        pause = 0.0
        try:
            while not self._closed and self._confirmations.error is None:
                # A heartbeat that is due and could not be sent, since the log is away, is tried again now and then.
                self._wake.wait(min(pause, self._idle_for() or self._settings.heartbeat / 10))
                self._wake.clear()
                if self._confirmations.doubt:
                    self._confirmations.settle_doubt()
                self._linger()
                self._beat()
                pause = self._on_turn(self)
        except TidelogError as error:
            self._confirmations.fail(error)
        except Exception as error:  # a thread that dies silently would let writes pile up
            self._confirmations.fail(TidelogError(f"writer session failed: {error!r}", hint="this is a bug in tidelog"))
        finally:
            self._appender.abandon()

    def _idle_for(self) -> float:
        """Seconds until a heartbeat is due."""
        return max(0.0, self._settings.heartbeat - (time.monotonic() - self._last_send))

    def _linger(self) -> None:
        batch, confirmations = self._batch, self._confirmations
        if not batch.writes:
            return
        until = time.monotonic() + self._settings.linger
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _LINGER_SLICE))
            if self._closed or confirmations.error is not None or confirmations.doubt or batch is not self._batch:
                self._wake.set()
                return
        # Whoever holds the lock may be waiting for room, which only this thread can give while there is doubt.
        if not self._order.acquire(timeout=_LINGER_SLICE):
            self._wake.set()
            return
        try:
            if batch is self._batch and confirmations.error is None and not self._closed:
                self._close_batch()
        finally:
            self._order.release()

    def _beat(self) -> None:
        # With something unconfirmed a heartbeat would say nothing new, and pile up while the log is away.
        if self._idle_for() > 0 or self._confirmations.pending or not self._order.acquire(blocking=False):
            return
        try:
            ended = self._closed or self._confirmations.error is not None
            if not ended and self._idle_for() <= 0 and not self._batch.writes:
                self._send(Heartbeat, timestamp_us=self._clock.stamp())
        finally:
            self._order.release()
