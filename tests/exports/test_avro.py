"""The files are Avro object container files, whoever reads them."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import avro.io
import avro.schema
import pytest

from tests.exports.conftest import ignore
from tidelog.gateways.exports.blocks import write_blocks, zstd
from tidelog.gateways.exports.place import Place
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores import ahead as aheads
from tidelog.stores.ahead import ahead

META = avro.schema.parse('{"type": "map", "values": "bytes"}')
MAGIC, SYNC = 4, 16


def by_apache(path: Path) -> tuple[dict[str, bytes], list[tuple[int, bytes]]]:
    """Metadata and records by Apache's own Avro; only the codec is undone here, which it cannot without a package."""
    with path.open("rb") as file:
        assert file.read(MAGIC) == b"Obj\x01"
        decoder = avro.io.BinaryDecoder(file)
        metadata = avro.io.DatumReader(META).read(decoder)
        sync = file.read(SYNC)
        reader = avro.io.DatumReader(avro.schema.parse(metadata["avro.schema"].decode()))
        found = []
        while file.peek(1):
            count, packed = decoder.read_long(), decoder.read_bytes()
            path.with_suffix(".block").write_bytes(zstd.decompress(packed))
            with path.with_suffix(".block").open("rb") as block:
                inner = avro.io.BinaryDecoder(block)
                for _ in range(count):
                    row = reader.read(inner)
                    found.append((row["number"], row["content"]))
                assert not block.read()
            assert file.read(SYNC) == sync
    return metadata, found


def test_apaches_avro_reads_what_was_written(tmp_path: Path) -> None:
    """Numbers and lengths of every size that a volume can have."""
    chance = random.Random(1)
    numbers = sorted({0, 1, 63, 64, 8191, 8192, (1 << 20) - 1, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1})
    lengths = (0, 1, 63, 64, 100, 511, 512, 4096, 8191, 8192, 65536)
    blocks = [(number, chance.randbytes(size)) for number, size in zip(numbers, lengths, strict=True)]
    volume = VolumeInfo(7, "ledger", 1 << 48, 65536)
    written = list(
        write_blocks(Place("x", str(tmp_path)), volume, iter([blocks[:5], blocks[5:]]), {"about": "it"}, 11, ignore)
    )
    assert [(file.name, file.blocks, file.last) for file in written] == [("ledger.0000.avro", 11, (1 << 32) - 1)]
    metadata, found = by_apache(tmp_path / "ledger.0000.avro")
    assert found == blocks
    assert (metadata["avro.codec"], metadata["tidelog.volume"], metadata["about"]) == (b"zstandard", b"ledger", b"it")
    assert json.loads(metadata["avro.schema"])["name"].endswith("ExportedBlock")


def test_what_is_read_ahead_is_the_same() -> None:
    """In order, with its errors in their place, and no further ahead than it may."""
    taken: list[int] = []

    def source(end: int) -> Iterator[int]:
        for number in range(end):
            taken.append(number)
            yield number
        raise OSError("gone")

    got = []

    def take() -> None:
        for number in ahead(source(10)):
            got.append(number)
            assert len(taken) <= number + 1 + aheads._DEPTH + 1

    with pytest.raises(OSError, match="gone"):
        take()
    assert got == list(range(10))
    taken.clear()
    for _ in ahead(source(1000)):
        break
    assert len(taken) < 10
    assert list(ahead([])) == []
