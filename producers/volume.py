"""A volume as its writer sees it."""

import time
from operator import index
from typing import TYPE_CHECKING, Protocol

from tidelog.errors import LogDiverged, NotFound, SiteBehind
from tidelog.producers.durability import Durability
from tidelog.producers.extents import out_of_bounds
from tidelog.producers.rules import require_size
from tidelog.producers.volume_content import copy_content
from tidelog.producers.volume_file import ReadableVolume, VolumeFile
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Discard, VolumeResized
from tidelog.schemas.volumes import VolumeInfo
from tidelog.units import parse_size

if TYPE_CHECKING:
    from tidelog.producers.group import Group

READ_TIMEOUT = 30.0
# A site applies within milliseconds; asking more often than that costs the site more than it gains the reader.
_ASK_AGAIN = 0.002


class ReadSide(Protocol):
    """A site's image of a group, for reading: a store, seen from the writer."""

    @property
    def site(self) -> str:
        """Whose image it is."""

    def read(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, int, Head]:
        """``length`` bytes, a sequence up to which they are complete, and the head at which the site stood: what came
        later may or may not be in them, so the writer lays its own writes after that sequence over them, if that head
        is one of its history. Zeros where the site does not know the volume, or that part of it, yet. Raises
        `StoreUnavailable`."""

    def changes(self, source: int, target: int, copy: tuple[int, bytes] | None) -> "tuple[ChangedBlocks, Head]":
        """The blocks in which a volume, live or in a copy (sequence, seal), may differ from another at the site, and
        the head that this is true at; nothing yet before the site knows the copy. The bitmap is the caller's to
        change. Raises `CopyMissing`, `SiteBehind` during a rebuild, `StoreUnavailable`."""


class ChangedBlocks(Protocol):
    """A set of block numbers: ``bits`` with the most significant first, ``count`` of them set."""

    bits: bytearray
    count: int

    def add_range(self, first: int, end: int) -> None:
        """Adds blocks ``first`` to ``end`` - 1."""

    def discard_range(self, first: int, end: int) -> None:
        """Takes out blocks ``first`` to ``end`` - 1."""


class Volume:
    """One volume of a group that is open for writing. Thread-safe. Offsets and lengths are bytes."""

    def __init__(self, group: "Group", volume: int) -> None:
        self._group = group
        self.id = volume

    @property
    def group(self) -> str:
        """The group's name."""
        return self._group.name

    @property
    def info(self) -> VolumeInfo:
        """Its row of the volume table. Raises `NotFound` once it was deleted."""
        found = self._group.session.state.volumes.get(self.id)
        if found is None:
            raise NotFound(f"volume {self.id} was deleted", group=self._group.name)
        return found

    @property
    def name(self) -> str:
        """Unique in the group."""
        return self.info.name

    @property
    def size(self) -> int:
        """Bytes."""
        return self.info.size

    @property
    def block_size(self) -> int:
        """Bytes."""
        return self.info.block_size

    def write(self, offset: int, data: "bytes | bytearray | memoryview") -> None:
        """Writes ``data`` at ``offset``: ordered, timestamped, buffered; `Group.flush` makes it durable.

        More than ``batch_bytes`` goes as several writes, in order, not atomically. Blocks while the buffer is full.
        Raises `OutOfBounds` (nothing was written), `Fenced`, `LogUnavailable`.
        """
        offset = index(offset)
        if type(data) is not bytes:
            data = bytes(memoryview(data))  # of a number, bytes() alone would make that many zeros
        session, limit = self._group.session, self._group.batch_bytes
        if len(data) <= limit:
            session.write(self.id, offset, data)
            return
        with session.order:  # so that no other write comes between the pieces, and all or none is within bounds
            info = self.info
            if offset < 0 or offset + len(data) > info.size:
                raise out_of_bounds(info, "write", offset, len(data))
            start = 0
            while start < len(data):
                # Pieces end on block borders, so that each block is overwritten in one go.
                stop = min(len(data), start + limit - (offset + start) % info.block_size)
                session.write(self.id, offset + start, data[start:stop])
                start = stop

    def discard(self, offset: int, length: int) -> None:
        """Makes an extent read as zeros (trim, write zeroes); ordered like a write."""
        session, offset, length = self._group.session, index(offset), index(length)
        with session.order:
            info = self.info
            if offset < 0 or length <= 0 or offset + length > info.size:
                raise out_of_bounds(info, "discard", offset, length)
            session.emit(Discard, volume=self.id, offset=offset, length=length)

    def resize(self, size: int | str) -> None:
        """Sets the size in bytes (or ``"2GiB"``); durable when this returns. What a smaller one cuts off reads as
        zeros if the volume grows again."""
        size = parse_size(size)
        require_size(self.info, size, self._group.name)
        self._group.session.emit(VolumeResized, volume=self.id, size=size)
        self._group.session.flush()

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, with every write of this session that was made before the call, applied
        at a site or not. Reading no bytes gives none.

        Raises `OutOfBounds`; `SiteBehind` if the site does not reach, within 30 s, what the session no longer holds
        itself; `LogDiverged` if it has another history than the log; `StoreUnavailable`.
        """
        info = self.info
        if offset < 0 or length < 0 or offset + length > info.size:
            raise out_of_bounds(info, "read", offset, length)
        if not length:
            return b""
        session, side = self._group.session, self._group.read_side
        deadline = time.monotonic() + READ_TIMEOUT
        while True:
            found, sequence, head = side.read(info, offset, length)
            vouched = session.overlay.vouches(head)
            data = bytearray(found)
            # Asked in any case: it raises what has ended the session.
            if session.patch(self.id, offset, data, sequence) and vouched:
                session.overlay.prune(sequence)
                return bytes(data)
            late = time.monotonic() > deadline
            if not vouched:
                refuse_other_history(self._group, head, late=late)
            elif late:
                needed = session.overlay.needs(self.id)
                raise SiteBehind(
                    f"site {side.site} has applied sequence {sequence}, and reading needs {needed}",
                    group=self._group.name,
                    hint=f"is its worker running? Start it with: tidelog site run {side.site}",
                )
            time.sleep(_ASK_AGAIN)

    def copy_from(self, source: ReadableVolume) -> int:
        """Makes this volume read as ``source`` does, and as zeros behind its end, by writing the blocks that differ;
        the bytes of these. For what no command names: a volume of an archived copy, of a copy by time, of a clone, of
        another group. `Group.copy_volume` moves no data.

        Not one event: other writers' turns come between, and cut short it is partly done; done again it goes on.
        Raises `UsageError` for a larger source (nothing was written), what ``source.read``, `read` and `write` do.
        """
        return copy_content(self, source)

    def flush(self) -> Durability:
        """As `Group.flush`: durable means the whole group's order up to here."""
        return self._group.flush()

    def open(self) -> VolumeFile:
        """The volume as a raw binary file, seekable, readable and writable; wrap it in `io.BufferedRandom`."""
        return VolumeFile(self, self)


def refuse_other_history(group: "Group", head: Head, *, late: bool) -> None:
    """Raises `LogDiverged` of a site at ``head``, for which the overlay does not vouch: at once if its epoch is none
    that comes after the session's own. Of a later one it may be that a session of the log has fenced this one, which
    then hears of that with its next heartbeat: raises only when it is ``late``."""
    session, site = group.session, group.read_side.site
    if late or head.epoch <= session.epoch:
        raise LogDiverged(
            f"site {site} has applied sequence {head.sequence} of another writer session (epoch {head.epoch}) than this"
            f" one (epoch {session.epoch})",
            group=group.name,
            hint=f"its history is not the log's, or another process has opened the group: tidelog site status {site}",
        )
