"""A send into a log in memory, and what a test may make of it."""

from enum import StrEnum
from typing import TYPE_CHECKING

from tidelog.errors import LogUnavailable
from tidelog.producers.log import UNKNOWN_OFFSET, Acknowledged

if TYPE_CHECKING:
    from tidelog.producers.memory_log import MemoryAppender, MemoryLog


class Outcome(StrEnum):
    """What becomes of one send."""

    DELIVERED = "delivered"
    DEDUPLICATED = "in the log, acknowledged without its offset"
    TWICE = "in the log twice, acknowledged with the first offset"
    UNKNOWN = "in the log, the acknowledgement lost: it fails"
    LOST = "not in the log: it fails"
    HELD = "neither, until the test says"


class PendingSend:
    """A send that a test decides about. ``on_wire`` ones survive their appender's `abandon`, and can land later."""

    def __init__(self, log: "MemoryLog", appender: "MemoryAppender", value: bytes, acknowledged: Acknowledged) -> None:
        self._log = log
        self.appender = appender
        self.value = value
        self.on_wire = False
        self.offset = UNKNOWN_OFFSET
        self._acknowledged: Acknowledged | None = acknowledged

    def land(self) -> int:
        """Puts the record in the log, once more if it is there already; the offset of this one."""
        offset = self._log.put(self.value)
        if self.offset == UNKNOWN_OFFSET:
            self.offset = offset
        return offset

    def acknowledge(self, offset: int | None = None) -> None:
        """Acknowledges it with ``offset``, by default the one where it landed first. Does nothing a second time."""
        self._finish(self.offset if offset is None else offset, None)

    def fail(self) -> None:
        """Reports that its fate is unknown; its appender takes nothing more, as an idempotent producer must not."""
        self._finish(UNKNOWN_OFFSET, LogUnavailable("the send failed; it may or may not be in the log"))
        self.appender.abandon()

    def deliver(self) -> None:
        """Lands and acknowledges it."""
        self.land()
        self.acknowledge()

    def lose(self) -> None:
        """Fails it without landing it."""
        self.fail()

    def _finish(self, offset: int, error: Exception | None) -> None:
        self._log._forget(self)
        acknowledged, self._acknowledged = self._acknowledged, None
        if acknowledged is not None:
            acknowledged(offset, error)

    @property
    def decided(self) -> bool:
        """Whether its sender was told anything."""
        return self._acknowledged is None
