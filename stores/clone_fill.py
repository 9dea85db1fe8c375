"""Filling a clone from the log: what events did behind its copy, carried out on the clone's own blocks.

Every EXEC is conditional on the clone's own key, which whoever begins to fill it changes: of two, the later goes on and
the earlier writes no more. The record says up to which event all is there, and changes in the same EXEC as the blocks.
Of the event behind that, a part may be there too: done again it gives the same, since no event reads what it changes.

What was never named since the copy is the copy's, which the clone holds. Writes and discards are put together as a site
puts them (`BlockChanges`); a block that is changed in part for the first time is read from the copy before.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Self, cast

from tidelog.errors import OutOfWindow
from tidelog.schemas.block_bitmap import unpack_bitmap
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Discard, Event, VolumeCopied, VolumeCreated, VolumeDeleted, VolumeResized, WriteBatch
from tidelog.schemas.volumes import VolumeInfo, VolumeTable, impossible_event
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.clone_claim import CloneClaim
from tidelog.stores.clone_keys import CloneKeys, OwnBlocks
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.named import windows
from tidelog.stores.placing import placing
from tidelog.stores.reading import CopyReader
from tidelog.stores.store import Clone, Copy, CopyOrigin, Identity
from tidelog.stores.transaction import BlockChanges, Commands, Limits

# Of one transaction, as for events that are applied.
STEP_BLOCKS = 1024
STEP_SPAN_BLOCKS = 1 << 19
LIMITS = Limits()
_READ_BYTES = 1 << 20


@placing
class CloneFill:
    """See the module. From `Clones.fill`; not thread-safe; close it, or use it as a context manager.

    Every method raises `StoreUnavailable`, also when another process has begun to fill the same clone; `NotFound` once
    the clone was dropped or the site rebuilt; `SiteBehind` while it is being rebuilt.
    """

    def __init__(self, keyspace: Keyspace, identity: Identity, clone: Clone) -> None:
        self.identity, self.clone = identity, clone
        self._keyspace, self._keys = keyspace, Keys(identity.group)
        self._own_keys = CloneKeys(identity.group, clone.id)
        self._limits = LIMITS
        self._own: dict[int, OwnBlocks] = {}
        self._changes: dict[int, BlockChanges] = {}
        self._size = self._writes = 0
        self._claim = CloneClaim(keyspace, self._keys, clone)
        self.clone = self._sent = self._claim.clone
        self._table = VolumeTable(self.clone.image.volumes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; what is on its way may or may not take effect."""
        self._claim.close()

    @property
    def reached(self) -> Copy:
        """What the clone is once all that was given is written."""
        return self.clone.image

    @property
    def volumes(self) -> VolumeTable:
        """The volumes there."""
        return self._table

    def apply(self, event: Event, head: Head, cluster_id: str, copies: list[Copy]) -> None:
        """Carries out an event that can be true of `volumes`, or the part of a batch that lies behind `reached`;
        ``head`` is what is reached with it, in the log of ``cluster_id``. ``copies`` are held by whoever calls, for a
        copy onto a volume from one of them.

        Raises `OutOfWindow` if none of them is the one that it needs, `CorruptEvent` for one that no writer sends.
        """
        if isinstance(event, WriteBatch):
            self._write(event)
        elif isinstance(event, Discard):
            self._zeros(self._volume(event, event.volume), event.offset, event.offset + event.length)
        elif isinstance(event, VolumeCopied):
            self._copy(event, copies)
        elif isinstance(event, VolumeResized) and event.size < (before := self._volume(event, event.volume)).size:
            self._zeros(before, event.size, before.size)
        gone: list[Command] = []
        if isinstance(event, VolumeDeleted):
            gone = self._take_away(event.volume)
        if isinstance(event, VolumeCreated | VolumeDeleted | VolumeResized):
            self._flush()  # with the sizes as they were
            self._table.fold(event)
        self._reach(head, cluster_id)
        if gone or self._size > self._limits.bytes_max or self._writes > self._limits.writes_max:
            self._flush(gone)

    def load(self, copy: Copy, stream: Callable[[VolumeInfo], Iterable[bytes]]) -> Clone:
        """Makes the clone what ``copy`` is, which the store has not got, and declares it whole: ``stream`` gives a
        volume's bytes from elsewhere, in order. Blocks of zeros are left out. Cut short it is done again."""
        self._table = VolumeTable(copy.volumes)
        # The record first: who drops a clone asks it which volumes there are.
        self.clone = replace(self.clone, reached=replace(self.clone.image, volumes=copy.volumes))
        self._flush()
        for volume in copy.volumes:
            offset = 0
            for part in stream(volume):
                changes = self._changes_of(volume)
                for at in range(0, len(part), volume.block_size):
                    data = memoryview(part)[at : at + volume.block_size]
                    if part.count(0, at, at + len(data)) < len(data):
                        changes.write(offset + at, data)
                offset += len(part)
                self._flush()
        self._reach(copy.head, copy.cluster_id)
        return self.finish()

    def finish(self) -> Clone:
        """Writes what is left, and declares the clone whole; nothing is applied any more."""
        self._flush()
        count = sum(self._own_of(volume).bits.count for volume in self._table)
        image = replace(self.clone.image, blocks_changed=count)
        self.clone = replace(self.clone, reached=image, forming=False)
        self._claim.send([], self.clone)
        self._claim.settle()
        return self.clone

    # --- what events do to blocks ---

    def _write(self, batch: WriteBatch) -> None:
        """As `tidelog.stores.plan`, with the same short way for a write within one block."""
        data, start, current = batch.data, 0, -1
        view = memoryview(data)
        for volume, offset, length in zip(batch.volumes, batch.offsets, batch.lengths, strict=True):
            if volume != current:
                current, changes = volume, self._changes_of(self._volume(batch, volume))
                entries, shift, mask = changes.entries, changes.shift, changes.mask
                block_size, size = changes.volume.block_size, changes.volume.size
            end, inner = start + length, offset & mask
            if length == block_size and not inner:
                entries[offset >> shift] = view[start:end]
            elif inner + length > block_size or offset + length == size:
                changes.write(offset, view[start:end])
            else:
                changes.patch(offset >> shift, inner, data[start:end])
            start = end
        self._size += start
        self._writes += len(batch.lengths)

    def _zeros(self, volume: VolumeInfo, offset: int, end: int) -> None:
        shift = volume.block_size.bit_length() - 1
        done, stop = offset >> shift, -(-end >> shift)
        while done < stop:
            changes = self._changes_of(volume)
            until = changes.discard_limit(done, stop, STEP_BLOCKS, STEP_SPAN_BLOCKS)
            changes.discard(max(offset, done << shift), min(end, until << shift))
            self._writes += min(until - done, STEP_BLOCKS)
            if until < stop:
                self._flush()
            done = until

    def _copy(self, event: VolumeCopied, copies: list[Copy]) -> None:
        self._flush()
        source, target = self._volume(event, event.source), self._volume(event, event.target)
        place = _source_copy(event, copies)
        if place is not None:
            source = next((row for row in place.volumes if row.id == event.source), source)
        if source.block_size != target.block_size or source.size > target.size:
            raise impossible_event(event, f"copies {source.size} bytes to {target.size}")
        shipped = ChangeBitmap(unpack_bitmap(event, target.blocks))
        while shipped.count:
            blocks = list(islice(shipped.blocks(), STEP_BLOCKS))
            wanted = ChangeBitmap(shipped.bits[: (blocks[-1] >> 3) + 1])
            wanted.discard_range(blocks[-1] + 1, len(wanted.bits) * 8)
            shipped.discard_range(0, blocks[-1] + 1)
            for found in self._source_blocks(source, place, wanted):
                entries = self._changes_of(target).entries
                entries.update((block, memoryview(data) if data else None) for block, data in found)
            self._flush()

    def _source_blocks(
        self, source: VolumeInfo, place: Copy | None, wanted: ChangeBitmap
    ) -> Iterator[list[tuple[int, bytes | None]]]:
        """The wanted blocks of a volume as it is here, or was in the copy ``place``."""
        reader = None if place is None else CopyReader(self._keyspace, self._keys, source, place)
        for base, part in windows(wanted, _READ_BYTES // source.block_size):
            found = self._blocks(source, base, part) if reader is None else reader.blocks(base, part)
            yield [(block, found.get(block)) for block in (base + index for index in part.blocks())]

    def _blocks(self, volume: VolumeInfo, base: int, wanted: ChangeBitmap) -> dict[int, bytes]:
        """The contents here of the blocks ``base`` + n for all n in ``wanted``; nothing must be on its way."""
        self._claim.settle()
        blocks = self._own_of(volume)
        own = [block for block in (base + index for index in wanted.blocks()) if block in blocks.bits]
        rest = ChangeBitmap(wanted.bits)
        for block in own:
            rest.discard_range(block - base, block - base + 1)
        found = blocks.base(base, rest)
        if own:
            key_of = self._own_keys.block_format(volume.id)
            (replies,) = self._keyspace.transact([(b"MGET", *(key_of % block for block in own))])
            contents = zip(own, cast("list[bytes | None]", replies), strict=True)
            found |= {block: content for block, content in contents if content is not None}
        return found

    def _take_away(self, volume: int) -> list[Command]:
        """Takes a deleted volume's own blocks away; the commands for the step in which it leaves the table."""
        self._flush()
        info = self._table.get(volume)
        left = ChangeBitmap(self._own_of(info).bits.bits) if info is not None else ChangeBitmap()
        key_of = self._own_keys.block_format(volume)
        while left.count:
            self._claim.send([(b"DEL", *(key_of % block for block in left.take(STEP_BLOCKS)))], self.clone)
        self._own.pop(volume, None)
        return [(b"DEL", self._own_keys.bitmap(0, volume))]

    # --- towards Redis ---

    def _reach(self, head: Head, cluster_id: str) -> None:
        image = replace(
            self.clone.image,
            sequence=head.sequence,
            seal=head.seal,
            epoch=head.epoch,
            writer=head.writer,
            timestamp_us=head.timestamp_us,
            offset=head.offset,
            cluster_id=cluster_id,
            volumes=tuple(self._table),
        )
        self.clone = replace(self.clone, reached=image)

    def _flush(self, more: list[Command] | None = None) -> None:
        """Sends what is gathered, and the record as it is then."""
        found = Commands()
        for volume, changes in self._changes.items():
            self._own[volume].complete(changes)
            changes.emit(found, self._own_keys, 0)
        commands = found.all() + (more or [])
        self._changes = {}
        self._size = self._writes = 0
        if commands or self.clone != self._sent:
            self._claim.send(commands, self.clone)
            self._sent = self.clone

    # --- in memory ---

    def _volume(self, event: Event, volume: int) -> VolumeInfo:
        found = self._table.get(volume)
        if found is None:
            raise impossible_event(event, f"names volume {volume}, which does not exist")
        return found

    def _changes_of(self, volume: VolumeInfo) -> BlockChanges:
        if volume.id not in self._changes:
            self._changes[volume.id] = self._own_of(volume).changes(volume)
        return self._changes[volume.id]

    def _own_of(self, volume: VolumeInfo) -> OwnBlocks:
        if volume.id not in self._own:
            (bits,) = self._keyspace.transact([(b"GET", self._own_keys.bitmap(0, volume.id))])
            blocks = OwnBlocks(self._keyspace, self._keys, self.clone, volume.id, cast("bytes | None", bits))
            self._own[volume.id] = blocks
        return self._own[volume.id]


def _source_copy(event: VolumeCopied, copies: list[Copy]) -> Copy | None:
    """The copy that the event copies from; None for the live source."""
    wanted = event.source_copy_sequence, event.source_copy_seal
    if wanted == (0, bytes(16)):
        return None
    for copy in copies:
        if (copy.sequence, copy.seal, copy.origin) == (*wanted, CopyOrigin.MARKER):
            return copy
    raise OutOfWindow(
        f"on the way there the log copies volume {event.source} as it was in the copy of sequence"
        f" {event.source_copy_sequence}, which this site does not hold any more",
        hint=f"choose a moment before sequence {event.sequence}, one behind a copy that was made after it, or a site"
        " that holds that copy: tidelog pitc list",
        sequence=event.sequence,
    )
