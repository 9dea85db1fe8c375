"""What readers of all logs share: records that were fetched but not asked for yet are kept, not lost."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator

from tidelog.errors import LogUnavailable
from tidelog.producers.log import Record

POLL_SLICE = 0.5


class FetchingReader(ABC):
    """A `Reader` over whole fetches. A subclass fetches, tells its position and moves it."""

    def __init__(self) -> None:
        self._held: deque[Record] = deque()

    @abstractmethod
    def _fetch(self, timeout: float) -> list[Record]:
        """The next whole fetch from the position on, [] after ``timeout``."""

    @abstractmethod
    def _position(self) -> int:
        """Where the next fetch reads on; past a gap in offsets as soon as that is known to be one."""

    @abstractmethod
    def _move(self, offset: int) -> None:
        """Makes ``offset`` the position."""

    @property
    def next_offset(self) -> int:
        """See `Reader`."""
        return self._held[0].offset if self._held else self._position()

    def seek(self, offset: int) -> None:
        """See `Reader`."""
        self._held.clear()
        self._move(offset)

    def poll(self, timeout: float) -> list[Record]:
        """See `Reader`."""
        if self._held:
            records = list(self._held)
            self._held.clear()
            return records
        return self._fetch(timeout)

    def records(self, until: int, timeout: float) -> Iterator[Record]:
        """See `Reader`. What was fetched beyond ``until``, or left when the caller stops early, comes next."""
        deadline = time.monotonic() + timeout
        while self.next_offset < until:
            before = self.next_offset
            if not self._held:
                self._held.extend(self._fetch(min(timeout, POLL_SLICE)))
            while self._held and self._held[0].offset < until:
                yield self._held.popleft()
            if self.next_offset > before:
                deadline = time.monotonic() + timeout
            elif time.monotonic() >= deadline:
                raise LogUnavailable(
                    f"no record came for {timeout:g} s",
                    hint=f"the log should reach offset {until}; is its Kafka well?",
                    offset=before,
                )
