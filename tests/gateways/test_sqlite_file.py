"""A file of growing length on a volume, and the overlay that makes a copy writable."""

import random

from tests.gateways.bank import Group, Volume
from tidelog.gateways.sqlite_file import DATA_OFFSET, Overlay, VolumeFile


def test_a_file_reads_zeros_in_a_gap_over_old_bytes() -> None:
    """A write behind the end of a file that once was longer does not bring the old bytes back."""
    volume = Volume(Group())
    file = VolumeFile(volume)
    file.write(0, b"x" * 20_000)
    file.truncate(10, discard=False)
    file.write(100, b"y")
    file.settle()
    assert VolumeFile(volume).read(0, 1000) == b"x" * 10 + bytes(90) + b"y"


def test_a_file_and_an_overlay_agree_with_a_bytearray() -> None:
    """Random writes, reads, truncations and reopenings, on a volume and on an overlay of it."""
    rng = random.Random(8)
    base = Volume(Group(), 300_000)
    base.write(0, bytes(DATA_OFFSET))
    before = bytes(base.content)
    for volume in (Volume(Group(), 300_000), Overlay(base)):
        file, model = VolumeFile(volume), bytearray()
        for _ in range(2000):
            offset, length = rng.randrange(max(len(model), 1) + 50), rng.randrange(1, 5000)
            match rng.randrange(8):
                case 0:
                    file.truncate(offset, discard=rng.random() < 0.5)
                    del model[offset:]
                case 1:
                    file.settle()
                    file = VolumeFile(volume)
                case 2 | 3:
                    assert file.read(offset, length) == model[offset : offset + length]
                case _:
                    data = rng.randbytes(length)
                    offset = len(model) if rng.random() < 0.5 else offset
                    if offset + length <= file.capacity:
                        file.write(offset, data)
                        model[len(model) : offset] = bytes(max(offset - len(model), 0))
                        model[offset : offset + length] = data
            assert file.length == len(model)
    assert base.content == before
