"""Blocks in Avro object container files: written in order, and read back with every byte accounted for."""

import io
import json
import os
import sys
from collections.abc import Generator, Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, BinaryIO, NamedTuple, cast

import fastavro
from blake3 import blake3
from fastavro.schema import to_parsing_canonical_form

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from tidelog.errors import TidelogError
from tidelog.gateways.exports.manifest import ExportedFile, ExportedVolume, damaged, file_name
from tidelog.gateways.exports.place import Place
from tidelog.gateways.files import Advance
from tidelog.schemas.volumes import MAX_BLOCKS, VolumeInfo
from tidelog.stores.contents import Block

# Of content in one file: a sixteenth of the volume's within these bounds. While one is written, the one before is read
# again and proved, and the proof of the last has nothing beside it.
FILE_BYTES_MIN, FILE_BYTES_MAX = 4 << 20, 64 << 20
FILES = 16
CODEC = "zstandard"
_LEVEL = 1
_SYNC_SIZE = 16
_READ_BYTES = 1 << 20
_BATCH_BLOCKS = 256


class Written(NamedTuple):
    """A file as it was written: name, bytes, BLAKE3-128 of them, how many blocks and which the last one is."""

    name: str
    size: int
    checksum: str
    blocks: int
    last: int


FileRecord = ExportedFile | Written


@cache
def schema() -> dict[str, Any]:
    """The schema of a block, as fastavro wants it."""
    text = files("tidelog.gateways.exports").joinpath("block.avsc").read_text("utf-8")
    return cast("dict[str, Any]", fastavro.parse_schema(json.loads(text)))


def write_blocks(
    place: Place, volume: VolumeInfo, blocks: Iterable[list[Block]], about: dict[str, str], count: int, advance: Advance
) -> Generator[Written, None, None]:
    """Writes a volume's blocks, at most ``count`` and ascending, into as many files as they take, and yields each when
    it is whole; none if there are none.

    ``about`` goes into each file's metadata, so that one that has lost its manifest still says what it is. ``advance``
    is told of bytes of content.
    """
    file_bytes = min(FILE_BYTES_MAX, max(FILE_BYTES_MIN, count * volume.block_size // FILES))
    parts = iter(blocks)
    part = next(parts, None)
    index = 0
    while part is not None:
        name = file_name(volume.name, index)
        with place.create(name) as file:
            out = _Hashed(file)
            sync = os.urandom(_SYNC_SIZE)
            metadata = about | {"tidelog.volume": volume.name, "tidelog.file": str(index)}
            fastavro.writer(cast("BinaryIO", out), schema(), (), CODEC, metadata=metadata, sync_marker=sync)
            written = size = last = 0
            while part is not None and size < file_bytes:
                content = _encoded(part)
                packed = zstd.compress(content, _LEVEL)
                out.write(_long(len(part)) + _long(len(packed)))  # a container's block: count, bytes, sync marker
                out.write(packed)
                out.write(sync)
                written += len(part)
                size += len(content)
                advance(sum(len(block[1]) for block in part))
                last = part[-1][0]
                part = next(parts, None)
        yield Written(name, out.size, out.checksum, written, last)
        index += 1


def _encoded(blocks: list[Block]) -> bytes:
    """Records in Avro's binary encoding. By hand, since fastavro's writer takes as long for a record as zstandard does
    (``python -m benchmarks --only export``); `read_file` reads it with fastavro, and a test with Apache's Avro."""
    pieces: list[bytes] = []
    lengths: dict[int, bytes] = {}  # nearly all are a whole block's
    for number, content in blocks:
        size = len(content)
        pieces += (_long(number), lengths.get(size) or lengths.setdefault(size, _long(size)), content)
    return b"".join(pieces)


def _long(value: int) -> bytes:
    """A long, not negative, as Avro has it: zigzag, then seven bits a byte, the lowest first."""
    value <<= 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_blocks(place: Place, volume: ExportedVolume, advance: Advance) -> Iterator[list[Block]]:
    """The blocks of a volume's files, ascending, up to 256 at a time. Raises as `read_file`."""
    last = -1
    for file in volume.files:
        for blocks in read_file(place, volume.info, file, last, advance):
            yield blocks
            last = blocks[-1][0]


def read_file(
    place: Place, volume: VolumeInfo, file: FileRecord, after: int, advance: Advance
) -> Iterator[list[Block]]:
    """The blocks of one file, the first of which comes behind block ``after``, up to 256 at a time; ``advance`` is told
    of bytes of the file.

    Raises `ExportDamaged` if the file is not what the manifest says: at its end, if it is a matter of the bytes alone.
    """
    count = 0
    with _opened(place, file) as raw:
        source = _HashedSource(raw, advance)
        try:
            records = _records(io.BufferedReader(source, _READ_BYTES))
            while blocks := [(row["number"], row["content"]) for row in islice(records, _BATCH_BLOCKS)]:
                after = _check_order(place, volume, file, blocks, after)
                count += len(blocks)
                yield blocks
            source.drain()
        except (OSError, TidelogError):
            raise
        except Exception as error:  # bytes that are no Avro make fastavro and zstd raise anything
            raise damaged(place.url, f"it cannot be decoded: {error!r}", file.name) from error
    if (source.size, source.checksum) != (file.size, file.checksum):
        raise damaged(place.url, "its bytes are not those that were written", file.name)
    if count != file.blocks:
        raise damaged(place.url, f"it holds {count} blocks, not {file.blocks}", file.name)


def bytes_checksum(place: Place, file: FileRecord, advance: Advance) -> tuple[int, str]:
    """Size and checksum of a file as it is, nothing decoded. Raises `ExportDamaged` if it is missing."""
    with _opened(place, file) as raw:
        source = _HashedSource(raw, advance)
        source.drain()
    return source.size, source.checksum


def _records(file: BinaryIO) -> Iterator[dict[str, Any]]:
    found = fastavro.reader(file)
    if to_parsing_canonical_form(found.writer_schema) != to_parsing_canonical_form(schema()):
        raise ValueError("its schema is another one")
    return iter(cast("Iterable[dict[str, Any]]", found))


def _check_order(place: Place, volume: VolumeInfo, file: FileRecord, blocks: list[Block], last: int) -> int:
    """The number of the last block."""
    end = volume.blocks
    for number, content in blocks:
        if number <= last:
            raise damaged(place.url, f"block {number} stands behind block {last}", file.name)
        # A block that a shrink has named lies behind the end, and there is nothing in it.
        if len(content) > volume.block_size or number >= (end if content else MAX_BLOCKS):
            what = f"block {number} of {len(content)} bytes cannot be in volume {volume.name}"
            raise damaged(place.url, what, file.name)
        last = number
    return last


def _opened(place: Place, file: FileRecord) -> BinaryIO:
    try:
        return place.open(file.name)
    except (FileNotFoundError, IsADirectoryError):
        raise damaged(place.url, "it is missing", file.name) from None


class _Hashed:
    """What fastavro writes to: the file, counted and hashed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = blake3()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def seekable(self) -> bool:
        """fastavro would else look whether it is to append."""
        return False

    @property
    def checksum(self) -> str:
        return self._hash.digest(16).hex()


class _HashedSource(io.RawIOBase):
    """A file that is read once through, counted and hashed."""

    def __init__(self, file: BinaryIO, advance: Advance) -> None:
        self._file = file
        self._advance = advance
        self._hash = blake3()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        self.size += len(data)
        self._advance(len(data))
        return len(data)

    def drain(self) -> None:
        """Reads the rest."""
        buffer = bytearray(_READ_BYTES)
        while self.readinto(buffer):
            pass

    @property
    def checksum(self) -> str:
        return self._hash.digest(16).hex()
