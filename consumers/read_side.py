"""Where a writer reads from: the live image at one site."""

from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import NotFound, OutOfBounds
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.image import Store


class SiteReadSide:
    """See `tidelog.producers.volume.ReadSide`. The store is opened at the first read, since the site's worker may not
    have made it when the group is opened."""

    def __init__(self, deployment: Deployment, site: str, group: str) -> None:
        self._deployment, self._site, self._group = deployment, site, group
        self._store: Store | None = None
        self._known: dict[int, VolumeInfo] = {}

    def read(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, int]:
        """See `ReadSide`."""
        store = self._opened()
        if store is None:
            return bytes(length), volume.id - 1  # before its VolumeCreated a volume holds zeros, whatever the site
        known = self._known.get(volume.id)
        if known is not None and offset + length <= known.size:
            try:
                return store.read_live(known, offset, length)
            except (NotFound, OutOfBounds):
                del self._known[volume.id]  # deleted or shrunk since
        # The position is asked first: the table and the bytes are then at least as new as it says.
        sequence = store.position().head.sequence
        there = next((info for info in store.volumes() if info.id == volume.id), None)
        if there is None:
            return bytes(length), volume.id - 1
        self._known[volume.id] = there
        inside = max(0, min(length, there.size - offset))
        data = store.read_live(there, offset, inside)[0] if inside else b""
        return data + bytes(length - inside), sequence

    def close(self) -> None:
        """Lets go of the store."""
        if self._store is not None:
            self._store.close()

    def _opened(self) -> Store | None:
        if self._store is None:
            try:
                self._store = open_store(self._deployment, self._site, self._group)
            except NotFound:
                return None
        return self._store
