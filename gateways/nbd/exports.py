"""What a connection has chosen: a live volume, a volume of a copy, or one of a clone.

Every method of an export but `write_at_once` and `flush_soon` may wait for servers: call them on threads. Offsets and
lengths are bytes, within the export's size; what else can go wrong is a `TidelogError`.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from tidelog.consumers.archives import CopySource
from tidelog.errors import OutOfBounds
from tidelog.gateways.nbd.discards import Looks, Seen, trim, trim_in_clone
from tidelog.gateways.nbd.extents import block_range, extents
from tidelog.gateways.nbd.wire import Extent
from tidelog.producers.extents import out_of_bounds
from tidelog.producers.group import Group
from tidelog.producers.session import WriterSession
from tidelog.producers.volume import Volume
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.holds import Lease
from tidelog.stores.image import Store
from tidelog.stores.presence import Presence
from tidelog.stores.store import Copy

# A read goes over the store in parts, so that none is busy with one reader for long.
_PART_BYTES = 4 << 20
# What is written on the loop itself is at most so much: of more, the copying alone is worth a thread.
AT_ONCE_BYTES_MAX = 64 << 10


class Export(Protocol):
    """One export, for one connection."""

    info: VolumeInfo  # its size is what the client is told, whatever becomes of the volume
    read_only: bool

    def read(self, offset: int, length: int) -> bytes:
        """Bytes, among them everything that was written before, by any connection."""

    def write(self, offset: int, data: bytes) -> None:
        """Puts bytes there."""

    def write_at_once(self, offset: int, data: bytes) -> bool:
        """The same if it needs no waiting, so that it can be done on the loop; False, and nothing was done, if not."""

    def zero(self, offset: int, length: int) -> None:
        """Makes bytes zeros, and gives their room back."""

    def trimming(self, offset: int, length: int) -> Callable[[], None]:
        """What does the same with as little as it takes. To find that waits for a store, to do it for a log."""

    def flush(self) -> None:
        """Returns when every write and zeroing that has returned, of any connection, is durable."""

    def flush_soon(self, tell: Callable[[bool], None]) -> bool:
        """See `tidelog.gateways.nbd.flushes.Flushed`."""

    def extents(self, offset: int, length: int) -> list[Extent]:
        """Where data are and where holes, from ``offset`` on: of ``length`` bytes, or fewer."""

    def close(self) -> None:
        """Lets go of what was held for the connection."""


class LiveExport:
    """A volume of the group's one writer session, which all connections share: so a flush of any covers the writes of
    all. Durable is what Kafka has acknowledged."""

    read_only = False

    def __init__(self, group: Group, volume: Volume, store: Store | None, looks: Looks) -> None:
        self.group, self.info = group, volume.info
        self._volume, self._store, self._looks = volume, store, looks

    def read(self, offset: int, length: int) -> bytes:
        """See `Export`."""
        found = b"".join(self._volume.read(at, count) for at, count in _parts(offset, length))
        self._present(offset, length)  # of a volume that was deleted meanwhile a site has given zeros
        return found

    def write(self, offset: int, data: bytes) -> None:
        """See `Export`."""
        try:
            self._volume.write(offset, data)
        except OutOfBounds:
            self._present(offset, len(data))  # raises what it is of one that was deleted: no lack of space
            raise

    def write_at_once(self, offset: int, data: bytes) -> bool:
        """See `Export`. It goes into the session's open batch; a full one is sent, which waits for nothing."""
        if self.group.pacing is not None or len(data) > AT_ONCE_BYTES_MAX:
            return False
        return self._at_once(lambda _: self.write(offset, data))

    def zero(self, offset: int, length: int) -> None:
        """See `Export`."""
        self._volume.discard(offset, length)

    def trimming(self, offset: int, length: int) -> Callable[[], None]:
        """See `Export`. Of what no event has ever named nothing is: `tidelog.gateways.nbd.discards`."""
        info, store = self._present(offset, length, "discard"), self._store
        seen = None if store is None else self._looks.look(self.group, info, store, offset, length)
        return partial(self._trim, seen, offset, length)

    def flush(self) -> None:
        """See `Export`."""
        self.group.flush(in_log=True)

    def flush_soon(self, tell: Callable[[bool], None]) -> bool:
        """See `Export`."""
        return self._at_once(lambda session: session.flush_soon(tell))

    def extents(self, offset: int, length: int) -> list[Extent]:
        """See `Export`. What the site may not have applied is data, until it has. Raises `NotFound`, `OutOfBounds` of a
        volume that was deleted, or made smaller, before the look or during it: its blocks are gone, and no holes."""
        info = self._present(offset, length)
        if self._store is None:
            return [Extent(length, hole=False)]
        presence, session = self._store.presence(info, *block_range(info, offset, length)), self.group.session
        with session.order:
            self._present(offset, length)
            vouched = session.overlay.vouches(presence.head)
            named = session.named(presence.head.sequence, {info.id}) if vouched else None
        if named is None:  # the site has another history, or the session no longer knows all that came since
            return [Extent(length, hole=False)]
        written = ((start, count) for _, start, count in named.extents)
        return extents(presence, info.block_size, offset, length, written)

    def close(self) -> None:
        """There is nothing to let go of."""

    def _at_once(self, act: Callable[[WriterSession], None]) -> bool:
        """Acts if that waits neither for the order nor for room; False if not, or with a sidefile, which is a file."""
        session = self.group.session
        if not isinstance(session, WriterSession) or not session.order.acquire(blocking=False):
            return False
        try:
            if ready := session.ready:
                act(session)
        finally:
            session.order.release()
        return ready

    def _trim(self, seen: Seen | None, offset: int, length: int) -> None:
        session, pacing = self.group.session, self.group.pacing
        if pacing is not None:
            pacing.admit(session)
        with session.order:
            trim(session, self._present(offset, length, "discard"), seen, offset, length)

    def _present(self, offset: int, length: int, what: str = "look") -> VolumeInfo:
        """The volume as it is now. Raises `NotFound` once it was deleted, `OutOfBounds` beyond the end that it has."""
        info = self._volume.info
        if offset + length > info.size:
            raise out_of_bounds(info, what, offset, length)
        return info


class CopyExport:
    """A volume of a copy, in the site's store, where ``lease`` holds it, or in its archive."""

    read_only = True

    def __init__(self, source: CopySource, copy: Copy, info: VolumeInfo, lease: Lease | None) -> None:
        self.info = info
        self._source, self._copy, self._lease = source, copy, lease

    def read(self, offset: int, length: int) -> bytes:
        """See `Export`."""
        return self._source.read(self.info, offset, length, self._copy)

    def write(self, offset: int, data: bytes) -> None:  # noqa: ARG002
        """Never: it is refused before."""
        raise AssertionError("a copy is read-only")

    def write_at_once(self, offset: int, data: bytes) -> bool:  # noqa: ARG002
        """Never: it is refused before."""
        raise AssertionError("a copy is read-only")

    def zero(self, offset: int, length: int) -> None:  # noqa: ARG002
        """Never: it is refused before."""
        raise AssertionError("a copy is read-only")

    def trimming(self, offset: int, length: int) -> Callable[[], None]:  # noqa: ARG002
        """Never: it is refused before."""
        raise AssertionError("a copy is read-only")

    def flush(self) -> None:
        """A copy stays what it is."""

    def flush_soon(self, tell: Callable[[bool], None]) -> bool:
        """See `Export`."""
        tell(True)
        return True

    def extents(self, offset: int, length: int) -> list[Extent]:
        """See `Export`. Of an archived copy all is data."""
        if not isinstance(self._source, Store):
            return [Extent(length, hole=False)]
        presence = self._source.presence(self.info, *block_range(self.info, offset, length), self._copy)
        return extents(presence, self.info.block_size, offset, length)

    def close(self) -> None:
        """See `Export`."""
        if self._lease is not None:
            self._lease.close()


class CloneExport:
    """A volume of a clone. What is written is in the site's Redis at once, and as durable as that is."""

    def __init__(self, image: CloneImage, info: VolumeInfo, *, read_only: bool) -> None:
        self.info, self.read_only = info, read_only
        self._image = image

    def read(self, offset: int, length: int) -> bytes:
        """See `Export`."""
        return self._image.read(self.info, offset, length)

    def write(self, offset: int, data: bytes) -> None:
        """See `Export`."""
        self._image.write(self.info, offset, data)

    def write_at_once(self, offset: int, data: bytes) -> bool:  # noqa: ARG002
        """See `Export`. Redis is always waited for."""
        return False

    def zero(self, offset: int, length: int) -> None:
        """See `Export`."""
        self._image.discard(self.info, offset, length)

    def trimming(self, offset: int, length: int) -> Callable[[], None]:
        """See `Export`."""
        return partial(trim_in_clone, self._image, self.info, offset, length)

    def flush(self) -> None:
        """Nothing waits."""

    def flush_soon(self, tell: Callable[[bool], None]) -> bool:
        """See `Export`."""
        tell(True)
        return True

    def extents(self, offset: int, length: int) -> list[Extent]:
        """See `Export`."""
        presence: Presence = self._image.presence(self.info, *block_range(self.info, offset, length))
        return extents(presence, self.info.block_size, offset, length)

    def close(self) -> None:
        """The image is shared by the clone's connections."""


def _parts(offset: int, length: int) -> list[tuple[int, int]]:
    """Offset and length of each part that a read is made of."""
    ends = range(offset, offset + length, _PART_BYTES)
    return [(at, min(_PART_BYTES, offset + length - at)) for at in ends]
