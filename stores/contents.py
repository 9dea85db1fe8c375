"""The blocks of one copy, in order and in bounded memory: what exports and exact diffs read."""

from collections.abc import Iterator
from typing import Protocol

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.digest import block_digest, digest_bytes
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.named import named_between, windows
from tidelog.stores.placing import placing
from tidelog.stores.reading import CopyReader
from tidelog.stores.store import Copy, Identity

# Read at once: enough that round trips do not count, and not more than a processor's cache holds on its way to a file
# (``python -m benchmarks --only export``).
WINDOW_BYTES = 1 << 20

# A block's number and content. Content shorter than the block is padded with zeros; empty, the block is all zeros.
Block = tuple[int, bytes]


class BlockReader(Protocol):
    """Reads of one volume."""

    def blocks(self, base: int, wanted: ChangeBitmap) -> dict[int, bytes]:
        """The contents of the blocks ``base`` + n for all n in ``wanted``; absent ones are all zeros. ``base`` is a
        multiple of 8."""


@placing
class CopyContents:
    """A copy's blocks. From `Store.contents`.

    Every method raises `NotFound` when the copy is dropped meanwhile, `SiteBehind` while the site is being rebuilt.
    """

    def __init__(self, keyspace: Keyspace, identity: Identity, copy: Copy) -> None:
        self.identity, self.copy = identity, copy
        self._keyspace = keyspace
        self._keys = Keys(identity.group)

    def named(self, volume: VolumeInfo, elder: Copy | None = None) -> ChangeBitmap:
        """The blocks of a volume that events have named between ``elder`` (None: the beginning) and this copy."""
        return named_between(self._keyspace, self._keys, volume.id, elder, self.copy)

    def unshared(self, volume: VolumeInfo, elder: Copy) -> ChangeBitmap:
        """Those, and what a lost history has named in between: all that is twice in the store, for both copies."""
        return named_between(self._keyspace, self._keys, volume.id, elder, self.copy, lost=True)

    def reader(self, volume: VolumeInfo) -> BlockReader:
        """Reads of one volume, block by block."""
        return CopyReader(self._keyspace, self._keys, volume, self.copy)

    def blocks(self, volume: VolumeInfo, wanted: ChangeBitmap) -> Iterator[list[Block]]:
        """Every block of ``wanted`` as it was in the copy, in ascending order, those of some MiB at a time."""
        reader = self.reader(volume)
        for base, part in windows(wanted, WINDOW_BYTES // volume.block_size):
            found = reader.blocks(base, part)
            yield [(block, found.get(block, b"")) for block in (base + index for index in part.blocks())]

    def digest_of(self, volume: VolumeInfo, wanted: ChangeBitmap) -> bytes:
        """What the blocks of ``wanted`` add to the volume's digest, 16 bytes; of all named blocks, the digest."""
        return digest_bytes(
            block_digest(volume.id, block, content, volume.block_size)
            for found in self.blocks(volume, wanted)
            for block, content in found
            if content
        )
