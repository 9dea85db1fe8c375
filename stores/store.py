"""What a store holds: one group at one site (DESIGN sections 4 and 5)."""

from dataclasses import dataclass
from enum import StrEnum

from tidelog.schemas.chain import Head
from tidelog.schemas.volumes import VolumeInfo


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose data a store holds; another's is refused."""

    group: str
    group_id: str
    site: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far a store is. It changes in the same atomic step as the data.

    ``layout`` is raised by every cut and drop step, so that whoever plans on a stale picture of the copies is refused.
    ``generation`` is that of the newest cut, 0 before the first. ``step`` counts the blocks already done of the event
    after the head, for events too large for one transaction, and ``step_seal`` is that event's seal; 0 and empty mean
    that none is under way.
    """

    head: Head
    cluster_id: str
    layout: int
    generation: int
    step: int = 0
    step_seal: bytes = b""


class CopyState(StrEnum):
    FORMED = "formed"
    DROPPING = "dropping"


@dataclass(frozen=True, slots=True)
class Copy:
    """A point-in-time copy as the store knows it. Its identity is (group, ``sequence``, ``seal``); the name is a label.

    ``timestamp_us`` is that of the marker; ``blocks_changed`` counts the blocks, of the volumes in the table at the
    cut, that events named since the cut before; ``volumes`` is the volume table at the cut, by id.
    """

    generation: int
    sequence: int
    seal: bytes
    name: str
    timestamp_us: int
    volumes: tuple[VolumeInfo, ...]
    blocks_changed: int
    state: CopyState = CopyState.FORMED

    def volume(self, name: str) -> VolumeInfo | None:
        """The volume of that name at the cut, or None."""
        return next((volume for volume in self.volumes if volume.name == name), None)
