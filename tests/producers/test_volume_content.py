"""A volume made to read as another by writing what differs: only that, in whole blocks, through the log."""

from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from tests.producers.conftest import Lab, events
from tidelog.errors import UsageError
from tidelog.producers import volume_content
from tidelog.producers.group import Group

BLOCK = 512


@dataclass
class Source:
    """Bytes as a volume."""

    data: bytes
    name: str = "source"

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@pytest.mark.parametrize("seed", range(20))
def test_only_what_differs_is_written(lab: Lab, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against bytearrays, in parts of several sizes, last block short; the second time nothing is."""
    random = Random(seed)
    monkeypatch.setattr(volume_content, "_PART_BYTES", random.choice((1, 3, 50)) * BLOCK)
    group = lab.group(batch_bytes=random.choice((2, 64)) * 1024)
    size = 40 * BLOCK + random.choice((0, 17))
    volume = group.create_volume("v", size, BLOCK)
    before, wanted = bytearray(size), bytearray(size - random.choice((0, 3 * BLOCK + 5)))
    for image in (before, wanted):
        for block in range(0, len(image), BLOCK):
            end = min(len(image), block + BLOCK)
            image[block:end] = random.choice((b"\0", b"a", b"b")) * (end - block)
    volume.write(0, bytes(before))
    applied(lab, group)
    start = len(events(lab.log))
    written = volume.copy_from(Source(bytes(wanted)))
    applied(lab, group)
    assert volume.read(0, size) == wanted.ljust(size, b"\0")
    pairs = ((before[at : at + BLOCK], wanted.ljust(size, b"\0")[at : at + BLOCK]) for at in range(0, size, BLOCK))
    assert written == sum(len(new) for old, new in pairs if old != new)
    assert written == sum(length for _, length in _extents(events(lab.log)[start:]))
    assert volume.copy_from(Source(bytes(wanted))) == 0


def test_what_does_not_fit(lab: Lab) -> None:
    """Nothing is written."""
    group = lab.group()
    volume = group.create_volume("v", 4 * BLOCK, BLOCK)
    applied(lab, group)
    before = len(events(lab.log))
    with pytest.raises(UsageError, match="do not fit"):
        volume.copy_from(Source(bytes(4 * BLOCK + 1)))
    applied(lab, group)
    assert len(events(lab.log)) == before


def applied(lab: Lab, group: Group) -> None:
    """The site has come as far as the log."""
    group.flush()
    lab.site.applied = group.session.confirmed.sequence


def _extents(found: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Offset and length of what the events write or discard."""
    extents: list[tuple[int, int]] = []
    for event in found:
        if event["kind"] == "WriteBatch":
            extents += zip(event["offsets"], event["lengths"], strict=True)
        elif event["kind"] == "Discard":
            extents.append((event["offset"], event["length"]))
    return extents
