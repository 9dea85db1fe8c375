"""Time: UTC microseconds, strictly increasing, never the reason for an order.

A hybrid logical clock after Kulkarni et al., "Logical Physical Clocks" (2014), reduced to one process: the wall clock
while it moves forward, one more than the last stamp while it does not.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def wall_us() -> int:
    """The wall clock in UTC microseconds since 1970."""
    return time.time_ns() // 1000


class HybridClock:
    """Stamps in UTC microseconds, each above all before it, from one process. Thread-safe.

    ``wall`` is the source of time, so that a test can step it.
    """

    def __init__(self, wall: Callable[[], int] = wall_us) -> None:
        self._wall = wall
        self._last = 0
        self._lock = threading.Lock()

    def stamp(self) -> int:
        """The next stamp: ``max(wall, last + 1)``."""
        with self._lock:
            now = self._wall()
            if now <= self._last:
                now = self._last + 1
            self._last = now
            return now

    def witness(self, timestamp_us: int) -> None:
        """Makes every later stamp exceed ``timestamp_us``, as the head of a log demands of its next writer."""
        with self._lock:
            self._last = max(self._last, timestamp_us)

    def wall(self) -> int:
        """This clock's wall time, which may go back."""
        return self._wall()


# All sessions of a process share one clock, so that times over several groups compare exactly.
PROCESS_CLOCK = HybridClock()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The end of the year 9999: no date can be told beyond it.
LATEST_US = 253_402_300_799_999_999


def iso(timestamp_us: int) -> str:
    """``2026-11-22T18:00:00.123456Z``, for people and for JSON."""
    return utc(timestamp_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def utc(timestamp_us: int) -> datetime:
    """The UTC date and time of a timestamp."""
    return _EPOCH + timedelta(microseconds=timestamp_us)


def microseconds(moment: datetime) -> int:
    """The timestamp of a date and time that says its offset to UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def time_or_none(timestamp_us: int) -> str | None:
    """For JSON: null for never."""
    return iso(timestamp_us) if timestamp_us else None
