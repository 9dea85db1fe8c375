"""What a replica says of itself, and what it reads of the configuration."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tidelog.errors import TidelogError
from tidelog.producers.follower import Skipped
from tidelog.schemas.chain import Head


class State(StrEnum):
    """States of a site's group (DESIGN section 11), and STOPPED for a worker that ended in an orderly way."""

    STARTING = "STARTING"
    REPLAYING = "REPLAYING"
    STREAMING = "STREAMING"
    HALTED = "HALTED"
    NEEDS_REBUILD = "NEEDS_REBUILD"
    REBUILDING = "REBUILDING"
    STOPPED = "STOPPED"


class ReplicaSettings(Protocol):
    """What a replica reads of the worker's configuration."""

    @property
    def queue_bytes(self) -> int: ...
    @property
    def poll_timeout(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """What a replica says of itself at one moment."""

    state: State
    error: TidelogError | None
    head: Head
    records_applied: int
    skipped: Skipped
