"""From events to transactions: pure, no Redis here (zrepl's "plan, then drive").

A `Planner` takes the applier's picture of the store and a run of events, and yields transactions whose last command
sets the position. It changes the picture as it goes; whoever could not carry out a transaction throws both away.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from tidelog.errors import Halted
from tidelog.schemas.chain import Head
from tidelog.schemas.events import (
    CopyDropped,
    Discard,
    Event,
    Marker,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
    WriteBatch,
)
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.records import encode_copy, encode_position, encode_volume
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyState, Position
from tidelog.stores.transaction import BlockChanges, Commands
from tidelog.stores.validation import validate

# One step of an event too large for one transaction: so many commands, or so many bits, that Redis is busy for some ms.
STEP_BLOCKS = 4096
STEP_SPAN_BLOCKS = 1 << 19


@dataclass(frozen=True, slots=True)
class Limits:
    """When a transaction that several events share is closed: at so many bytes of data or so many writes.

    Measured, 4 KiB writes applied: 221 MiB/s with transactions of 256 KiB, 242 of 512, 247 to 290 of 1 MiB, which keeps
    Redis busy for about a millisecond (``python -m benchmarks --only apply-4k``).
    """

    bytes_max: int = 1024 * 1024
    writes_max: int = 4096


@dataclass(frozen=True, slots=True)
class Transaction:
    """Commands for one EXEC, the last of which sets ``position``; ``value`` is that as stored."""

    commands: list[Command]
    position: Position
    value: bytes


class Planner:
    """Plans on ``image``, which it owns and keeps up to date."""

    def __init__(self, keys: Keys, image: Image, cluster_id: str, limits: Limits) -> None:
        self.image = image
        self._keys = keys
        self._cluster_id = cluster_id
        self._limits = limits
        self._clear(image.position.head)

    def plan(self, run: Iterable[tuple[Event, int]]) -> Iterator[Transaction]:
        """The transactions that apply a run of (event, offset). An event is validated before any command of it;
        when one cannot be applied (`CorruptEvent`, `UnsupportedEvent`, `LogGap`), those before it come first.
        """
        for event, offset in run:
            try:
                validate(event, offset, self._head, self.image)
            except Halted:
                yield from self._flush()
                raise
            yield from self._event(event, self._head.after(event, offset))
        yield from self._flush()

    def close(self, commands: list[Command], position: Position) -> Transaction:
        """The transaction of ``commands`` that moves the store to ``position``."""
        value = encode_position(position)
        self.image.position = position
        commands.append((b"SET", self._keys.position, value))
        return Transaction(commands, position, value)

    def _event(self, event: Event, after: Head) -> Iterable[Transaction]:
        if isinstance(event, WriteBatch):
            return self._share(len(event.data), len(event.lengths), lambda: self._write(event), after)
        if isinstance(event, Discard):
            return self._discard(event, after)
        if isinstance(event, VolumeCreated | VolumeDeleted | VolumeResized):
            return self._volume(event, after)
        if isinstance(event, Marker):
            return self._cut(event, after)
        if isinstance(event, CopyDropped):
            return self._drop(event, after)
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
            changes = BlockChanges(volume, image.changed[volume.id], image.named[volume.id])
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

    def _moved(self, after: Head) -> Position:
        return replace(self.image.position, head=after, cluster_id=self._cluster_id, step=0, step_seal=b"")

    # --- tables ---

    def _volume(self, event: VolumeCreated | VolumeDeleted | VolumeResized, after: Head) -> Iterator[Transaction]:
        image, keys = self.image, self._keys
        before = None if isinstance(event, VolumeCreated) else self._known(event.volume)
        if isinstance(event, VolumeResized) and before is not None and event.size < before.size:
            row = encode_volume(replace(before, size=event.size))
            commands: list[Command] = [(b"HSET", keys.volumes, b"%d" % before.id, row)]
            yield from self._steps(event, before, event.size, before.size, commands, after)
            image.volumes.fold(event)
            return
        yield from self._flush()
        image.volumes.fold(event)
        if isinstance(event, VolumeDeleted) and before is not None:
            field = b"%d" % before.id
            image.deleted[before.id] = before
            del image.changed[before.id], image.named[before.id]
            commands = [(b"HDEL", keys.volumes, field), (b"HSET", keys.deleted, field, encode_volume(before))]
        else:
            number = event.sequence if isinstance(event, VolumeCreated) else event.volume
            image.changed.setdefault(number, ChangeBitmap())
            image.named.setdefault(number, ChangeBitmap())
            commands = [(b"HSET", keys.volumes, b"%d" % number, encode_volume(self._known(number)))]
        self._head = after
        yield self.close(commands, self._moved(after))

    def _cut(self, event: Marker, after: Head) -> Iterator[Transaction]:
        """One EXEC, whatever the size of the volumes: the copy's record, and a generation with nothing in it."""
        yield from self._flush()
        image = self.image
        position = self._moved(after)
        position = replace(position, generation=position.generation + 1, layout=position.layout + 1)
        copy = Copy(
            position.generation,
            event.sequence,
            event.seal,
            event.name,
            event.timestamp_us,
            tuple(image.volumes),
            sum(image.changed[volume.id].count for volume in image.volumes),
        )
        image.copies[copy.generation] = copy
        for volume in image.volumes:
            image.changed[volume.id] = ChangeBitmap()
        self._head = after
        yield self.close([(b"HSET", self._keys.copies, b"%d" % copy.generation, encode_copy(copy))], position)

    def _drop(self, event: CopyDropped, after: Head) -> Iterator[Transaction]:
        yield from self._flush()
        wanted = event.copy_sequence, event.copy_seal
        image = self.image
        position = self._moved(after)
        commands: list[Command] = []
        for copy in list(image.copies.values()):
            if (copy.sequence, copy.seal) == wanted and copy.state is CopyState.FORMED:
                commands.append(self.mark_dropping(copy))
                position = replace(position, layout=position.layout + 1)
        self._head = after
        yield self.close(commands, position)

    def mark_dropping(self, copy: Copy) -> Command:
        """The command that makes a copy unreadable and due for dropping; the layout is the caller's to raise."""
        copy = replace(copy, state=CopyState.DROPPING)
        self.image.copies[copy.generation] = copy
        return (b"HSET", self._keys.copies, b"%d" % copy.generation, encode_copy(copy))

    def _known(self, volume: int) -> VolumeInfo:
        found = self.image.volumes.get(volume)
        assert found is not None, "validated before it was planned"
        return found
