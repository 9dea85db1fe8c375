"""What the log makes of a copy's blocks since it was cut: the live content of those that events have named.

A small fold of its own, in plain Python and memory: a resync holds a store against it, so it shares nothing with what
applies events to stores.
"""

from collections.abc import Callable

from tidelog.errors import OutOfWindow
from tidelog.schemas.events import Discard, Event, VolumeCopied, VolumeDeleted, VolumeResized, WriteBatch
from tidelog.schemas.volumes import VolumeInfo, VolumeTable
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.store import Copy

# The contents of wanted blocks of a volume in the copy; absent ones are zeros.
Read = Callable[[VolumeInfo, ChangeBitmap], dict[int, bytes]]

# What is kept in memory at most; a newer copy leaves less to keep.
BYTES_MAX = 256 << 20
BLOCKS_MAX = 1 << 20


class LiveFold:
    """Begins at a copy; `take` goes on by one event. ``sequence`` is that of the last event or write in it."""

    def __init__(self, copy: Copy, read: Read) -> None:
        self.table = VolumeTable(copy.volumes)
        self.sequence = copy.sequence
        self.named: dict[int, ChangeBitmap] = {}
        self._copy, self._read = copy, read
        self._base = {volume.id: volume for volume in copy.volumes}
        self._blocks: dict[int, dict[int, bytearray]] = {}
        self._bytes = 0

    def content(self, volume: int, block: int) -> bytes:
        """A block that was named, without the zeros at its end."""
        return bytes(self._blocks[volume].get(block, b"")).rstrip(b"\0")

    def take(self, event: Event) -> None:
        """The next event. Raises `OutOfWindow` for one that cannot be followed from here, or if it is too much."""
        if isinstance(event, VolumeCopied):
            raise OutOfWindow(f"a volume was copied onto another since copy {self._copy.name}", sequence=event.sequence)
        if isinstance(event, WriteBatch):
            self._write(event)
        elif isinstance(event, Discard):
            self._zeros(event.volume, event.offset, event.offset + event.length)
        elif isinstance(event, VolumeResized):
            before = self._known(event.volume)
            if event.size < before.size:
                self._zeros(event.volume, event.size, before.size)
        elif isinstance(event, VolumeDeleted):
            gone = self._blocks.pop(event.volume, {})
            self._bytes -= len(gone) * self._known(event.volume).block_size
        self.table.fold(event)
        self.sequence = event.last_sequence
        if self._bytes > BYTES_MAX or sum(found.count for found in self.named.values()) > BLOCKS_MAX:
            raise OutOfWindow(f"more was written since copy {self._copy.name} than can be looked at")

    def _write(self, event: WriteBatch) -> None:
        parts: list[tuple[int, int, bytes]] = []
        at = 0
        for index, length in enumerate(event.lengths):
            if event.sequence + index > self.sequence:  # the copy may end within a batch
                parts.append((event.volumes[index], event.offsets[index], event.data[at : at + length]))
            at += length
        touched: dict[int, ChangeBitmap] = {}
        replaced: dict[int, ChangeBitmap] = {}
        for volume, offset, data in parts:
            size, end = self._known(volume).block_size, offset + len(data)
            touched.setdefault(volume, ChangeBitmap()).add_range(offset // size, -(-end // size))
            replaced.setdefault(volume, ChangeBitmap()).add_range(-(-offset // size), end // size)
        for volume, blocks in touched.items():
            self._name(volume, blocks, keep=blocks - replaced[volume])
        for volume, offset, data in parts:
            self._put(volume, offset, data)

    def _put(self, volume: int, offset: int, data: bytes) -> None:
        size, there = self._known(volume).block_size, self._blocks[volume]
        at = 0
        while at < len(data):
            block, start = divmod(offset + at, size)
            count = min(size - start, len(data) - at)
            if block not in there:  # a discard has left zeros
                there[block] = bytearray(size)
                self._bytes += size
            there[block][start : start + count] = data[at : at + count]
            at += count

    def _zeros(self, volume: int, first_byte: int, end_byte: int) -> None:
        info = self._known(volume)
        size = info.block_size
        first, end = first_byte // size, -(-end_byte // size)
        named, edges = ChangeBitmap(), ChangeBitmap()
        named.add_range(first, end)
        if first_byte % size:
            edges.add(first)
        if end_byte % size and end_byte != info.size:
            edges.add(end - 1)
        self._name(volume, named, keep=edges)
        there = self._blocks[volume]
        for block in [block for block in there if first <= block < end]:
            start = max(0, first_byte - block * size)
            stop = min(size, end_byte - block * size)
            if start == 0 and block not in edges:
                del there[block]
                self._bytes -= size
            else:
                there[block][start:stop] = bytes(stop - start)

    def _name(self, volume: int, blocks: ChangeBitmap, keep: ChangeBitmap) -> None:
        """Names blocks, and has those that were not named yet as they were in the copy, if they are to be kept."""
        info, there = self._known(volume), self._blocks.setdefault(volume, {})
        known = self.named.setdefault(volume, ChangeBitmap())
        fresh = (blocks & keep) - known
        base = self._base.get(volume)
        found = self._read(base, fresh) if base is not None and fresh.count else {}
        for block in fresh.blocks():
            there[block] = bytearray(found.get(block, b"")[: info.block_size].ljust(info.block_size, b"\0"))
            self._bytes += info.block_size
        known.merge(blocks)

    def _known(self, volume: int) -> VolumeInfo:
        found = self.table.get(volume)
        if found is None:
            raise OutOfWindow(f"the log names volume {volume}, which copy {self._copy.name} does not lead to")
        return found
