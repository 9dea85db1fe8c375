"""From events to transactions: pure, no Redis here (zrepl's "plan, then drive").

A `Planner` takes the applier's picture of the store and a run of events, and yields transactions whose last command
sets the position. It changes the picture as it goes; whoever could not carry out a transaction throws both away.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tidelog.errors import Halted
from tidelog.schemas.chain import Head
from tidelog.schemas.events import (
    CopyDropped,
    CopyKept,
    CopyLocked,
    Discard,
    Event,
    Marker,
    VolumeCopied,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
    WriteBatch,
)
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.copy_changes import CopyChange, changed, relocated
from tidelog.stores.cut import new_generation
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.pairs import pairs_with
from tidelog.stores.records import encode_copy, encode_position, encode_volume
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyOrigin, CopyState, Position
from tidelog.stores.timed import DueCopy, due, part
from tidelog.stores.transaction import BlockChanges, Commands, Limits, Transaction
from tidelog.stores.validation import validate
from tidelog.stores.volume_changes import changed_tables
from tidelog.stores.volume_copy import ReadBitmaps, VolumeCopy

# One step of an event too large for one transaction: so many commands, or so many bits, that Redis is busy for some ms.
STEP_BLOCKS = 4096
STEP_SPAN_BLOCKS = 1 << 19


class Planner:
    """Plans on ``image``, which it owns and keeps up to date; only copies onto volumes ``read`` more of the store."""

    def __init__(self, keys: Keys, image: Image, cluster_id: str, limits: Limits, read: ReadBitmaps) -> None:
        self.image = image
        self._keys, self.read = keys, read
        self._cluster_id = cluster_id
        self._limits = limits
        self.orders: Sequence[DueCopy] = ()  # copies by time that are asked for; those that were cut do no harm
        self._clear(image.position.head)

    def plan(self, run: Iterable[tuple[Event, int]]) -> Iterator[Transaction]:
        """The transactions that apply a run of (event, offset). An event is validated before any command of it;
        when one cannot be applied (`CorruptEvent`, `CopyMissing`, `LogGap`), those before it come first.
        """
        for event, offset in run:
            try:
                validate(event, offset, self._head, self.image)
            except Halted:
                yield from self._flush()
                raise
            if self.orders:
                yield from self._cut_by_time(event)
            yield from self._event(event, self._head.after(event, offset))
        yield from self._flush()

    def close(self, commands: list[Command], position: Position) -> Transaction:
        """The transaction of ``commands`` that moves the store to ``position``."""
        value = encode_position(position)
        self.image.position = position
        commands.append((b"SET", self._keys.position, value))
        return Transaction(commands, position, value)

    def found(self, head: Head, offsets: Mapping[tuple[int, bytes], int]) -> Transaction:
        """The transaction that says where the head's record stands in this log, and those of copies."""
        self._clear(head)
        commands: list[Command] = []
        for copy in list(relocated(self.image.copies.values(), offsets, self._cluster_id)):
            self.image.copies[copy.generation] = copy
            commands.append((b"HSET", self._keys.copies, b"%d" % copy.generation, encode_copy(copy)))
        return self.close(commands, replace(self.image.position, head=head, cluster_id=self._cluster_id))

    def _event(self, event: Event, after: Head) -> Iterable[Transaction]:
        if isinstance(event, WriteBatch):
            inside = due(self.orders, self.image, self._head, event.timestamp_us) if self.orders else []
            if inside:
                return self._straddling(event, inside, after)
            return self._share(len(event.data), len(event.lengths), lambda: self._write(event), after)
        if isinstance(event, Discard):
            return self._discard(event, after)
        if isinstance(event, VolumeCreated | VolumeDeleted | VolumeResized):
            return self._volume(event, after)
        if isinstance(event, Marker):
            return self._cut(event, after)
        if isinstance(event, CopyDropped | CopyLocked | CopyKept):
            return self._change_copy(event, after)
        if isinstance(event, VolumeCopied):
            return self._volume_copied(event, after)
        return self._share(0, 0, lambda: None, after)  # heartbeats and openings move the position only

    # --- transactions that several events share ---

    def _clear(self, head: Head) -> None:
        self._head = head
        self._bytes = 0
        self._writes = 0
        self._changes: dict[int, BlockChanges] = {}

    def _share(self, size: int, writes: int, put: Callable[[], None], after: Head) -> Iterator[Transaction]:
        limits = self._limits
        if self._bytes + size > limits.bytes_max or self._writes + writes > limits.writes_max:
            yield from self._flush()
        put()
        self._bytes += size
        self._writes += writes
        self._head = after

    def _flush(self) -> Iterator[Transaction]:
        """The transaction of what is gathered, if anything is."""
        head, position = self._head, self.image.position
        if head == position.head:
            return
        commands = self._emit()
        yield self.close(commands, replace(position, head=head, cluster_id=self._cluster_id, step=0, step_seal=b""))

    def _emit(self) -> list[Command]:
        commands = Commands()
        generation = self.image.position.generation
        for changes in self._changes.values():
            changes.emit(commands, self._keys, generation)
        self._clear(self._head)
        return commands.all()

    def _block_changes(self, volume: VolumeInfo) -> BlockChanges:
        changes = self._changes.get(volume.id)
        if changes is None:
            image = self.image
            pairs = pairs_with(image.pairs, volume.id, self._keys)
            changes = BlockChanges(volume, image.changed[volume.id], image.named[volume.id], pairs)
            self._changes[volume.id] = changes
        return changes

    def _write(self, batch: WriteBatch) -> None:
        """The hot loop: 0.5 us a write that lies within one block."""
        data = batch.data
        view = memoryview(data)  # whole blocks are never copied; of small writes a copy costs less than a view
        current = -1
        start = 0
        for volume, offset, length in zip(batch.volumes, batch.offsets, batch.lengths, strict=True):
            if volume != current:
                current = volume
                changes = self._block_changes(self._known(volume))
                entries, shift, mask = changes.entries, changes.shift, changes.mask
                block_size, size = changes.volume.block_size, changes.volume.size
            end = start + length
            inner = offset & mask
            if length == block_size and not inner:
                entries[offset >> shift] = view[start:end]
            elif inner + length > block_size or offset + length == size:
                changes.write(offset, view[start:end])
            else:
                block = offset >> shift
                if block in entries:
                    changes.patch(block, inner, data[start:end])
                else:
                    entries[block] = (inner, data[start:end])
            start = end

    # --- extents: in one transaction if they are small, else in steps that the position counts ---

    def _discard(self, event: Discard, after: Head) -> Iterable[Transaction]:
        volume = self._known(event.volume)
        end = event.offset + event.length
        changes = BlockChanges(volume, self.image.changed[volume.id], self.image.named[volume.id])
        first, stop = event.offset >> changes.shift, -(-end >> changes.shift)
        fits = changes.discard_limit(first, stop, STEP_BLOCKS, STEP_SPAN_BLOCKS) == stop
        if fits and not self.image.position.step:
            cost = min(stop - first, STEP_BLOCKS)
            return self._share(0, cost, lambda: self._block_changes(volume).discard(event.offset, end), after)
        return self._steps(event, volume, event.offset, end, [], after)

    def _steps(
        self, event: Event, volume: VolumeInfo, offset: int, end: int, last: list[Command], after: Head
    ) -> Iterator[Transaction]:
        """Makes bytes ``offset`` to ``end`` zeros, a bounded number of blocks at a time, from where the position says
        that it was left; ``last`` goes into the last step, which alone moves the head."""
        yield from self._flush()
        image = self.image
        shift = volume.block_size.bit_length() - 1
        first, stop = offset >> shift, -(-end >> shift)
        done = first + image.position.step
        while True:
            changes = self._block_changes(volume)
            until = changes.discard_limit(done, stop, STEP_BLOCKS, STEP_SPAN_BLOCKS)
            if until > done:
                changes.discard(max(offset, done << shift), min(end, until << shift))
            commands = self._emit()
            if until == stop:
                break
            done = until
            yield self.close(commands, replace(image.position, step=done - first, step_seal=event.seal))
        self._head = after
        yield self.close(commands + last, self._moved(after))

    def _volume_copied(self, event: VolumeCopied, after: Head) -> Iterator[Transaction]:
        yield from self._flush()
        image = self.image
        copy = VolumeCopy(event, image, self._keys, self.read)
        done = image.position.step
        while (until := copy.limit(done)) < copy.end:
            yield self.close(copy.step(done, until), replace(image.position, step=until, step_seal=event.seal))
            done = until
        self._head = after
        yield self.close(copy.step(done, copy.end) + copy.finish(), self._moved(after))

    def _moved(self, after: Head) -> Position:
        return replace(self.image.position, head=after, cluster_id=self._cluster_id, step=0, step_seal=b"")

    # --- tables ---

    def _volume(self, event: VolumeCreated | VolumeDeleted | VolumeResized, after: Head) -> Iterator[Transaction]:
        image, keys = self.image, self._keys
        if isinstance(event, VolumeResized) and event.size < (before := self._known(event.volume)).size:
            row = encode_volume(replace(before, size=event.size))
            last: list[Command] = [(b"HSET", keys.volumes, b"%d" % before.id, row)]
            yield from self._steps(event, before, event.size, before.size, last, after)
            image.volumes.fold(event)
            return
        yield from self._flush()
        commands = changed_tables(image, keys, event)
        self._head = after
        yield self.close(commands, self._moved(after))

    def _cut(self, event: Marker, after: Head) -> Iterator[Transaction]:
        """One EXEC, whatever the size of the volumes: the copy's record, and a generation with nothing in it."""
        yield from self._flush()
        commands = self._new_generation(after, event.name, event.timestamp_us, CopyOrigin.MARKER)
        self._head = after
        yield self.close(commands, self._moved(after))

    def _new_generation(self, at: Head, name: str, timestamp_us: int, origin: CopyOrigin) -> list[Command]:
        event = at.epoch, at.writer, at.offset, self._cluster_id
        copy = Copy(0, at.sequence, at.seal, name, timestamp_us, (), 0, *event, origin=origin)
        return new_generation(self.image, self._keys, copy, self.read)

    # --- copies by time (US8788772): the timestamps in the events decide when ---

    def _cut_by_time(self, event: Event) -> Iterator[Transaction]:
        """The copies that end before ``event``, whose timestamp is past their time."""
        for order in due(self.orders, self.image, self._head, event.first_timestamp_us):
            yield from self._flush()
            commands = self._new_generation(self._head, order.name, order.at_us, CopyOrigin.TIME)
            yield self.close(commands, self.image.position)

    def _straddling(self, batch: WriteBatch, inside: list[DueCopy], after: Head) -> Iterator[Transaction]:
        """A batch with copies inside: its writes up to each time, the cut, and so on, all in one EXEC, so that the
        stored position never lies inside a batch (L8)."""
        yield from self._flush()
        commands: list[Command] = []
        done = 0
        for order in inside:
            count = bisect_right(batch.timestamps_us, order.at_us)
            self._write(part(batch, done, count))
            commands += self._emit()
            last = replace(after, sequence=batch.sequence + count - 1)
            commands += self._new_generation(last, order.name, order.at_us, CopyOrigin.TIME)
            done = count
        self._write(part(batch, done, len(batch.lengths)))
        commands += self._emit()
        self._head = after
        yield self.close(commands, self._moved(after))

    def _change_copy(self, event: CopyChange, after: Head) -> Iterator[Transaction]:
        """A copy's record after the event; what makes a copy unreadable and due for dropping raises the layout."""
        yield from self._flush()
        image = self.image
        position = self._moved(after)
        commands: list[Command] = []
        for before in list(image.copies.values()):
            copy = changed(before, event)
            if copy is before:
                continue
            image.copies[copy.generation] = copy
            commands.append((b"HSET", self._keys.copies, b"%d" % copy.generation, encode_copy(copy)))
            if copy.state is CopyState.DROPPING:
                position = replace(position, layout=position.layout + 1)
        self._head = after
        yield self.close(commands, position)

    def _known(self, volume: int) -> VolumeInfo:
        found = self.image.volumes.get(volume)
        assert found is not None, "validated before it was planned"
        return found
