"""The control topic in memory."""

import threading
from collections.abc import Callable, Mapping

from tidelog.errors import LogUnavailable
from tidelog.producers.control import PUBLISH_TIMEOUT, ControlView, Fold
from tidelog.schemas.control_record import ControlRecord


class MemoryControl:
    """See `Control`. Everyone who shares this object sees everything at once."""

    def __init__(self) -> None:
        self.available = True
        self._fold = Fold()
        self._changed = threading.Condition()

    def put(self, key: bytes, value: bytes | None) -> None:
        """A record as it is, such as a stranger's or a newer version's."""
        with self._changed:
            self._fold.add(key, value)
            self._changed.notify_all()

    def cut_off(self) -> None:
        """The cluster does not answer."""
        with self._changed:
            self.available = False
            self._changed.notify_all()

    def restore(self) -> None:
        """The cluster answers again."""
        self.available = True

    def _answer(self) -> None:
        if not self.available:
            raise LogUnavailable("the control topic does not answer", hint="MemoryControl.restore() ends this")

    def publish(self, record: ControlRecord, timeout: float = PUBLISH_TIMEOUT) -> None:  # noqa: ARG002
        """See `Control`."""
        self._answer()
        self.put(record.key.encode(), record.encode())

    def retract(self, key: str, timeout: float = PUBLISH_TIMEOUT) -> None:  # noqa: ARG002
        """See `Control`."""
        self._answer()
        self.put(key.encode(), None)

    def snapshot(self, timeout: float = PUBLISH_TIMEOUT) -> ControlView:  # noqa: ARG002
        """See `Control`."""
        with self._changed:
            self._answer()
            return self._fold.view()

    def wait_for(self, predicate: Callable[[ControlView], bool], timeout: float) -> bool:
        """See `Control`."""
        with self._changed:
            met = self._changed.wait_for(lambda: not self.available or predicate(self._fold.records), timeout)
            self._answer()
            return met

    @property
    def unreadable(self) -> Mapping[str, str]:
        """See `Control`."""
        with self._changed:
            return dict(self._fold.unreadable)

    def close(self) -> None:
        """Nothing to end: what was published stays for others."""
