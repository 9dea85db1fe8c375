"""What the reference interpreter (`tests.reference`) keeps: volumes as bytearrays, and copies of them."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from blake3 import blake3


class Impossible(Exception):
    """The log holds what no history can: a broken seal, a forked session, a write outside a volume."""


@dataclass
class Volume:
    """A live volume. ``named`` holds the numbers of the blocks that events named since the newest cut, ``last`` for
    each block ever named the sequence of the last event that did."""

    name: str
    block_size: int
    data: bytearray
    named: set[int] = field(default_factory=set)
    last: dict[int, int] = field(default_factory=dict)

    def put(self, offset: int, data: bytes, sequence: int) -> None:
        if offset < 0 or not data or offset + len(data) > len(self.data):
            raise Impossible(f"{offset} to {offset + len(data)} of volume {self.name}, {len(self.data)} bytes long")
        self.data[offset : offset + len(data)] = data
        self._name(range(offset // self.block_size, -(-(offset + len(data)) // self.block_size)), sequence)

    def resize(self, size: int, sequence: int) -> None:
        if size < len(self.data):
            self.put(size, bytes(len(self.data) - size), sequence)
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))

    def since(self, sequence: int) -> set[int]:
        """The blocks named after that sequence."""
        return {block for block, last in self.last.items() if last > sequence}

    def become(self, content: bytes, shipped: set[int], block_size: int, sequence: int) -> None:
        """Takes the shipped blocks of ``content``; then all of it must be the same, or not enough was shipped."""
        wanted = content.ljust(len(self.data), b"\0")
        if block_size != self.block_size or len(wanted) > len(self.data):
            raise Impossible("a copy to a volume that cannot take it")
        for block in shipped:
            start = block * block_size
            if start >= len(wanted):
                raise Impossible("a copy of blocks behind the end")
            self.data[start : start + block_size] = wanted[start : start + block_size]
        if self.data != wanted:
            raise Impossible("a copy after which target and source differ")
        self._name(shipped, sequence)

    def _name(self, blocks: Iterable[int], sequence: int) -> None:
        blocks = list(blocks)
        self.named.update(blocks)
        self.last.update(dict.fromkeys(blocks, sequence))


Frozen = dict[int, tuple[str, int, bytes]]  # volume id -> name, block size, content


@dataclass(frozen=True)
class Cut:
    """A copy: what the group held at a marker."""

    sequence: int
    seal: bytes
    name: str
    timestamp_us: int
    volumes: Frozen
    blocks_changed: int
    locked_until_us: int = 0
    kept: bool = False

    @property
    def digest(self) -> bytes:
        """As DESIGN section 5 defines it."""
        rows = b""
        for number, (_, block_size, content) in sorted(self.volumes.items()):
            total = 0
            for block in range(-(-len(content) // block_size)):
                part = content[block * block_size : (block + 1) * block_size].ljust(block_size, b"\0")
                if any(part):
                    message = struct.pack("<QQ", number, block) + part
                    total += int.from_bytes(blake3(message).digest(16), "big")
            rows += struct.pack("<QQQ", number, len(content), block_size) + (total % (1 << 128)).to_bytes(16, "big")
        return blake3(rows).digest(16)
