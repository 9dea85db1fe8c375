"""Where a writer reads from: the live image at one site."""

from operator import attrgetter

from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import NotFound, OutOfBounds, StoreUnavailable
from tidelog.producers.volume import ChangedBlocks
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.image import Store

READ_TRIES = 100


class SiteReadSide:
    """See `tidelog.producers.volume.ReadSide`. The store is opened at the first read, since the site's worker may not
    have made it when the group is opened."""

    def __init__(self, deployment: Deployment, site: str, group: str) -> None:
        self.site = site
        self._deployment, self._group = deployment, group
        self._store: Store | None = None
        self._known: dict[int, VolumeInfo] = {}

    def read(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, int, Head]:
        """See `ReadSide`."""
        store = self._opened()
        if store is None:
            return bytes(length), volume.id - 1, origin("")  # before its VolumeCreated it holds zeros
        for _ in range(READ_TRIES):
            try:
                return self._read(store, volume, offset, length)
            except (NotFound, OutOfBounds):
                self._known.pop(volume.id, None)  # deleted or shrunk since
        raise StoreUnavailable(f"volume {volume.name} changes its size faster than it can be read", hint="try again")

    def _read(self, store: Store, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, int, Head]:
        known = self._known.get(volume.id)
        if known is not None and offset + length <= known.size:
            data, head = store.read_live(known, offset, length)
            return data, head.sequence, head
        # The position is asked first: the table and the bytes are then at least as new as it says.
        head = store.position().head
        there = next((info for info in store.volumes() if info.id == volume.id), None)
        # One of another block size is a lost history's: it must not be known when that has been rolled back.
        if there is None or there.block_size != volume.block_size:
            return bytes(length), volume.id - 1, head
        self._known[volume.id] = there
        inside = max(0, min(length, there.size - offset))
        if not inside:
            return bytes(length), head.sequence, head
        data, stood_at = store.read_live(there, offset, inside)
        head = min(head, stood_at, key=attrgetter("sequence"))  # a site may go back in between
        return data + bytes(length - inside), head.sequence, head

    def changes(self, source: int, target: int, copy: tuple[int, bytes] | None) -> tuple[ChangedBlocks, Head]:
        """See `ReadSide`."""
        store = self._opened()
        if store is None:
            return ChangeBitmap(), origin("")
        return store.changes(source, target, copy)

    def close(self) -> None:
        """Lets go of the store."""
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store | None:
        if self._store is None:
            try:
                self._store = open_store(self._deployment, self.site, self._group)
            except NotFound:
                return None
        return self._store
