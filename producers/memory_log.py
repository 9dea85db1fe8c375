"""A log in memory: `MemoryLog` keeps the same contract as Kafka's, for tests without servers and for the simulator.

By default a record is in the log, and acknowledged, before ``send`` returns: deterministic, no thread. What can go
wrong with a real log is done to this one on purpose:

- to the next sends: `MemoryLog.plan`, with one `Outcome` each;
- to sends that wait: `MemoryLog.hold`, then `PendingSend` by `PendingSend` in any order, until `MemoryLog.release`;
- to the log: `truncate`, `trim`, `recreate`, `bump_leader_epoch`, `skip_offsets`, `put`, `cut_off` and `restore`.
"""

import threading
from bisect import bisect_left
from collections import deque
from operator import attrgetter

from tidelog.errors import LogDiverged, LogUnavailable, NeedsRebuild
from tidelog.producers.log import UNKNOWN_OFFSET, Acknowledged, Bounds, Record
from tidelog.producers.memory_send import Outcome, PendingSend
from tidelog.producers.reading import FetchingReader
from tidelog.schemas.mirrors import log_id

__all__ = ["MemoryAppender", "MemoryLog", "MemoryReader", "Outcome", "PendingSend"]

FETCH_BYTES = 2 * 1024 * 1024
_offset = attrgetter("offset")


class MemoryLog:
    """See the module. Thread-safe; callbacks run in the thread that decides, without the log's lock."""

    def __init__(self, name: str = "memory", cluster_id: str = "memory", fetch_bytes: int = FETCH_BYTES) -> None:
        self.name = name
        self.cluster_id = cluster_id
        self.leader_epoch = 0
        self.available = True
        self._fetch_bytes = fetch_bytes
        self._records: list[Record] = []
        self._start = 0
        self._end = 0
        self._truncations: list[int] = []
        self._plan: deque[Outcome] = deque()
        self._holding = False
        self._pending: list[PendingSend] = []
        self._changed = threading.Condition(threading.RLock())

    # What `Log` asks for.

    @property
    def id(self) -> str:
        """See `Log`."""
        return log_id(self.cluster_id, self.name)

    def check(self) -> None:
        """Always well, unless it is cut off."""
        self._answer()

    def bounds(self, timeout: float | None = None) -> Bounds:  # noqa: ARG002
        """See `Log`."""
        with self._changed:
            self._answer()
            return Bounds(self._start, self._end)

    def record_at(self, offset: int) -> Record | None:
        """See `Log`."""
        with self._changed:
            self._answer()
            at = bisect_left(self._records, offset, key=_offset)
            found = self._records[at] if at < len(self._records) else None
            return found if found is not None and found.offset == offset else None

    def appender(self) -> "MemoryAppender":
        """See `Log`."""
        self._answer()
        return MemoryAppender(self)

    def reader(self, offset: int) -> "MemoryReader":
        """See `Log`."""
        self._answer()
        return MemoryReader(self, offset)

    def close(self) -> None:
        """Nothing to end: the records stay for the next user of this log."""

    # What a test does to sends.

    @property
    def pending(self) -> list[PendingSend]:
        """Sends not decided yet, oldest first, and abandoned ones that are on the wire."""
        with self._changed:
            return list(self._pending)

    def plan(self, *outcomes: Outcome) -> None:
        """The outcome of the next sends, one each; later ones are delivered again."""
        with self._changed:
            self._plan.extend(outcomes)

    def hold(self) -> None:
        """From now on sends wait in `pending`."""
        with self._changed:
            self._holding = True

    def release(self) -> None:
        """Delivers what waits, in order, and lets later sends through."""
        with self._changed:
            self._holding = False
        self.deliver()

    def deliver(self, count: int | None = None) -> int:
        """Delivers the ``count`` oldest waiting sends (all by default); how many it was."""
        chosen = self.pending[:count]
        for send in chosen:
            send.deliver()
        return len(chosen)

    # What a test does to the log.

    def put(self, value: bytes) -> int:
        """Appends a record past any appender, as a stranger could; its offset."""
        with self._changed:
            offset = self._end
            self._records.append(Record(offset, bytes(value), self.leader_epoch))
            self._end += 1
            self._changed.notify_all()
            return offset

    def skip_offsets(self, count: int) -> None:
        """A gap in offsets, as transaction markers leave."""
        with self._changed:
            self._end += count
            self._changed.notify_all()

    def bump_leader_epoch(self) -> None:
        """A new leader that lost nothing."""
        with self._changed:
            self.leader_epoch += 1

    def truncate(self, offset: int, *, noticed: bool = True) -> None:
        """A new leader that lost all from ``offset`` on. Kafka's client notices (``LogTruncationError``) unless the
        brokers are too old for that: then only the leader epoch of later records tells."""
        with self._changed:
            del self._records[bisect_left(self._records, offset, key=_offset) :]
            self._end = offset
            self.leader_epoch += 1
            if noticed:
                self._truncations.append(offset)
            self._changed.notify_all()

    def trim(self, offset: int) -> None:
        """Deletes everything below ``offset``."""
        with self._changed:
            del self._records[: bisect_left(self._records, offset, key=_offset)]
            self._start = max(self._start, offset)
            self._end = max(self._end, offset)

    def recreate(self) -> None:
        """The topic deleted and made anew: empty, offsets and leader epochs from 0."""
        with self._changed:
            self._records.clear()
            self._start = self._end = self.leader_epoch = 0
            self._changed.notify_all()

    def cut_off(self) -> None:
        """The cluster does not answer: reading raises `LogUnavailable`, sends wait."""
        with self._changed:
            self.available = False
            self._changed.notify_all()

    def restore(self) -> None:
        """The cluster answers again, and what waited arrives (unless sends are held)."""
        with self._changed:
            self.available = True
            holding = self._holding
        if not holding:
            self.deliver()

    # What appenders and readers use.

    def _answer(self) -> None:
        if not self.available:
            raise LogUnavailable(f"the log {self.name} does not answer", hint="MemoryLog.restore() ends this")

    def _take(self, send: PendingSend) -> None:
        with self._changed:
            if self._holding or not self.available or self._pending_of(send.appender):
                outcome = Outcome.HELD  # never past an earlier one of the same appender
            else:
                outcome = self._plan.popleft() if self._plan else Outcome.DELIVERED
            if outcome is Outcome.HELD:
                self._pending.append(send)
                return
            if outcome is not Outcome.LOST:
                send.land()
            if outcome is Outcome.TWICE:
                send.land()
        if outcome in (Outcome.LOST, Outcome.UNKNOWN):
            send.fail()
        else:
            send.acknowledge(UNKNOWN_OFFSET if outcome is Outcome.DEDUPLICATED else None)

    def _pending_of(self, appender: "MemoryAppender") -> list[PendingSend]:
        return [send for send in self._pending if send.appender is appender and not send.decided]

    def _forget(self, send: PendingSend) -> None:
        with self._changed:
            if send in self._pending:
                self._pending.remove(send)
            self._changed.notify_all()


class MemoryAppender:
    """One writer's way into a `MemoryLog`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._ended = False

    def send(self, value: bytes, acknowledged: Acknowledged) -> None:
        """See `Appender`. The callback may run before this returns, in this thread."""
        if self._ended:
            raise LogUnavailable("this appender has ended", hint="a new writer session makes a new one")
        self._log._take(PendingSend(self._log, self, bytes(value), acknowledged))

    def abandon(self) -> None:
        """See `Appender`. Sends marked ``on_wire`` stay pending, so that a test can land them later."""
        self._ended = True
        with self._log._changed:
            orphans = self._log._pending_of(self)
        for send in orphans:
            send.fail()
            if send.on_wire:
                with self._log._changed:
                    self._log._pending.append(send)

    def close(self, timeout: float) -> None:
        """See `Appender`."""
        self._ended = True
        with self._log._changed:
            done = self._log._changed.wait_for(lambda: not self._log._pending_of(self), timeout)
        if not done:
            self.abandon()


class MemoryReader(FetchingReader):
    """A place in a `MemoryLog`."""

    def __init__(self, log: MemoryLog, offset: int) -> None:
        super().__init__()
        self._log = log
        self._next = offset
        self._seen = len(log._truncations)

    def _position(self) -> int:
        return self._next

    def _move(self, offset: int) -> None:
        self._next = offset
        self._seen = len(self._log._truncations)

    def _fetch(self, timeout: float) -> list[Record]:
        log = self._log
        with log._changed:
            self._judge()
            log._changed.wait_for(lambda: not log.available or log._end != self._next, timeout)
            self._judge()
            records: list[Record] = []
            size = 0
            for at in range(bisect_left(log._records, self._next, key=_offset), len(log._records)):
                records.append(log._records[at])
                size += len(records[-1].value)
                if size >= log._fetch_bytes:
                    break
            self._next = records[-1].offset + 1 if records else log._end
            return records

    def _judge(self) -> None:
        log = self._log
        log._answer()
        lost = [offset for offset in log._truncations[self._seen :] if offset < self._next]
        self._seen = len(log._truncations)
        if lost:
            raise LogDiverged(f"the log was truncated to offset {min(lost)}", offset=self._next)
        if self._next < log._start:
            raise NeedsRebuild(f"the log starts at offset {log._start}", offset=self._next)
        if self._next > log._end:
            raise LogDiverged(f"the log ends at offset {log._end}", offset=self._next)

    def close(self) -> None:
        """Nothing to end."""
