"""What a writer must know of its group: the volumes, and the copies whose names are in use."""

from collections.abc import Iterable
from dataclasses import dataclass

from tidelog.schemas.chain import Head
from tidelog.schemas.events import CopyDropped, Event, Marker
from tidelog.schemas.volumes import VolumeInfo, VolumeTable


@dataclass(frozen=True, slots=True)
class KnownCopy:
    """A copy that a marker in the log made: its identity and its label."""

    sequence: int
    seal: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Vouched:
    """A head that a site has applied, and what the group held there: a place to fold from other than sequence 1."""

    head: Head
    volumes: tuple[VolumeInfo, ...]
    copies: tuple[KnownCopy, ...]


class GroupState:
    """The volume table and the copies of a group, folded from the events that count."""

    def __init__(self, volumes: Iterable[VolumeInfo] = (), copies: Iterable[KnownCopy] = ()) -> None:
        self.volumes = VolumeTable(volumes)
        self._copies = {copy.sequence: copy for copy in copies}

    def fold(self, event: Event) -> None:
        """Applies an event that counts. Raises `CorruptEvent` for a volume event that cannot be."""
        self.volumes.fold(event)
        if isinstance(event, Marker):
            self._copies[event.sequence] = KnownCopy(event.sequence, event.seal, event.name)
        elif isinstance(event, CopyDropped):
            self._copies.pop(event.copy_sequence, None)

    def copy(self, name: str) -> KnownCopy | None:
        """The newest copy of that name, or None."""
        named = (copy for copy in self._copies.values() if copy.name == name)
        return max(named, key=lambda copy: copy.sequence, default=None)
