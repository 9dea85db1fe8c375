"""A clone's own blocks in the place of live ones, so that what a site does with events (`BlockChanges`) is done there.

No before-images are kept of them: whatever is about to be changed has its bit in both bitmaps, or is absent.
"""

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import set_bits
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.named import windows
from tidelog.stores.reading import CopyReader
from tidelog.stores.store import Clone
from tidelog.stores.transaction import BlockChanges, Patches
from tidelog.stores.wire import Argument

_WINDOW_BYTES = 4 << 20
_ZEROS = memoryview(bytes(65536))


class CloneKeys(Keys):
    """Keys with a clone's own blocks and bitmaps in the place of the live blocks and of every generation's."""

    __slots__ = ("_clone",)

    def __init__(self, group: str, clone: str) -> None:
        super().__init__(group)
        self._clone = clone

    def block_format(self, volume: int) -> bytes:
        """A %-format of one argument, the block number."""
        return self.clone_format(self._clone, volume)

    def bitmap(self, generation: int, volume: int) -> bytes:  # noqa: ARG002 (a clone has no generations)
        """The key of the bitmap of what is the clone's own."""
        return self.clone_bitmap(self._clone, volume)


class OverlayChanges(BlockChanges):
    """Changes of blocks that may be in the clone's copy, though the clone has none of its own: a discard of a part of
    one is a change of that part, and what is changed behind a discard of the whole is changed over zeros."""

    __slots__ = ("_cleared",)

    def __init__(self, volume: VolumeInfo, own: ChangeBitmap, twin: ChangeBitmap) -> None:
        super().__init__(volume, own, twin)
        self._cleared = ChangeBitmap()

    def patch(self, block: int, start: int, data: Argument) -> None:
        """See `BlockChanges`."""
        if block in self._cleared:
            self.entries.setdefault(block, None)
        super().patch(block, start, data)

    def discard(self, first_byte: int, end_byte: int) -> None:
        """See `BlockChanges`."""
        super().discard(first_byte, end_byte)
        end = end_byte if end_byte == self.volume.size else end_byte & ~self.mask
        self._cleared.add_range(-(-first_byte >> self.shift), -(-end >> self.shift))

    def _blank(self, block: int, start: int, stop: int) -> None:
        self.patch(block, start, _ZEROS[: stop - start])


class OwnBlocks:
    """Which blocks of one volume are the clone's own: ``bits``, and a twin for what `BlockChanges` calls named."""

    def __init__(self, keyspace: Keyspace, keys: Keys, clone: Clone, volume: int, bits: bytes | None) -> None:
        self.bits, self.twin = ChangeBitmap(bits), ChangeBitmap(bits)
        info = clone.in_base(volume)
        self._reader = None if info is None else CopyReader(keyspace, keys, info, clone.base)

    def base(self, base: int, wanted: ChangeBitmap) -> dict[int, bytes]:
        """What the clone's copy has of the blocks ``base`` + n for all n in ``wanted``."""
        return self._reader.blocks(base, wanted) if self._reader is not None and wanted.count else {}

    def changes(self, volume: VolumeInfo) -> BlockChanges:
        """An empty transaction's."""
        return OverlayChanges(volume, self.bits, self.twin)

    def complete(self, changes: BlockChanges) -> None:
        """Puts together with what the copy has of them the blocks that are changed in part, and not the clone's own."""
        if self._reader is None:
            return
        size, entries = changes.volume.block_size, changes.entries
        partial = [block for block, entry in entries.items() if isinstance(entry, tuple | Patches)]
        wanted = ChangeBitmap()
        set_bits(wanted, [block for block in partial if block not in self.bits])
        for base, part in windows(wanted, _WINDOW_BYTES // size):
            for block, content in self.base(base, part).items():
                entries[block] = _patched(bytearray(content.ljust(size, b"\0")), entries[block])


def _patched(content: bytearray, entry: object) -> bytearray:
    parts: list[tuple[int, Argument]] = []
    if isinstance(entry, Patches):
        view = memoryview(entry.content)
        parts = [(low, view[low:high]) for low, high in entry.spans]
    elif isinstance(entry, tuple):
        parts = [entry]
    for start, data in parts:
        content[start : start + len(data)] = data
    return content
