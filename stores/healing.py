"""The end of a scar that a roll back has left (`tidelog.stores.scars`), once no lost copy needs it."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import write_bits
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.records import encode_copy
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyOrigin

# Blocks of one step.
STEP_BLOCKS = 1024

# The bitmaps, by (generation, volume id), that have any bit set.
ReadBits: TypeAlias = Callable[[set[tuple[int, int]]], dict[tuple[int, int], ChangeBitmap]]


class Healing:
    """Takes a scar away, in steps: the bits and before-images of the copy that was gone back to, which from then on is
    read as the generation behind the scar is. Its last step makes that one an ordinary generation that is nobody's.

    Cut short it is begun anew, from what is left: until the last step nothing else changes these bitmaps."""

    def __init__(self, image: Image, keys: Keys, read: ReadBits, end: Copy) -> None:
        self._image, self._keys, self._end = image, keys, end
        ids = [volume.id for volume in image.volumes] + list(image.deleted)
        self._bits = read({(end.base, volume) for volume in ids})
        self.done = False

    def step(self) -> list[Command]:
        """The next commands; after the last ones `done`."""
        keys = self._keys
        for (generation, volume), bits in self._bits.items():
            if bits.count:
                blocks = bits.take(STEP_BLOCKS)
                before_of = keys.before_format(generation, volume)
                return [
                    (b"DEL", *(before_of % block for block in blocks)),
                    write_bits(keys.bitmap(generation, volume), bits, blocks[0], blocks[-1] + 1),
                ]
        self.done = True
        generation = self._end.generation
        copy = self._image.copies[generation] = replace(self._end, origin=CopyOrigin.SPLIT, base=0)
        return [(b"HSET", keys.copies, b"%d" % generation, encode_copy(copy))]
