"""The record of the control topic that makes a log a mirror. Its fields are documented in the ``.avsc`` file."""

from typing import ClassVar

from tidelog.schemas.control_record import ControlRecord


class LogMirrored(ControlRecord):
    """A group's log on ``target_cluster`` is a mirror of its log on ``source_cluster``."""

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


def mirror_key(group: str, target_cluster: str) -> str:
    """The key of the `LogMirrored` of a group's log on a cluster."""
    return f"mirror/{group}/{target_cluster}"
