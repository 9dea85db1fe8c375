"""A file of growing length on a volume, and a writable overlay on a copy of one.

Layout: bytes 0-23 of the volume are the header (magic, version, CRC-32, length); the file's bytes begin at
`DATA_OFFSET`, so that an aligned 4 KiB page is one block. The header goes out *after* the bytes that it makes part of
the file, so a crash between any two writes leaves the old length or the new one, with its bytes.
"""

import struct
from typing import Protocol
from zlib import crc32

from tidelog.errors import OutOfBounds, UsageError

DATA_OFFSET = 4096
# Appends are gathered up to this many bytes: a rollback journal is written in three small pieces a page, each of
# which would cost an event's share, a SETRANGE and a header write.
APPEND_BUFFER_BYTES = 64 * 1024

_HEADER = struct.Struct("<8sIIQ")
_MAGIC = b"TIDEFILE"
_VERSION = 1
_OVERLAY_BLOCK = 4096


class ReadableVolume(Protocol):
    """A copy of a volume; ``size`` in bytes. ``read`` gives exactly ``length`` bytes, zeros where none were written."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...


class WritableVolume(ReadableVolume, Protocol):
    """A volume; writes and discards take effect in the order of the calls, also after a crash, and reads see them."""

    def write(self, offset: int, data: bytes) -> object: ...

    def discard(self, offset: int, length: int) -> object: ...


def file_length(volume: ReadableVolume) -> int:
    """Bytes of the file that a volume (or a copy of it) holds; 0 for a volume never written.

    Raises `UsageError` if the volume holds something else.
    """
    if volume.size < DATA_OFFSET:
        raise OutOfBounds(f"a volume of {volume.size} bytes is too small for a file", hint=f"more than {DATA_OFFSET}")
    header = volume.read(0, _HEADER.size)
    if not any(header):
        return 0
    magic, version, checksum, length = _HEADER.unpack(header)
    if magic != _MAGIC or version != _VERSION or checksum != crc32(header[16:]):
        raise UsageError("the volume holds something other than a file", hint="give the file a volume of its own")
    return int(length)


class VolumeFile:
    """The file on ``volume``. Not thread-safe: whoever opens it brings the lock.

    What is written reaches the volume in order, but only by `settle` for certain: until then the last appended bytes
    and the length wait here.
    """

    def __init__(self, volume: WritableVolume) -> None:
        self._volume = volume
        self._length = self._settled_length = file_length(volume)
        self._tail = bytearray()  # the last bytes of the file, not yet on the volume

    @property
    def length(self) -> int:
        """Bytes, waiting ones included."""
        return self._length

    @property
    def capacity(self) -> int:
        """The greatest length that the volume has room for, in bytes."""
        return self._volume.size - DATA_OFFSET

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, fewer where the file ends."""
        poured = self._length - len(self._tail)
        length = min(length, self._length - offset)
        if length <= 0:
            return b""
        if offset >= poured:
            return bytes(self._tail[offset - poured : offset - poured + length])
        if offset + length > poured:
            self._pour()
        return bytes(self._volume.read(DATA_OFFSET + offset, length))

    def write(self, offset: int, data: bytes) -> None:
        """Bytes from ``offset`` on; a gap behind the old end reads as zeros. Raises `OutOfBounds` beyond `capacity`."""
        end = offset + len(data)
        if end > self.capacity:
            raise OutOfBounds(f"a file of {end} bytes, where its volume has room for {self.capacity}")
        if offset == self._length:
            self._tail += data
            self._length = end
            if len(self._tail) >= APPEND_BUFFER_BYTES:
                self._pour()
            return
        self._pour()
        if offset > self._length:
            # What an earlier, longer file left there must not show.
            self._volume.discard(DATA_OFFSET + self._length, offset - self._length)
        self._volume.write(DATA_OFFSET + offset, data)
        self._length = max(self._length, end)

    def truncate(self, length: int, *, discard: bool) -> None:
        """Makes the file end at ``length`` (or leaves it, if it ends before), on the volume too.

        ``discard`` gives the room behind the end back; without it the next, longer file overwrites it.
        """
        if length >= self._length:
            return
        poured = self._length - len(self._tail)
        del self._tail[max(length - poured, 0) :]  # a rolled-back journal need not reach the volume at all
        old, self._length = max(poured, self._settled_length), length
        self.settle()
        if discard and old > length:
            self._volume.discard(DATA_OFFSET + length, old - length)

    def settle(self) -> None:
        """Hands all that waits to the volume: bytes first, then the length."""
        self._pour()
        if self._length != self._settled_length:
            tail = struct.pack("<Q", self._length)
            self._volume.write(0, _HEADER.pack(_MAGIC, _VERSION, crc32(tail), self._length))
            self._settled_length = self._length

    def _pour(self) -> None:
        if self._tail:
            self._volume.write(DATA_OFFSET + self._length - len(self._tail), bytes(self._tail))
            self._tail.clear()


class Overlay:
    """A writable view of a read-only copy: what is written stays in this process's memory, the copy is not touched."""

    def __init__(self, base: ReadableVolume) -> None:
        self._base = base
        self._blocks: dict[int, bytearray] = {}

    @property
    def size(self) -> int:
        """Bytes, as the copy has."""
        return self._base.size

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there: what was written here, else what the copy holds."""
        result = bytearray(self._base.read(offset, length))
        for number, start, stop in self._pieces(offset, length):
            block = self._blocks.get(number)
            if block is not None:
                at = number * _OVERLAY_BLOCK
                result[at + start - offset : at + stop - offset] = block[start:stop]
        return bytes(result)

    def write(self, offset: int, data: bytes) -> None:
        """Keeps ``data`` in memory."""
        for number, start, stop in self._pieces(offset, len(data)):
            at = number * _OVERLAY_BLOCK
            if number not in self._blocks:
                self._blocks[number] = bytearray(self._base.read(at, min(_OVERLAY_BLOCK, self.size - at)))
            self._blocks[number][start:stop] = data[at + start - offset : at + stop - offset]

    def discard(self, offset: int, length: int) -> None:
        """Makes the bytes there zeros, in memory."""
        for number, start, stop in self._pieces(offset, length):
            self.write(number * _OVERLAY_BLOCK + start, bytes(stop - start))

    @staticmethod
    def _pieces(offset: int, length: int) -> list[tuple[int, int, int]]:
        """(block number, first byte in it, byte after the last in it) of each block that the extent touches."""
        end = offset + length
        return [
            (number, max(offset - number * _OVERLAY_BLOCK, 0), min(end - number * _OVERLAY_BLOCK, _OVERLAY_BLOCK))
            for number in range(offset // _OVERLAY_BLOCK, -(-end // _OVERLAY_BLOCK))
        ]
