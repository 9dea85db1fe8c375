"""Volumes as a site holds them, for reading: live ones, and the work volumes of copies."""

from tidelog.consumers.archives import CopySource
from tidelog.producers.volume_file import VolumeFile
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, HoldKind


class SiteVolume:
    """A volume as a site holds it, live or in a copy; read-only. Offsets and lengths are bytes."""

    def __init__(self, store: CopySource, info: VolumeInfo, copy: Copy | None = None) -> None:
        self._store, self.info, self._copy = store, info, copy

    @property
    def name(self) -> str:
        """Its name at that position."""
        return self.info.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self.info.size

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset``; of a live volume all at one position.

        Raises `OutOfBounds`, `NotFound` (deleted or dropped meanwhile), `StoreUnavailable`.
        """
        return self._store.read(self.info, offset, length, self._copy)

    def open(self) -> VolumeFile:
        """The volume as a raw binary file, seekable and read-only; wrap it in `io.BufferedReader`."""
        return VolumeFile(self)


class CopyVolume(SiteVolume):
    """A volume of a copy: the work volume of US6212531, to back up from while writes go on."""

    def __init__(self, store: CopySource, info: VolumeInfo, copy: Copy) -> None:
        super().__init__(store, info, copy)
        self._of = copy

    def open(self) -> VolumeFile:
        """The work volume as a raw binary file, seekable and read-only. Until it is closed it holds the copy: dropped
        meanwhile, it reads on. Raises `NotFound` if the copy is dropped already. Of a copy that is `CopyView.held`,
        that is what holds it; an archived one needs no hold."""
        store = self._store
        if self._of.hold or not isinstance(store, Store):
            return super().open()
        lease = store.hold(self._of, HoldKind.VOLUME)
        return VolumeFile(SiteVolume(store, self.info, lease.copy), on_close=lease.close)

    def digest(self) -> bytes:
        """16 bytes; equal wherever the volume's content is equal (DESIGN section 5)."""
        return self._store.volume_digest(self.info, self._of)
