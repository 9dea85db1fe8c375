"""The records of the control topic about a group in several regions: that a log is a mirror, and that one was sealed.

Their fields are documented in the ``.avsc`` files. A log is named by `log_id`: offsets are of one such log.
"""

import re
from typing import ClassVar

from tidelog.schemas.control_record import ControlRecord, Fixed16
from tidelog.schemas.events import Event, WriterOpened

# A group's name has no capitals in it, so that no group's topic ends so.
_INCARNATION = re.compile(r"\.R(\d+)$")
# What `opened_by` of an event begins with that seals a log: nobody writes behind it.
_SEALED_BY = "sealed, goes on in "


class LogMirrored(ControlRecord):
    """A group's log ``target_cluster`` is a mirror of its log ``source_cluster``."""

    kind: ClassVar[str] = "LogMirrored"

    group: str
    group_id: str
    topic: str
    source_cluster: str
    source_servers: str
    target_cluster: str
    target_servers: str
    mirrored_us: int

    @property
    def key(self) -> str:
        return mirror_key(self.group, self.target_cluster)


class HistorySealed(ControlRecord):
    """What the log ``log`` holds behind the event at ``sequence`` counts no more: the group goes on in ``goes_on``."""

    kind: ClassVar[str] = "HistorySealed"

    group: str
    group_id: str
    log: str
    sequence: int
    seal: Fixed16
    timestamp_us: int
    goes_on: str
    servers: str
    epoch: int
    sealed_us: int
    sealed_by: str

    @property
    def key(self) -> str:
        return sealed_key(self.group, self.log)


REGIONS: tuple[type[ControlRecord], ...] = (LogMirrored, HistorySealed)


def mirror_key(group: str, target_cluster: str) -> str:
    """The key of the `LogMirrored` of a group's log on a cluster."""
    return f"mirror/{group}/{target_cluster}"


def sealed_key(group: str, log: str) -> str:
    """The key of the `HistorySealed` of a group's log."""
    return f"sealed/{group}/{log}"


def incarnation(topic: str) -> int:
    """Which of a group's topics of one cluster it is, from 1, by its name or its log's id: no history is written on in
    the topic of one that was sealed."""
    found = _INCARNATION.search(topic)
    return int(found[1]) if found is not None else 1


def in_incarnation(topic: str, number: int) -> str:
    """The name of a group's topic in another incarnation."""
    first = _INCARNATION.sub("", topic)
    return first if number == 1 else f"{first}.R{number}"


def log_id(cluster_id: str, topic: str) -> str:
    """What names a log: its cluster, and its topic's incarnation where that is not the first."""
    number = incarnation(topic)
    return cluster_id if number == 1 else f"{cluster_id}.R{number}"


def cluster_of(log: str) -> str:
    """The cluster that a log of that id is on."""
    return _INCARNATION.sub("", log)


def sealed_for(log: str, process: str) -> str:
    """``opened_by`` of the event that seals a log, since the group goes on in ``log``."""
    return f"{_SEALED_BY}{log}, {process}"


def is_sealing(event: Event | None) -> bool:
    """Whether this event seals its log: nobody writes behind it."""
    return isinstance(event, WriterOpened) and event.opened_by.startswith(_SEALED_BY)
