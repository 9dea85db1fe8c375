"""Which of a session's events certainly stand in the log (DESIGN section 3, "Fence").

An acknowledged record at the expected offset is confirmed, at no cost. Any other acknowledgement is a doubt: the
session's thread then reads from the last confirmed record to its own and judges each by the verdict table.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tidelog.clock import iso
from tidelog.errors import Fenced, LogDiverged, LogUnavailable, TidelogError
from tidelog.producers.follower import Follower, follow
from tidelog.producers.log import UNKNOWN_OFFSET, Log
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Event, Heartbeat
from tidelog.schemas.promotions import is_promotion


@dataclass(slots=True)
class Sent:
    """An event handed to the log. ``offset`` is what the log acknowledged, None before it did; ``since_us`` the time of
    the first change in it, 0 for a heartbeat."""

    head: Head  # with the offset unknown
    size: int
    since_us: int
    offset: int | None = None


class Confirmations:
    """What one session sent and what of it is confirmed. Thread-safe: the log's thread acknowledges, callers wait, and
    the session's own thread settles doubts when ``wake`` told it so."""

    def __init__(self, log: Log, codec: Codec, opened: Head, timeout: float, wake: Callable[[], None]) -> None:
        self._log, self._codec, self._timeout, self._wake = log, codec, timeout, wake
        self._changed = threading.Condition(threading.Lock())
        self._sent: deque[Sent] = deque()
        self._waiting: list[tuple[int, Callable[[bool], None]]] = []  # see `tell_when`
        self.confirmed = opened  # the last event that certainly counts
        self.unconfirmed_bytes = 0
        self.doubt = False  # an acknowledgement came from an unexpected offset
        self.error: TidelogError | None = None  # what ended the session

    @property
    def pending(self) -> bool:
        """Whether anything that was sent is not confirmed."""
        return bool(self._sent)

    @property
    def oldest_us(self) -> int:
        """The time of the oldest change that was sent and is not confirmed; 0 if there is none."""
        with self._changed:
            return next((sent.since_us for sent in self._sent if sent.since_us), 0)

    def sending(self, head: Head, size: int, event: Event) -> Sent:
        """Notes an event of ``size`` bytes, before it is handed to the log; those before it were noted before."""
        sent = Sent(head, size, 0 if isinstance(event, Heartbeat) else event.first_timestamp_us)
        with self._changed:
            self._sent.append(sent)
            self.unconfirmed_bytes += size
        return sent

    def acknowledged(self, sent: Sent, offset: int, error: Exception | None) -> None:
        """Called by the log's thread: does not block."""
        if error is not None:
            self.fail(error if isinstance(error, TidelogError) else LogUnavailable(str(error)))
            return
        with self._changed:
            sent.offset = offset
            if not self.doubt:
                self._confirm_expected()
            self._changed.notify_all()
        self._tell()
        if self.doubt:
            self._wake()

    def fail(self, error: TidelogError) -> None:
        """Ends the session with its first error; whoever waits is woken."""
        if isinstance(error, LogDiverged):  # its hint is for a site
            error.hint = "the log is not the one that this session has written to; see: tidelog status"
        with self._changed:
            if self.error is None:
                self.error = error
            self._changed.notify_all()
        self._tell()
        self._wake()  # the session's thread abandons the appender; this may be the appender's own

    def wait(self, done: Callable[[], bool]) -> bool:
        """Waits for ``done``; False once the session has failed, as it does here when nothing was confirmed for the
        timeout."""
        with self._changed:
            confirmed, deadline = self.confirmed.sequence, time.monotonic() + self._timeout
            while not done() and self.error is None:
                if self.confirmed.sequence != confirmed:
                    confirmed, deadline = self.confirmed.sequence, time.monotonic() + self._timeout
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if done():
                return True
        self.fail(
            LogUnavailable(
                f"the log confirmed nothing for {self._timeout:g} s",
                sequence=self.confirmed.sequence,
                hint="is Kafka up, with enough in-sync replicas? Unflushed writes may or may not be in the log",
            )
        )
        return False

    def tell_when(self, sequence: int, tell: Callable[[bool], None]) -> None:
        """Calls ``tell`` with True once an event is confirmed, with False once the session has failed before: from the
        thread that notices, which it must not hold up, and which may be the caller's. Of a session that is abandoned
        it may never be called."""
        with self._changed:
            self._waiting.append((sequence, tell))
        self._tell()

    def _tell(self) -> None:
        if not self._waiting:
            return
        with self._changed:
            confirmed, failed = self.confirmed.sequence, self.error is not None
            due = [each for each in self._waiting if failed or each[0] <= confirmed]
            self._waiting = [each for each in self._waiting if each not in due]
        for sequence, tell in due:
            tell(sequence <= confirmed)

    def settle_doubt(self) -> None:
        """Reads from the last confirmed record to the acknowledged one of our own, and judges each. Void and
        redelivered records do no harm. Raises `Fenced` or what a reader of this log would halt with."""
        with self._changed:
            doubtful = self._sent[0]
            follower = Follower(self._log, self._codec, self.confirmed)
        follower.check_head()
        offset = doubtful.offset if doubtful.offset is not None else UNKNOWN_OFFSET
        if UNKNOWN_OFFSET < offset < follower.head.next_offset:
            raise LogDiverged(f"a send was acknowledged at offset {offset}, below the head's {follower.head.offset}")
        self._judge_up_to(offset + 1 if offset > UNKNOWN_OFFSET else self._log.bounds().end, follower)
        if follower.gap is not None or (self._sent and self._sent[0] is doubtful):
            raise self._fenced("an earlier loss: its own record does not count", self.confirmed.epoch)
        if follower.superseded_by is not None:
            # Stepping down to a void opening of a higher epoch lets its second try succeed against a busy writer (L3).
            opening = follower.superseded_by
            raise self._fenced(f"{opening.opened_by}, which is opening", opening.epoch, promoted=is_promotion(opening))
        with self._changed:
            self.doubt = False
            self._confirm_expected()
            again = self.doubt
            self._changed.notify_all()
        self._tell()
        if again:
            self._wake()

    def _judge_up_to(self, until: int, follower: Follower) -> None:
        reader = self._log.reader(follower.head.next_offset)
        try:
            for event, offset in follow(reader, until, follower, self._timeout):
                if event.writer != self.confirmed.writer:
                    by = f"{getattr(event, 'opened_by', 'another session')} at {iso(event.timestamp_us)}"
                    raise self._fenced(by, event.epoch, promoted=is_promotion(event))
                with self._changed:
                    if not self._sent or event.seal != self._sent[0].head.seal:
                        raise LogDiverged("the log holds an event of this session that it did not send")
                    self._confirm(offset)
        finally:
            reader.close()

    def _confirm_expected(self) -> None:
        while self._sent and self._sent[0].offset is not None:
            if self._sent[0].offset != self.confirmed.next_offset:
                self.doubt = True
                return
            self._confirm(self.confirmed.next_offset)

    def _confirm(self, offset: int) -> None:
        sent = self._sent.popleft()
        self.unconfirmed_bytes -= sent.size
        head = sent.head
        self.confirmed = Head(head.sequence, head.seal, head.epoch, head.writer, head.timestamp_us, offset)

    def _fenced(self, by: str, epoch: int, *, promoted: bool = False) -> Fenced:
        who = "the group has another primary: open it again" if promoted else "another process opened this group"
        return Fenced(
            f"writer session of epoch {self.confirmed.epoch} was fenced by {by} (epoch {epoch})",
            hint=f"{who} for writing; unflushed writes may or may not be in the log",
            sequence=self.confirmed.sequence,
        )


def interrupted(error: BaseException) -> TidelogError:
    """What a session ends with that was interrupted by something that is no error of tidelog's."""
    return TidelogError(
        f"the writer session was interrupted while it handed an event to the log ({type(error).__name__})",
        hint="open the group again; unflushed writes may or may not be in the log",
    )
