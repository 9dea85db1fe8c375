"""The volumes of one clone: what was written in it, over the blocks of its copy. Of one that is materialised, what the
log wrote behind that copy is in it from the beginning (`tidelog.stores.clone_fill`).

A bit of a clone's bitmap says that the block is the clone's own, whatever its content; where it is clear the block is
the copy's, and stays what it is. So a read needs one MULTI for the clone's part, and finds the copy's in its own time.
A change is one EXEC that is conditional on the clone's own key, which it changes: of two writers of one clone neither
tears what the other writes, and none writes into a clone that is being dropped, or that an erase took away.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from tidelog.errors import NotFound, OutOfBounds, StoreUnavailable
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap, byte_range
from tidelog.stores.clone_contents import CloneContents
from tidelog.stores.clone_reader import (
    UNTOUCHED,
    CloneReader,
    check_claim,
    check_live,
    claimed,
    live_token,
    unclaimed,
)
from tidelog.stores.holds import new_id
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Argument, Command, Keyspace, PositionMoved, Reply, Session
from tidelog.stores.placing import placing
from tidelog.stores.presence import Bitmaps, NamedSpans, Presence
from tidelog.stores.reading import CHUNK_BYTES
from tidelog.stores.store import Clone, Identity
from tidelog.stores.watched import change_beside

# A write up to this size is one EXEC. Larger ones are several, in order.
WRITE_BYTES_MAX = 4 << 20
# A discard goes over so many blocks in one EXEC.
DISCARD_BLOCKS_MAX = 1 << 14
_TRIES = 1000


@dataclass
class _Line:
    """What changes go over, one at a time."""

    changing: threading.Lock = field(default_factory=threading.Lock)
    session: Session | None = None


@placing
class CloneImage:
    """One clone's content. From `Clones.image`; close it. Thread-safe: one change at a time.

    Every method raises `NotFound` once the clone was dropped or the site rebuilt, `SiteBehind`, `StoreUnavailable`;
    and `Fenced`, if this has a ``claim`` (see `claimed`) and another one was made since.
    """

    def __init__(
        self, keyspace: Keyspace, identity: Identity, clone: Clone, claim: bytes = b"", line: _Line | None = None
    ) -> None:
        self.identity, self.clone, self._claim = identity, clone, claim
        self._keyspace = keyspace
        self._keys = Keys(identity.group)
        self._key = self._keys.clone(clone.id)
        self._line = line or _Line()

    def close(self) -> None:
        """Ends the connection that changes went over."""
        with self._line.changing:
            self._end_session()

    def claimed(self) -> "CloneImage":
        """The same clone, claimed by whoever calls, which ends every claim before: what is read and changed through it
        is so only as long as nobody has claimed the clone since, else `Fenced` is raised and nothing was changed.

        So of two who cannot bear one another, such as two processes that keep the locks of one database, the later goes
        on, and the claim of one that has died is in nobody's way. Changes that claim nothing go on beside it. It closes
        with this image."""
        claim = new_id().encode()

        def plan(state: bytes | None) -> list[Command]:
            return [(b"SET", self._key, claimed(check_live(self.clone, state), claim))]

        failed = StoreUnavailable(f"clone {self.clone.name} is changed faster than it can be claimed", hint="try again")
        change_beside(self._keyspace, self._key, plan, failed)
        return CloneImage(self._keyspace, self.identity, self.clone, claim, self._line)

    def state(self) -> bytes:
        """A value that is another one after every change."""
        return unclaimed(self._state())

    def _state(self) -> bytes:
        (state,) = self._keyspace.transact([(b"GET", self._key)])
        return self._live(self.clone, state)

    @property
    def untouched(self) -> bool:
        """Whether it was materialised, and is still what it was then."""
        return self.state() == UNTOUCHED

    def contents(self) -> CloneContents:
        """All its blocks, for whoever reads many of them."""
        return CloneContents(self._keyspace, self.identity, self.clone)

    def read(self, volume: VolumeInfo, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset``; up to 4 MiB are of one state. Raises `OutOfBounds`."""
        return b"".join(self.stream(volume, offset, length))

    def stream(self, volume: VolumeInfo, offset: int, length: int) -> Iterator[bytes]:
        """The same in parts of at most 4 MiB, each of one state."""
        volume = self._checked(volume, offset, length)
        size = volume.block_size
        first, end = offset // size, -(-(offset + length) // size) if length else offset // size
        for start in range(first, end, CHUNK_BYTES // size):
            stop = min(end, start + CHUNK_BYTES // size)
            part = b"".join(self._blocks(volume, start, stop))
            yield part[max(0, offset - start * size) : offset + length - start * size]

    def changed(self, volume: VolumeInfo) -> ChangeBitmap:
        """The blocks that are the clone's own."""
        key = self._keys.clone_bitmap(self.clone.id, volume.id)
        state, bits = self._keyspace.transact([(b"GET", self._key), (b"GET", key)])
        self._live(self.clone, state)
        return ChangeBitmap(cast("bytes | None", bits))

    def presence(self, volume: VolumeInfo, first: int, end: int) -> Presence:
        """Which of the blocks have content: as `Store.presence`."""
        return Bitmaps(self._keyspace, self._keys, clone=self.clone).cloned(volume, first, end)

    def named(self, volume: VolumeInfo, first: int, end: int) -> NamedSpans:
        """Where events, or the clone, have named any of the blocks: as `Store.named`. All others are zeros."""
        return Bitmaps(self._keyspace, self._keys, clone=self.clone).spans(volume, first, end)

    def write(self, volume: VolumeInfo, offset: int, data: bytes) -> None:
        """Writes ``data`` at ``offset``; up to 4 MiB all of it or nothing. Raises `OutOfBounds`."""
        volume = self._checked(volume, offset, len(data))
        for at, end in _parts(offset, offset + len(data), WRITE_BYTES_MAX):
            self._change(volume, at, end, data[at - offset : end - offset])

    def discard(self, volume: VolumeInfo, offset: int, length: int) -> None:
        """Makes the bytes zeros; up to 16,384 blocks all of them or none. Raises `OutOfBounds`."""
        volume = self._checked(volume, offset, length)
        for at, end in _parts(offset, offset + length, DISCARD_BLOCKS_MAX * volume.block_size):
            self._change(volume, at, end, None)

    def _blocks(self, volume: VolumeInfo, start: int, stop: int) -> list[bytes]:
        """The content of blocks ``start`` to ``stop`` - 1, each padded to the size of a block."""
        low, _ = byte_range(start, stop)
        base, wanted = low * 8, ChangeBitmap()
        wanted.add_range(start - base, stop - base)
        found = CloneReader(self._keyspace, self._keys, self.clone, volume, live=self._live).blocks(base, wanted)
        return [found.get(block, b"").ljust(volume.block_size, b"\0") for block in range(start, stop)]

    def _change(self, volume: VolumeInfo, offset: int, end: int, data: bytes | None) -> None:
        """One EXEC: bytes ``offset`` to ``end`` - 1 become ``data``, or zeros. Over a connection that is lost it is
        tried once more, unless it took effect."""
        lost = False
        with self._line.changing:
            for _ in range(_TRIES):
                before = token = None
                try:
                    session, before = self._watch()
                    token = live_token(before)
                    session.submit([*self._plan(volume, offset, end, data), (b"SET", self._key, token)])
                    session.settle()
                    return
                except PositionMoved:
                    continue
                except StoreUnavailable:
                    self._end_session()
                    if lost:
                        raise
                    lost = True
                    if before is not None and token is not None and self._took_effect(before, token):
                        return
                except BaseException:  # an interrupt may leave replies behind that nobody has read
                    self._end_session()
                    raise
        raise StoreUnavailable(f"clone {self.clone.name} is changed faster than it can be written to", hint="try again")

    def _watch(self) -> tuple[Session, bytes]:
        """The session, watching the clone's key, and the key's value. Raises `NotFound`."""
        line = self._line
        if line.session is None:
            line.session = self._keyspace.session(self._key)
        # Anew each time, though the last change has watched it again: a connection that was lost since is found here,
        # before anything is sent whose fate would be unknown.
        return line.session, self._live(self.clone, line.session.begin())

    def _took_effect(self, before: bytes, token: bytes) -> bool:
        """Whether a change that nothing was heard of did: by the key that it sets. Raises `StoreUnavailable` if others
        have changed the clone since, so that nobody can tell."""
        now = self._state()
        if now not in (before, token):
            raise StoreUnavailable(
                f"the connection was lost while clone {self.clone.name} was changed: it is unknown whether it was",
                hint="read it again",
            )
        return now == token

    def _plan(self, volume: VolumeInfo, offset: int, end: int, data: bytes | None) -> list[Command]:
        """What changes the blocks, read behind the WATCH where a block is changed in part."""
        keys, number, size = self._keys, self.clone.id, volume.block_size
        first, stop = offset // size, -(-end // size)
        low, high = byte_range(first, stop)
        bitmap_key = keys.clone_bitmap(number, volume.id)
        (bits,) = self._keyspace.transact([(b"GETRANGE", bitmap_key, b"%d" % low, b"%d" % (high - 1))])
        base, written = low * 8, ChangeBitmap(cast("bytes", bits))
        contents = self._edges(volume, offset, end, data)
        if data is not None:
            for block in range(first, stop):
                if block not in contents:
                    contents[block] = data[block * size - offset : (block + 1) * size - offset]
        key_of = keys.clone_format(number, volume.id)
        whole: list[Argument] = [b"MSET"]
        gone: list[Argument] = [b"DEL"]
        for block, content in contents.items():
            if content.count(0) < len(content):
                whole += (key_of % block, content)
        kept = set(whole[1::2])
        there = (key_of % (base + block) for block in written.blocks(first - base, stop - base))
        gone += (key for key in there if key not in kept)
        written.reserve(high * 8 - 1 - base)
        written.add_range(first - base, stop - base)
        return [
            *(tuple(one) for one in (whole, gone) if len(one) > 1),
            (b"SETRANGE", bitmap_key, b"%d" % low, bytes(written.bits)),
        ]

    def _edges(self, volume: VolumeInfo, offset: int, end: int, data: bytes | None) -> dict[int, bytes]:
        """The new content of the first and last block, where they change in part. Behind the volume's end there is
        nothing to keep."""
        size = volume.block_size
        found = {}
        for block in {offset // size, (end - 1) // size}:
            low, high = max(offset, block * size), min(end, (block + 1) * size)
            if low == block * size and high == min(volume.size, (block + 1) * size):
                continue
            content = bytearray(self._blocks(volume, block, block + 1)[0])
            new = bytes(high - low) if data is None else data[low - offset : high - offset]
            content[low - block * size : high - block * size] = new
            found[block] = bytes(content)
        return found

    def _checked(self, volume: VolumeInfo, offset: int, length: int) -> VolumeInfo:
        """The volume as it is in the clone. Raises `NotFound`, `OutOfBounds`."""
        found = next((known for known in self.clone.image.volumes if known.id == volume.id), None)
        if found is None:
            raise NotFound(f"clone {self.clone.name} has no volume {volume.name}", group=self.identity.group)
        if offset < 0 or length < 0 or offset + length > found.size:
            raise OutOfBounds(f"{offset} to {offset + length} is outside volume {found.name} of {found.size} bytes")
        return found

    def _live(self, clone: Clone, state: Reply) -> bytes:
        live = check_live(clone, state)
        check_claim(clone, live, self._claim)
        return live

    def _end_session(self) -> None:
        if self._line.session is not None:
            self._line.session.close()
        self._line.session = None


def _parts(offset: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """From and up to, in pieces that end at multiples of ``most``."""
    while offset < end:
        stop = min(end, (offset // most + 1) * most)
        yield offset, stop
        offset = stop
