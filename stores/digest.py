"""Digests of volumes and copies: equal at two sites if and only if the contents are (DESIGN section 5, "Digest").

Per volume: the sum modulo 2^128 of BLAKE3-128(volume id as 8 bytes LE, block number as 8 bytes LE, content padded to
block_size), each read as a big-endian number, over blocks with any non-zero byte. A sum, so a copy's digest follows
from its elder's and the blocks named between them; and absent blocks need not be looked at.
"""

import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from blake3 import blake3

from tidelog.errors import NotFound
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.named import named_between, windows
from tidelog.stores.reading import CopyReader
from tidelog.stores.store import Copy

DIGEST_SIZE = 16
_MODULUS = 1 << 8 * DIGEST_SIZE
_BATCH_BYTES = 4 << 20
_NUMBERS = struct.Struct("<QQ")
_ROW = struct.Struct("<QQQ16s")
# A field of the ``digests`` key beside the digests: a random name of what lies between two erases. An erase deletes it.
ERA = b"era"
ERA_SIZE = 8


class DigestEnded(Exception):
    """Nobody waits for this digest any more; nothing of it was kept. Never leaves `interruptible`'s caller."""


def _never() -> bool:
    return False


_ended: ContextVar[Callable[[], bool]] = ContextVar("tidelog_digest_ended", default=_never)


@contextmanager
def interruptible(ended: Callable[[], bool]) -> Iterator[None]:
    """Digests computed within, on this thread, ask ``ended`` before each chunk of blocks, and raise `DigestEnded`."""
    token = _ended.set(ended)
    try:
        yield
    finally:
        _ended.reset(token)


def block_digest(volume: int, block: int, content: bytes, block_size: int) -> int:
    """What a block adds to its volume's digest; nothing if it is all zeros."""
    if len(content) < block_size:
        content = content.ljust(block_size, b"\0")
    if not content[0] and content == bytes(block_size):
        return 0
    return int.from_bytes(blake3(_NUMBERS.pack(volume, block) + content).digest(DIGEST_SIZE))


def digest_bytes(sums: Iterable[int]) -> bytes:
    """The digest, or a part of one, that these add up to, 16 bytes."""
    return (sum(sums) % _MODULUS).to_bytes(DIGEST_SIZE)


def copy_digest(volumes: list[tuple[VolumeInfo, bytes]]) -> bytes:
    """BLAKE3-128 over the volume table by id: (id, size, block_size) as 8 bytes LE each, then the volume's digest."""
    rows = sorted((volume.id, volume.size, volume.block_size, digest) for volume, digest in volumes)
    return blake3(b"".join(_ROW.pack(*row) for row in rows)).digest(DIGEST_SIZE)


class Digests:
    """Digests of the copies of one store, computed in bulk and kept in its ``digests`` key by the copy's identity.

    A digest is kept with the era that it was begun in, and counts in that one only: one that was begun before an erase,
    of blocks that may have been damaged, does not count after it, whenever it is kept. Reads during the erase fail.
    """

    def __init__(self, keyspace: Keyspace, keys: Keys) -> None:
        self._keyspace = keyspace
        self._keys = keys

    def copy(self, copy: Copy, elders: list[Copy]) -> bytes:
        """The copy's digest. ``elders`` are the formed copies before it, oldest first.

        Raises `NotFound` when the copy is dropped meanwhile.
        """
        return copy_digest([(volume, self.volume(volume, copy, elders)) for volume in copy.volumes])

    def volume(self, volume: VolumeInfo, copy: Copy, elders: list[Copy]) -> bytes:
        """One volume's digest in ``copy``: known, or from the nearest elder with a known one, or from all blocks."""
        known = self.known(volume, copy)
        if known is not None:
            return known
        era = self._era()
        for elder in reversed(elders):
            base = self.known(volume, elder)
            if base is not None:
                try:
                    total = int.from_bytes(base) + self._difference(volume, copy, elder)
                except NotFound:  # the elder is being dropped; if it is the copy itself, all() says so
                    break
                return self._keep(volume, copy, total, era)
        return self.all(volume, copy)

    def all(self, volume: VolumeInfo, copy: Copy) -> bytes:
        """The digest from all blocks ever named before the cut, whatever is known."""
        era = self._era()
        reader = CopyReader(self._keyspace, self._keys, volume, copy, while_rebuilding=True)
        named = named_between(self._keyspace, self._keys, volume.id, None, copy, while_rebuilding=True)
        return self._keep(volume, copy, sum(self._sums(reader, named)), era)

    def known(self, volume: VolumeInfo, copy: Copy) -> bytes | None:
        """The digest if it was computed before, in this era."""
        fields = (ERA, self._keys.digest_field(copy, volume))
        era, row = self._keyspace.transact([(b"HGET", self._keys.digests, field) for field in fields])
        if not isinstance(era, bytes) or not isinstance(row, bytes) or row[:ERA_SIZE] != era:
            return None
        return row[ERA_SIZE:]

    def _difference(self, volume: VolumeInfo, copy: Copy, elder: Copy) -> int:
        named = named_between(self._keyspace, self._keys, volume.id, elder, copy, while_rebuilding=True)
        newer = CopyReader(self._keyspace, self._keys, volume, copy, while_rebuilding=True)
        older = CopyReader(self._keyspace, self._keys, volume, elder, while_rebuilding=True)
        return sum(self._sums(newer, named)) - sum(self._sums(older, named))

    def _era(self) -> bytes:
        """The era now, to be asked for before the first block is read. Two who begin one at once: the later one's
        counts, and what the other computes is computed again."""
        (era,) = self._keyspace.transact([(b"HGET", self._keys.digests, ERA)])
        if not isinstance(era, bytes):
            era = os.urandom(ERA_SIZE)
            self._keyspace.transact([(b"HSET", self._keys.digests, ERA, era)])
        return era

    def _keep(self, volume: VolumeInfo, copy: Copy, total: int, era: bytes) -> bytes:
        digest = digest_bytes((total,))
        self._keyspace.transact([(b"HSET", self._keys.digests, self._keys.digest_field(copy, volume), era + digest)])
        return digest

    def _sums(self, reader: CopyReader, named: ChangeBitmap) -> Iterator[int]:
        volume = reader.volume
        size = volume.block_size
        for base, part in windows(named, _BATCH_BYTES // size):
            if _ended.get()():
                raise DigestEnded
            for block, content in reader.blocks(base, part).items():
                yield block_digest(volume.id, block, content, size)
