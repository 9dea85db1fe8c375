"""What sites, writers and command lines tell each other: the control topic (DESIGN section 7)."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

from tidelog.errors import CorruptEvent, UnsupportedEvent
from tidelog.schemas.control import OrderProtected, decode_control
from tidelog.schemas.control_record import ControlRecord
from tidelog.schemas.promotions import PrimaryChosen

ControlView = Mapping[str, ControlRecord]
PUBLISH_TIMEOUT = 10.0


class Control(Protocol):
    """One cluster's control topic, and a view of it: the newest record by key. Thread-safe."""

    def publish(self, record: ControlRecord, timeout: float = PUBLISH_TIMEOUT) -> None:
        """Puts ``record`` in place of the one with its key; returns when the log has it.

        Raises `LogUnavailable` after ``timeout`` seconds: then it may or may not be there.
        """

    def retract(self, key: str, timeout: float = PUBLISH_TIMEOUT) -> None:
        """Removes the record with this key, such as the receipt of a dropped copy. Raises as `publish` does."""

    def snapshot(self, timeout: float = PUBLISH_TIMEOUT) -> ControlView:
        """Everything published before this call, newest by key. Reads on from where the last call stood, so that
        asking again costs only what is new. The mapping does not change afterwards. Raises `LogUnavailable`."""

    def wait_for(self, predicate: Callable[[ControlView], bool], timeout: float) -> bool:
        """True once ``predicate`` holds for the view, False after ``timeout`` seconds; asked first for what is there
        and then whenever something came in. It must be quick and must not call this object. Raises `LogUnavailable`
        if the log does not answer."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Keys whose newest record this version cannot read, and why: a newer tidelog may have written them."""

    def close(self) -> None:
        """Ends; other calls fail from then on."""


def _merged(before: ControlRecord | None, record: ControlRecord) -> ControlRecord:
    """The record, with the longer lock where it is about the same copies, and of two promotions the one of the later
    epoch: whoever wrote it may not have heard of the other."""
    if isinstance(before, OrderProtected) and isinstance(record, OrderProtected) and before.at_us == record.at_us:
        return record.model_copy(update={"locked_until_us": max(before.locked_until_us, record.locked_until_us)})
    if isinstance(before, PrimaryChosen) and isinstance(record, PrimaryChosen) and before.group_id == record.group_id:
        return before if before.epoch > record.epoch else record
    return record


class Fold:
    """The newest record by key, from records in log order. One that does not decode is kept as a reason: it replaces
    what its key had, since that is no longer true."""

    def __init__(self) -> None:
        self.records: dict[str, ControlRecord] = {}
        self.unreadable: dict[str, str] = {}

    def add(self, key: bytes, value: bytes | None) -> None:
        """Takes one record; None removes its key."""
        name = key.decode("utf-8", "backslashreplace")
        before = self.records.pop(name, None)
        self.unreadable.pop(name, None)
        if value is None:
            return
        try:
            record = decode_control(value)
        except (CorruptEvent, UnsupportedEvent) as error:
            self.unreadable[name] = str(error)
            return
        if record.key == name:
            self.records[name] = _merged(before, record)
        else:
            self.unreadable[name] = f"a {record.kind} under a key that is not its own ({record.key})"

    def view(self) -> ControlView:
        """As it is now, for keeps."""
        return MappingProxyType(dict(self.records))
