"""A late copy's blocks: what events made of the elder copy's, up to the time, in keys that are nobody's yet.

Each block that an event names is in the elder generation's bitmap, since that generation is not over before the next
copy: so its content at the elder copy is that generation's before-image, or nothing. All that is here happens to copies
of those, under the generation that the late copy is going to have.

A volume that no copy lists any more has lost its blocks, and was made after the elder copy, or that would list it. Such
a one is carried out anew to its end, live blocks, bits and before-images, as if a copy had listed it all the time.
"""

from collections.abc import Iterator
from itertools import islice

from tidelog.errors import OutOfWindow
from tidelog.schemas.block_bitmap import unpack_bitmap
from tidelog.schemas.events import Discard, Event, VolumeCopied, VolumeCreated, VolumeDeleted, VolumeResized, WriteBatch
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import bit_commands
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.late_fold import LateFold
from tidelog.stores.reading import sources
from tidelog.stores.state import Image
from tidelog.stores.store import CopyOrigin
from tidelog.stores.transaction import BlockChanges, Commands, Limits, Patches
from tidelog.stores.volume_copy import ReadBitmaps
from tidelog.stores.wire import Argument, Packed, copy_format

# Of one step, as for events that are applied.
STEP_BLOCKS = 1024
STEP_SPAN_BLOCKS = 1 << 19


class LateKeys(Keys):
    """Keys with a generation's before-images in the place of the live blocks."""

    __slots__ = ("_generation",)

    def __init__(self, group: str, generation: int) -> None:
        super().__init__(group)
        self._generation = generation

    def block_format(self, volume: int) -> bytes:
        """A %-format of one argument, the block number."""
        return self.before_format(self._generation, volume)


class LateValues:
    """Carries out events on the blocks of ``generation``, whose bits are ``fold``'s, in commands of bounded size."""

    def __init__(
        self, image: Image, keys: Keys, read: ReadBitmaps, fold: LateFold, elder: int, generation: int, limits: Limits
    ) -> None:
        self._image, self._keys, self._read, self._fold, self._limits = image, keys, read, fold, limits
        self._elder, self._generation = elder, generation
        self._late_keys = LateKeys(keys.group, generation)
        self.gone: set[int] = set()  # volumes whose blocks are not here any more
        self.behind = False  # whether the events are behind the late copy's time
        self._changes: dict[int, BlockChanges] = {}
        self._size = self._writes = 0
        self._known: dict[int, ChangeBitmap] = {}  # every block ever named, by volume
        self._layers: dict[tuple[int, int], ChangeBitmap] = {}

    def apply(self, event: Event) -> Iterator[list[Command]]:
        """The commands of an event, each list for one transaction; what they leave over comes with `flush`."""
        if isinstance(event, WriteBatch):
            self._write(event)
            if self._size > self._limits.bytes_max or self._writes > self._limits.writes_max:
                yield self.flush()
        elif isinstance(event, Discard):
            yield from self._zeros(self._fold.known(event.volume), event.offset, event.offset + event.length)
        elif isinstance(event, VolumeCreated | VolumeDeleted | VolumeResized):
            if isinstance(event, VolumeResized) and event.size < (before := self._fold.known(event.volume)).size:
                yield from self._zeros(before, event.size, before.size)
            yield self.flush()
        elif isinstance(event, VolumeCopied):
            yield self.flush()
            yield from self._copy(event)

    def apply_behind(self, event: Event) -> Iterator[list[Command]]:
        """Likewise of an event behind the time: what it does to volumes that are gone."""
        if isinstance(event, VolumeCopied):
            if event.target in self.gone:
                raise OutOfWindow(
                    f"volume {event.target} was in the copy and is deleted since, and a copy went onto it in between",
                    sequence=event.sequence,
                )
        elif isinstance(event, WriteBatch):
            if self.gone.intersection(event.volumes):
                yield from self.apply(event)
        elif getattr(event, "volume", None) in self.gone:
            yield from self.apply(event)

    def flush(self) -> list[Command]:
        """The commands of what is gathered; none if nothing is."""
        found: list[Command] = []
        for volume, changes in self._changes.items():
            if volume in self.gone:
                commands = Commands()
                changes.emit(commands, self._keys, self._generation if self.behind else self._elder)
                if not self.behind:
                    self._fold.name((volume, changes.entries.keys(), changes.ranges))
                found += commands.all()
                continue
            named, known = self._fold.bits(volume), self._known_of(volume)
            load = copy_format(self._keys.before_format(self._elder, volume), self._late_keys.block_format(volume))
            loads: list[Argument] = [
                load % (block, block)
                for block, entry in changes.entries.items()
                if isinstance(entry, tuple | Patches) and block not in named and block in known
            ]
            if loads and self._elder:
                found.append(Packed(len(loads), loads))
            dirty = self._fold.name((volume, changes.entries.keys(), changes.ranges))
            known.merge(named)
            commands = Commands()  # their bits are set, so no before-images are kept
            changes.emit(commands, self._late_keys, self._generation)
            found += commands.all()
            found += bit_commands(self._keys.bitmap(self._generation, volume), named, (), dirty)
        self._changes = {}
        self._size = self._writes = 0
        return found

    def _changes_of(self, volume: VolumeInfo) -> BlockChanges:
        if volume.id not in self._changes:
            bits = self._fold.after if self.behind else self._fold.named
            changed = bits.setdefault(volume.id, ChangeBitmap())
            self._changes[volume.id] = BlockChanges(volume, changed, self._known_of(volume.id))
        return self._changes[volume.id]

    def _known_of(self, volume: int) -> ChangeBitmap:
        """Every block of a volume named before the elder copy, or since: any other is absent."""
        if volume not in self._known:
            before = [generation for generation in (0, *self._image.copies) if generation < self._elder]
            known = self._known[volume] = ChangeBitmap(self._fold.bits(volume).bits)
            for bitmap in self._read(volume, before):
                known.merge(bitmap)
        return self._known[volume]

    def _write(self, batch: WriteBatch) -> None:
        view = memoryview(batch.data)
        start = 0
        for volume, offset, length in zip(batch.volumes, batch.offsets, batch.lengths, strict=True):
            if not self.behind or volume in self.gone:
                self._changes_of(self._fold.known(volume)).write(offset, view[start : start + length])
            start += length
        self._size += start
        self._writes += len(batch.lengths)

    def _zeros(self, volume: VolumeInfo, offset: int, end: int) -> Iterator[list[Command]]:
        shift = volume.block_size.bit_length() - 1
        done, stop = offset >> shift, -(-end >> shift)
        while done < stop:
            changes = self._changes_of(volume)
            until = changes.discard_limit(done, stop, STEP_BLOCKS, STEP_SPAN_BLOCKS)
            changes.discard(max(offset, done << shift), min(end, until << shift))
            self._writes += min(until - done, STEP_BLOCKS)
            if until < stop or self._writes > self._limits.writes_max:
                yield self.flush()
            done = until

    def _copy(self, event: VolumeCopied) -> Iterator[list[Command]]:
        source, target = event.source, event.target
        first = self._source_generation(event)
        since = ChangeBitmap()
        if first is not None:
            for generation in [one for one in self._image.copies if first <= one < self._elder]:
                since.merge(self._layer(generation, source))
            since.merge(self._fold.bits(source))
        shipped = ChangeBitmap(unpack_bitmap(event, self._fold.known(target).blocks))
        onto = self._keys_of(target).block_format(target)
        bits_key = self._keys.bitmap(self._elder if target in self.gone else self._generation, target)
        while shipped.count:
            blocks = list(islice(shipped.blocks(), STEP_BLOCKS))
            wanted = ChangeBitmap(shipped.bits[: (blocks[-1] >> 3) + 1])
            wanted.discard_range(blocks[-1] + 1, len(wanted.bits) * 8)
            shipped.discard_range(0, blocks[-1] + 1)
            copies: list[Argument] = []
            for place, found in self._places(source, first, wanted):
                copy_of = copy_format(place, onto)
                copies += (copy_of % (block, block) for block in found.blocks())
            dirty = self._fold.name((target, blocks, ()))
            if target in self._known:
                self._known[target].merge(self._fold.bits(target))
            gone: Command = (b"DEL", *(onto % block for block in blocks))
            bits = bit_commands(bits_key, self._fold.bits(target), (), dirty)
            yield [gone, Packed(len(copies), copies), *bits]
        if source != target:
            self._fold.pairs[source, target] = since

    def _source_generation(self, event: VolumeCopied) -> int | None:
        """The generation of the source copy; None if the source was copied live."""
        wanted = event.source_copy_sequence, event.source_copy_seal
        if wanted == (0, bytes(16)):
            return None
        for generation, copy in self._image.copies.items():
            if (copy.sequence, copy.seal, copy.origin) == (*wanted, CopyOrigin.MARKER) and generation <= self._elder:
                return generation
        raise OutOfWindow(
            f"on the way to that time the log copies volume {event.source} as it was in the copy of sequence"
            f" {event.source_copy_sequence}, which this site does not hold any more",
            sequence=event.sequence,
        )

    def _places(self, source: int, first: int | None, wanted: ChangeBitmap) -> Iterator[tuple[bytes, ChangeBitmap]]:
        """Where the source's blocks are: key format and blocks."""
        if first is None:
            own = wanted & self._fold.bits(source)
            yield self._keys_of(source).block_format(source), own
            first, wanted = self._elder, wanted - own
        generations = [one for one in (0, *self._image.copies) if one >= first]
        layers = {generation: self._layer(generation, source).bits for generation in generations}
        for generation, found in sources(layers, wanted).items():
            if generation is None:
                yield self._keys.block_format(source), found
            elif generation:  # generation 0 has no before-images: what it names was never there before
                yield self._keys.before_format(generation, source), found

    def _keys_of(self, volume: int) -> Keys:
        return self._keys if volume in self.gone else self._late_keys

    def _layer(self, generation: int, volume: int) -> ChangeBitmap:
        """A bitmap as it is now: of the newest generation the planner's own, others stay what they are."""
        if generation == self._image.position.generation and volume in self._image.changed:
            return self._image.changed[volume]
        if (generation, volume) not in self._layers:
            (self._layers[generation, volume],) = self._read(volume, [generation])
        return self._layers[generation, volume]
