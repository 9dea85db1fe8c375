"""What a writer must know of its group: the volumes, and the copies whose names are in use."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tidelog.names import is_scheduled_name
from tidelog.schemas.chain import Head
from tidelog.schemas.events import CopyDropped, CopyKept, CopyLocked, Event, Marker
from tidelog.schemas.volumes import VolumeInfo, VolumeTable


@dataclass(frozen=True, slots=True)
class KnownCopy:
    """A copy that a marker in the log made: its identity, its label, its time, the volume table at the cut, and what
    protects it (UTC microseconds of the log until which nothing drops it; whether retention leaves it alone)."""

    sequence: int
    seal: bytes
    name: str
    timestamp_us: int
    volumes: tuple[VolumeInfo, ...]
    locked_until_us: int = 0
    kept: bool = False

    @property
    def scheduled(self) -> bool:
        """Whether the group's schedule made it; its name tells."""
        return is_scheduled_name(self.name)


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
            cut = KnownCopy(event.sequence, event.seal, event.name, event.timestamp_us, tuple(self.volumes))
            self._copies[event.sequence] = cut
        elif isinstance(event, CopyDropped | CopyLocked | CopyKept):
            self._change(event)

    def copy(self, name: str) -> KnownCopy | None:
        """The newest copy of that name, or None; ``#<sequence>`` names one by sequence."""
        named = (copy for copy in self._copies.values() if name in (copy.name, f"#{copy.sequence}"))
        return max(named, key=lambda copy: copy.sequence, default=None)

    def copies(self) -> list[KnownCopy]:
        """Every copy, oldest first."""
        return sorted(self._copies.values(), key=lambda copy: copy.sequence)

    def _change(self, event: CopyDropped | CopyLocked | CopyKept) -> None:
        """As every site does (`tidelog.stores.copy_changes`): a locked copy stays, and a lock only grows."""
        copy = self._copies.get(event.copy_sequence)
        if copy is None or copy.seal != event.copy_seal:
            return
        if isinstance(event, CopyKept):
            self._copies[copy.sequence] = replace(copy, kept=event.kept)
        elif isinstance(event, CopyLocked):
            until_us = max(copy.locked_until_us, event.until_us)
            self._copies[copy.sequence] = replace(copy, locked_until_us=until_us)
        elif copy.locked_until_us <= event.timestamp_us:
            del self._copies[copy.sequence]
