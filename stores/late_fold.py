"""What the log says between two copies: the volume table, the blocks named and the pairs, as stores fold them. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from tidelog.schemas.block_bitmap import unpack_bitmap
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Discard, Event, VolumeCopied, VolumeDeleted, VolumeResized, WriteBatch
from tidelog.schemas.volumes import VolumeInfo, VolumeTable
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import set_bits
from tidelog.stores.pairs import Pair
from tidelog.stores.store import Copy

# A volume's id, some of its blocks, and ranges of them: first and the one behind the last.
Names = tuple[int, Collection[int], Sequence[tuple[int, int]]]


class LateFold:
    """Goes on from the elder copy (None: the origin). ``named`` are the blocks named up to the time of the late copy,
    by volume id, ``since`` those of them since the last cut, ``after`` those behind that time."""

    def __init__(self, elder: Copy | None, pairs: dict[Pair, ChangeBitmap]) -> None:
        self.table = VolumeTable(elder.volumes if elder else ())
        self.head = elder.head if elder else None
        self.pairs = pairs
        self.named: dict[int, ChangeBitmap] = {}
        self.since: dict[int, ChangeBitmap] = {}
        self.after: dict[int, ChangeBitmap] = {}

    def known(self, volume: int) -> VolumeInfo:
        """A volume of the table."""
        found = self.table.get(volume)
        assert found is not None, "validated when it was applied"
        return found

    def bits(self, volume: int) -> ChangeBitmap:
        """The blocks of a volume named up to the time; the object itself."""
        return self.named.setdefault(volume, ChangeBitmap())

    def name(self, names: Names) -> list[int]:
        """Names blocks, up to the time; the bytes of `bits` that changed by single blocks."""
        volume, blocks, ranges = names
        dirty = _add(self.bits(volume), blocks, ranges)
        _add(self.since.setdefault(volume, ChangeBitmap()), blocks, ranges)
        for pair, bitmap in self.pairs.items():
            if volume in pair:
                _add(bitmap, blocks, ranges)
        return dirty

    def name_after(self, event: Event, but: Collection[int]) -> None:
        """Names what an event behind the time does to volumes, ``but`` some."""
        for volume, blocks, ranges in self._names(event):
            if volume in but:
                continue
            _add(self.after.setdefault(volume, ChangeBitmap()), blocks, ranges)

    def count(self) -> int:
        """The blocks named since the last cut, of the volumes that there are now."""
        return sum(self.since[volume.id].count for volume in self.table if volume.id in self.since)

    def take(self, event: Event, first: int, offset: int) -> None:
        """Moves the table and the head behind an event, or behind the part of a batch that begins at ``first``."""
        self.table.fold(event)
        if isinstance(event, VolumeDeleted):
            for pair in [pair for pair in self.pairs if event.volume in pair]:
                del self.pairs[pair]
        last, stamp = first, event.timestamp_us
        if isinstance(event, WriteBatch):
            last, stamp = first + len(event.lengths) - 1, event.timestamps_us[-1]
        self.head = replace(Head(0, b"", 0, b"", 0, 0).after(event, offset), sequence=last, timestamp_us=stamp)

    def _names(self, event: Event) -> Iterator[Names]:
        if isinstance(event, WriteBatch):
            yield from self._written(event)
        elif isinstance(event, Discard):
            size = self.known(event.volume).block_size
            yield event.volume, (), [(event.offset // size, -(-(event.offset + event.length) // size))]
        elif isinstance(event, VolumeResized):
            before = self.known(event.volume)
            if event.size < before.size:
                yield event.volume, (), [(event.size // before.block_size, before.blocks)]
        elif isinstance(event, VolumeCopied):
            shipped = ChangeBitmap(unpack_bitmap(event, self.known(event.target).blocks))
            yield event.target, list(shipped.blocks()), ()

    def _written(self, batch: WriteBatch) -> Iterator[Names]:
        found: dict[int, set[int]] = {}
        for volume, offset, length in zip(batch.volumes, batch.offsets, batch.lengths, strict=True):
            size = self.known(volume).block_size
            found.setdefault(volume, set()).update(range(offset // size, -(-(offset + length) // size)))
        for volume, blocks in found.items():
            yield volume, blocks, ()


def _add(bitmap: ChangeBitmap, blocks: Collection[int], ranges: Sequence[tuple[int, int]]) -> list[int]:
    dirty = set_bits(bitmap, blocks)
    for first, end in ranges:
        bitmap.add_range(first, end)
    return dirty
