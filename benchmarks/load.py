"""What is written: the same writes in every process that asks for the same load."""

import random
from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.arithmetic import MIB

# Larger than most caches, so that no side finds its blocks there; random bytes, so that nothing compresses.
_POOL_BYTES = 64 * MIB


class Writes(NamedTuple):
    """Parallel lists: write ``i`` puts ``data[i]`` at byte ``offsets[i]``."""

    offsets: list[int]
    data: list[bytes]


@dataclass(frozen=True, slots=True)
class Load:
    """``count`` writes of ``size`` bytes at random multiples of ``size`` in a volume of ``volume_bytes``."""

    size: int
    count: int
    volume_bytes: int = 256 * MIB
    seed: int = 1

    @property
    def payload(self) -> int:
        """Bytes of data."""
        return self.size * self.count

    def writes(self) -> Writes:
        """The writes, in order."""
        chance = random.Random(self.seed)
        pool = _pool(self.size, self.seed)
        places = self.volume_bytes // self.size
        offsets = [place * self.size for place in chance.choices(range(places), k=self.count)]
        return Writes(offsets, chance.choices(pool, k=self.count))

    def every_block(self) -> Writes:
        """One write to each place of the volume, in random order; ``count`` does not matter."""
        chance = random.Random(self.seed)
        pool = _pool(self.size, self.seed)
        offsets = list(range(0, self.volume_bytes, self.size))
        chance.shuffle(offsets)
        return Writes(offsets, chance.choices(pool, k=len(offsets)))


def _pool(size: int, seed: int) -> list[bytes]:
    everything = random.Random(-seed).randbytes(min(_POOL_BYTES, size * 65536))
    return [everything[at : at + size] for at in range(0, len(everything), size)]
