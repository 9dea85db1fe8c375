"""The volume table of a group: which volumes there are, as the events so far say."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tidelog.errors import CorruptEvent, NotFound
from tidelog.schemas.events import Event, VolumeCreated, VolumeDeleted, VolumeResized

DEFAULT_BLOCK_SIZE = 4096
MIN_BLOCK_SIZE = 512
MAX_BLOCK_SIZE = 65536
MAX_BLOCKS = 1 << 32  # the bits of the largest Redis string: a change bitmap is one


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """A row of the volume table. ``id`` is the sequence of its ``VolumeCreated``; sizes are bytes."""

    id: int
    name: str
    size: int
    block_size: int

    @property
    def blocks(self) -> int:
        """How many blocks it spans, the last one maybe in part."""
        return -(-self.size // self.block_size)


def find_volume(volumes: Iterable[VolumeInfo], name: str, where: str) -> VolumeInfo:
    """The volume of that name. Raises `NotFound`, naming those that there are ``where``."""
    rows = {info.name: info for info in volumes}
    if name not in rows:
        raise NotFound(f"no volume {name!r} in {where} (there are: {', '.join(sorted(rows)) or 'none'})")
    return rows[name]


def valid_block_size(block_size: int) -> bool:
    """A power of two from 512 to 65,536 bytes."""
    return MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE and block_size & (block_size - 1) == 0


def valid_size(size: int, block_size: int) -> bool:
    """From 1 byte to 2^32 blocks: 16 TiB in blocks of 4 KiB."""
    return 0 < size <= MAX_BLOCKS * block_size


class VolumeTable:
    """The volumes of a group, folded from its volume events. Ids order it: they are sequences, so they only grow."""

    def __init__(self, volumes: Iterable[VolumeInfo] = ()) -> None:
        self._by_id = {volume.id: volume for volume in volumes}
        self._by_name = {volume.name: volume for volume in self._by_id.values()}

    def __iter__(self) -> Iterator[VolumeInfo]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, volume: int) -> VolumeInfo | None:
        """The volume with that id, or None."""
        return self._by_id.get(volume)

    def named(self, name: str) -> VolumeInfo | None:
        """The volume of that name, or None."""
        return self._by_name.get(name)

    def fold(self, event: Event) -> None:
        """Applies a volume event; leaves every other kind alone. Raises `CorruptEvent` for one that cannot be."""
        if isinstance(event, VolumeCreated):
            if event.name in self._by_name:
                raise impossible_event(event, f"creates volume {event.name!r}, which exists")
            if not valid_block_size(event.block_size) or not valid_size(event.size, event.block_size):
                raise impossible_event(event, f"has size {event.size}, block size {event.block_size}")
            self._put(VolumeInfo(event.sequence, event.name, event.size, event.block_size))
        elif isinstance(event, VolumeResized):
            before = self._known(event, event.volume)
            if not valid_size(event.size, before.block_size):
                raise impossible_event(event, f"has size {event.size}")
            self._put(replace(before, size=event.size))
        elif isinstance(event, VolumeDeleted):
            volume = self._known(event, event.volume)
            del self._by_id[volume.id], self._by_name[volume.name]

    def _put(self, volume: VolumeInfo) -> None:
        self._by_id[volume.id] = volume
        self._by_name[volume.name] = volume

    def _known(self, event: Event, volume: int) -> VolumeInfo:
        found = self._by_id.get(volume)
        if found is None:
            raise impossible_event(event, f"names volume {volume}, which does not exist")
        return found


def impossible_event(event: Event, what: str) -> CorruptEvent:
    """The error for an event that is well formed and cannot be, such as a write outside its volume."""
    return CorruptEvent(
        f"{event.kind} {what}",
        sequence=event.sequence,
        hint="no tidelog writer sends this; find out what wrote it before you go on",
    )
