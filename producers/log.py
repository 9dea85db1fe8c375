"""What a group's log must be able to do. Kafka and the in-memory twin pass the same contract tests.

A log is a sequence of records at growing offsets; gaps in offsets mean nothing. It knows nothing of events: bytes in,
bytes out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

UNKNOWN_OFFSET = -1

# What a send calls back: the record's offset and None, or `UNKNOWN_OFFSET` and None or the error.
Acknowledged = Callable[[int, Exception | None], None]


class Record(NamedTuple):
    """One record as read back. ``leader_epoch`` grows when the partition's leader changes; -1 where unknown."""

    offset: int
    value: bytes
    leader_epoch: int = -1


@dataclass(frozen=True, slots=True)
class Bounds:
    """``start`` is the first offset still there, ``end`` the offset that the next record will take or exceed."""

    start: int
    end: int


class Appender(Protocol):
    """One writer's way into the log. Not shared between sessions. Thread-safe."""

    def send(self, value: bytes, acknowledged: Acknowledged) -> None:
        """Hands ``value`` to the log; returns at once. Records arrive in the order of the calls.

        ``acknowledged`` is called once, for records that arrived in their order: with the record's offset and None;
        with `UNKNOWN_OFFSET` and None for a retry that the log had already; or with `UNKNOWN_OFFSET` and the error when
        the record's fate is unknown (`LogUnavailable`) or the log refuses it (`ConfigError`: too large).
        After an error nothing more is sent: the appender has abandoned itself, and later calls raise.

        It is called from a thread of the log, and by a log in memory before ``send`` returns, in the caller's thread:
        the caller holds no lock then that ``acknowledged`` takes (or a reentrant one). It must be quick; it may call
        ``abandon``. Raises `LogUnavailable` if the record cannot be taken at all; then it is not in the log.
        """

    def abandon(self) -> None:
        """Ends without draining: what was not sent yet is not sent any more, what is on the wire may still arrive.
        Callbacks that are due are called with `LogUnavailable`, from here. Harmless a second time or in a callback."""

    def close(self, timeout: float) -> None:
        """Ends after everything sent was acknowledged, or abandons after ``timeout`` seconds."""


class Reader(Protocol):
    """A place in the log and the way forward from it. Not thread-safe."""

    @property
    def next_offset(self) -> int:
        """Where the next poll reads on: the record after the last one returned (or the offset of the seek)."""

    def seek(self, offset: int) -> None:
        """Goes to ``offset``; the next poll reads from there."""

    def poll(self, timeout: float) -> list[Record]:
        """The next records, in order and as many as one fetch brought, or [] after ``timeout`` seconds.

        Raises `NeedsRebuild` if the offset is below the log's start, `LogDiverged` if it is beyond its end or the log
        was truncated (``LogTruncationError``), `LogUnavailable` if the log does not answer for long.
        """

    def records(self, until: int, timeout: float) -> Iterator[Record]:
        """Every record from `next_offset` up to offset ``until`` (not included); raises `LogUnavailable` when no
        progress is made for ``timeout`` seconds."""

    def close(self) -> None:
        """Ends, within a second or so."""


class Log(Protocol):
    """One group's log."""

    @property
    def name(self) -> str:
        """The topic."""

    @property
    def cluster_id(self) -> str:
        """Which cluster it is on."""

    @property
    def id(self) -> str:
        """Which log offsets are of: the cluster's id, and the topic's incarnation where that is not the first."""

    def check(self) -> None:
        """Raises `ConfigError`, naming the rule, unless the topic keeps the rules of DESIGN section 3; `NotFound` if
        there is none; `LogUnavailable`."""

    def bounds(self, timeout: float | None = None) -> Bounds:
        """Start and end now. Raises `LogUnavailable`; each of the two is waited for ``timeout`` seconds, by default as
        long as for any request."""

    def record_at(self, offset: int) -> Record | None:
        """The record at exactly this offset; None if there is none. Raises `LogUnavailable`."""

    def trim(self, offset: int) -> None:
        """Deletes every record below ``offset``, for ever. Raises `LogUnavailable`; then it may have happened."""

    def appender(self) -> Appender:
        """A new way in, with an idempotent producer of its own."""

    def reader(self, offset: int) -> Reader:
        """A new reader that stands at ``offset``."""

    def close(self) -> None:
        """Ends what the log itself holds open (not its readers and appenders)."""
