"""The log as a late copy reads it: from where an elder copy ends, with its own judge and reader, beside the live one.

Void and redelivered records are left out as they were when the site applied the log (C13).
"""

import threading
from collections.abc import Callable

from tidelog.consumers.fetcher import Fetcher
from tidelog.consumers.log_connection import LogConnection
from tidelog.errors import Halted, OutOfWindow
from tidelog.producers.follower import Follower
from tidelog.producers.log import Log
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Event
from tidelog.stores.store import Copy


class LogEvents:
    """`tidelog.stores.late.LateEvents` of a log, opened and fetched on threads of its own, so that applying waits for
    neither, into a queue of ``queue_bytes``.

    `take` raises `OutOfWindow` if the log does not reach back to the end of ``elder`` (None: to the group's first
    event), or is not the one that it was cut from; `LogUnavailable`.
    """

    def __init__(
        self,
        open_log: Callable[[], Log],
        codec: Codec,
        group_id: str,
        elder: Copy | None,
        queue_bytes: int,
        poll_timeout: float,
    ) -> None:
        self._connection = LogConnection(open_log)
        self._codec, self._group_id, self._elder = codec, group_id, elder
        self._queue_bytes, self._poll_timeout = queue_bytes, poll_timeout
        self._first: list[tuple[Event, int]] = []
        self._fetcher: Fetcher | None = None
        self._error: Exception | None = None
        self._opened = self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._open, name="tidelog-late", daemon=True)
        self._thread.start()

    def take(self, timeout: float = 0.0) -> list[tuple[Event, int]]:
        """See `LateEvents`; once the log is open, waits for ``timeout`` seconds. Raises `LogUnavailable`, too."""
        if not self._opened:
            return []
        try:
            if self._error is not None:
                raise self._error
            if self._first:
                first, self._first = self._first, []
                return first
            run = self._fetcher.take(timeout) if self._fetcher is not None else None
        except Halted as error:
            raise OutOfWindow(f"the log cannot be read from there: {error}") from error
        return run.events if run is not None else []

    def close(self) -> None:
        """Ends the fetching, within a poll. A log that is being opened is closed once it is open; nobody waits."""
        with self._lock:
            self._closed = True
            opened = self._opened
        if opened:
            self._end()

    def _end(self) -> None:
        if self._fetcher is not None:
            self._fetcher.close()
        self._connection.close()

    def _open(self) -> None:
        try:
            log = self._connection.log()
            self._first, head = _start(log, self._codec, self._group_id, self._elder)
            follower = Follower(log, self._codec, head)
            reader = self._connection.reader_at(head.next_offset)
            self._fetcher = Fetcher(reader, follower, self._queue_bytes, self._poll_timeout)
        except Exception as error:  # to be raised where the events are taken
            self._error = error
        with self._lock:
            self._opened = True
            closed = self._closed
        if closed:
            self._end()


def _start(log: Log, codec: Codec, group_id: str, elder: Copy | None) -> tuple[list[tuple[Event, int]], Head]:
    """The event that ``elder`` ends in the middle of, if it does, and the head behind it."""
    start = log.bounds().start
    if elder is None:
        if start > 0:
            raise OutOfWindow(f"this site holds no copy from before that time, and the log begins at offset {start}")
        return [], origin(group_id)
    if elder.cluster_id != log.id:
        raise OutOfWindow(f"copy {elder.name}, the last one before that time, is of cluster {elder.cluster_id}'s log")
    record = log.record_at(elder.offset)
    if record is None:
        raise OutOfWindow(
            f"copy {elder.name}, the last one before that time, ends at offset {elder.offset}, and the log begins at"
            f" {start}"
        )
    event = codec.decode(record.value)
    if event.seal != elder.seal:
        raise OutOfWindow(f"the log is not the one that copy {elder.name} was cut from")
    inside = event.last_sequence > elder.sequence
    return [(event, elder.offset)] if inside else [], elder.head.after(event, elder.offset)
