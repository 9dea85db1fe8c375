"""A whole clone, block by block: its digest, and what an export of it reads.

It stands in for a copy: `CloneContents.copy` says of which moment it is, which is true while nothing was written in it.
"""

from typing import cast

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.clone_reader import CloneReader
from tidelog.stores.contents import CopyContents
from tidelog.stores.digest import copy_digest
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.named import named_between
from tidelog.stores.placing import placing
from tidelog.stores.store import Clone, Copy, Identity


@placing
class CloneContents(CopyContents):
    """A clone's blocks. From `CloneImage.contents`.

    Every method raises `NotFound` when the clone is dropped meanwhile, `SiteBehind` while the site is being rebuilt.
    """

    def __init__(self, keyspace: Keyspace, identity: Identity, clone: Clone) -> None:
        super().__init__(keyspace, identity, clone.image)
        self._clone = clone

    def named(self, volume: VolumeInfo, elder: Copy | None = None) -> ChangeBitmap:  # noqa: ARG002 (there is none)
        """Every block of a volume that events have named up to that moment, or that was written in the clone."""
        (bits,) = self._keyspace.transact([(b"GET", self._keys.clone_bitmap(self._clone.id, volume.id))])
        found = ChangeBitmap(cast("bytes | None", bits))
        if self._clone.in_base(volume.id) is not None:
            found.merge(named_between(self._keyspace, self._keys, volume.id, None, self._clone.base))
        found.discard_range(volume.blocks, len(found.bits) * 8)
        return found

    def reader(self, volume: VolumeInfo) -> CloneReader:
        """Reads of one volume, block by block."""
        return CloneReader(self._keyspace, self._keys, self._clone, volume)

    def volume_digest(self, volume: VolumeInfo) -> bytes:
        """One volume's digest, 16 bytes."""
        return self.digest_of(volume, self.named(volume))

    def digest(self) -> bytes:
        """The digest of all of them, 16 bytes: that of a copy with the same content."""
        return copy_digest([(volume, self.volume_digest(volume)) for volume in self.copy.volumes])
