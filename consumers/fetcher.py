"""The reading half of a replica: poll, decode, judge, on a thread of its own, into a bounded queue.

Two threads, because hashing and socket reads release the GIL: while one waits for Redis the other decodes. The queue is
bounded in bytes, so memory does not grow with the backlog (benchmark: worker memory).
"""

import threading
from collections import deque
from dataclasses import dataclass, field

from tidelog.errors import TidelogError
from tidelog.producers.follower import Follower
from tidelog.producers.log import Reader
from tidelog.schemas.events import Event, WriteBatch

# What the numbers of a write may take once they are decoded: volume, offset, length and time, each 8 bytes of a list
# and 32 of an int. A decoded batch takes 1.55 times its record with writes of 128 bytes, 3.66 times with 16: counted as
# bytes of the log, a queue of those took a worker past 150 MiB (benchmark: worker-memory).
WRITE_BYTES = 160


@dataclass(slots=True)
class Run:
    """Consecutive events that count, each with the offset of its record. ``size`` is in bytes of memory."""

    events: list[tuple[Event, int]] = field(default_factory=list)
    size: int = 0


def decoded_bytes(event: Event, record_bytes: int) -> int:
    """What an event takes in memory, in bytes, whose record has ``record_bytes``."""
    return record_bytes + (WRITE_BYTES * len(event.lengths) if isinstance(event, WriteBatch) else 0)


class Fetcher:
    """Fills the queue from a reader until it is closed or something ends it.

    ``take`` hands over what was judged before an error came, then raises that error: what stands before a bad record
    is applied.
    """

    def __init__(self, reader: Reader, follower: Follower, queue_bytes: int, poll_timeout: float) -> None:
        self._reader, self._follower = reader, follower
        self._queue_bytes, self._poll_timeout = queue_bytes, poll_timeout
        self._changed = threading.Condition()
        self._runs: deque[Run] = deque()
        self._size = 0
        self._error: BaseException | None = None
        self._closed = False
        self.judged = reader.next_offset  # all below was judged, and what counts of it was put into the queue
        self._thread = threading.Thread(target=self._run, name="tidelog-fetch", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> Run | None:
        """The next run, or None after ``timeout`` seconds or once it is to stop. Raises what ended the fetching, after
        the last run."""
        with self._changed:
            self._changed.wait_for(lambda: self._runs or self._error is not None or self._closed, timeout)
            if self._runs:
                run = self._runs.popleft()
                self._size -= run.size
                self._changed.notify_all()
                return run
            if self._error is not None:
                raise self._error
            return None

    @property
    def empty(self) -> bool:
        """Whether nothing is waiting to be taken."""
        return not self._runs

    def ask_to_stop(self) -> None:
        """Begins what `close` waits for, and wakes who waits in `take`; returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the thread, waiting for it; the reader can then be used again."""
        self.ask_to_stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closed:
                self._poll_once()
        except TidelogError as error:
            self._end(error)
        except Exception as error:  # to be raised where the runs are taken
            self._end(error)

    def _end(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _poll_once(self) -> None:
        run = Run()
        try:
            for record in self._reader.poll(self._poll_timeout):
                if self._follower.leader_changed(record):
                    self._reader.seek(self._follower.head.next_offset)
                    break
                event = self._follower.take(record)
                if event is not None:
                    run.events.append((event, record.offset))
                    run.size += decoded_bytes(event, len(record.value))
                    if run.size >= self._queue_bytes // 4:
                        self._put(run)
                        run = Run()
        finally:
            self._put(run)
        self.judged = self._reader.next_offset

    def _put(self, run: Run) -> None:
        if not run.events:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._size < self._queue_bytes)
            self._runs.append(run)
            self._size += run.size
            self._changed.notify_all()
