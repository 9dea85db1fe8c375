"""Late copies that are found in the tables: the rest of one's blocks handed over, or all taken away of one unfinished.

Each step is one EXEC that raises ``layout``, as those of a drop. While blocks go over from the elder generation to the
late copy's, the first generation with the bit set holds the same image before and after a step for every copy but the
late one, which cannot be read before the last step.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import write_bits
from tidelog.stores.cut import real
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Argument, Command
from tidelog.stores.records import encode_copy
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyState

STEP_BLOCKS = 1024

# Bitmaps, by their keys, as of the applier's position.
ReadKeys: TypeAlias = Callable[[list[bytes]], list[ChangeBitmap]]


class HandOver:
    """What the elder generation is still to hand to a late copy."""

    def __init__(self, image: Image, keys: Keys, read: ReadKeys, copy: Copy) -> None:
        self._image, self._keys, self._read, self._copy = image, keys, read, copy
        generations = [0, *image.copies]
        self._elder = generations[generations.index(copy.generation) - 1]
        self._volumes = _volumes(image)
        self._left = _present(read, self._volumes, lambda volume: keys.handed(copy.generation, volume))
        places = [keys.bitmap(generation, volume) for volume in self._left for generation in self._pair]
        found = iter(read(places))
        self._bits = {volume: (next(found), next(found)) for volume in self._left}
        self.done = False

    @property
    def _pair(self) -> tuple[int, int]:
        return self._elder, self._copy.generation

    def step(self) -> list[Command]:
        """The next commands; after the last ones `done`."""
        for volume, left in self._left.items():
            if left.count:
                return self._hand_over(volume, left)
        self.done = True
        return self._finish()

    def _hand_over(self, volume: int, left: ChangeBitmap) -> list[Command]:
        keys, (elder, late) = self._keys, self._bits[volume]
        elder_of, late_of = (keys.before_format(generation, volume) for generation in self._pair)
        blocks = left.take(STEP_BLOCKS)
        late.reserve(blocks[-1])
        for block in blocks:
            elder.discard_range(block, block + 1)
            late.add(block)
        commands: list[Command] = []
        if self._elder:  # where there is none, it is zeros in both (C2)
            commands = [(b"RENAME", elder_of % block, late_of % block) for block in blocks]
        for key, bitmap in (
            (keys.bitmap(self._elder, volume), elder),
            (keys.bitmap(self._copy.generation, volume), late),
            (keys.handed(self._copy.generation, volume), left),
        ):
            commands.append(write_bits(key, bitmap, blocks[0], blocks[-1] + 1))
        return commands

    def _finish(self) -> list[Command]:
        image, keys = self._image, self._keys
        generation = self._copy.generation
        formed = image.copies[generation] = replace(self._copy, state=CopyState.FORMED)
        commands: list[Command] = [(b"HSET", keys.copies, b"%d" % generation, encode_copy(formed))]
        if self._volumes:
            commands.append((b"DEL", *(keys.handed(generation, volume) for volume in self._volumes)))
        following = next((copy for copy in image.copies.values() if copy.generation > generation and real(copy)), None)
        if following is not None:
            counted = replace(following, blocks_changed=min(following.blocks_changed, self._named_before(following)))
            image.copies[counted.generation] = counted
            commands.append((b"HSET", keys.copies, b"%d" % counted.generation, encode_copy(counted)))
        return commands

    def _named_before(self, following: Copy) -> int:
        """The blocks named from the late copy to the next: what that one would have counted after a cut in time."""
        between = [one for one in self._image.copies if self._copy.generation <= one < following.generation]
        count = 0
        for volume in following.volumes:
            named = ChangeBitmap()
            for bitmap in self._read([self._keys.bitmap(generation, volume.id) for generation in between]):
                named.merge(bitmap)
            count += named.count
        return count


class TakeAway:
    """All that is left of a late copy that was not put among the others."""

    def __init__(self, image: Image, keys: Keys, read: ReadKeys, copy: Copy) -> None:
        self._image, self._keys, self._copy = image, keys, copy
        there = _volumes(image)
        self._gone = [volume.id for volume in copy.volumes if volume.id not in there]
        self._volumes = there + self._gone
        generation = copy.generation
        self._bits = _present(read, self._volumes, lambda volume: keys.bitmap(generation, volume))
        for elder in (0, *image.copies):
            for volume, bits in _present(read, self._gone, lambda volume: keys.bitmap(elder, volume)).items():  # noqa: B023
                self._bits.setdefault(volume, ChangeBitmap()).merge(bits)
        self.done = False

    def step(self) -> list[Command]:
        """The next commands; after the last ones `done`. The bitmaps go last: until then they find the blocks."""
        keys, generation = self._keys, self._copy.generation
        for volume, bits in self._bits.items():
            if bits.count:
                blocks = bits.take(STEP_BLOCKS)
                formats = [keys.before_format(generation, volume)]
                if volume in self._gone:
                    formats.append(keys.block_format(volume))
                return [(b"DEL", *(key_of % block for block in blocks for key_of in formats))]
        self.done = True
        self._image.forming = None
        gone: list[Argument] = [keys.forming]
        for volume in self._volumes:
            gone += (keys.bitmap(generation, volume), keys.handed(generation, volume))
        gone += (keys.bitmap(elder, volume) for volume in self._gone for elder in (0, *self._image.copies))
        return [(b"DEL", *gone)]


def _volumes(image: Image) -> list[int]:
    return [volume.id for volume in image.volumes] + list(image.deleted)


def _present(read: ReadKeys, volumes: list[int], key_of: Callable[[int], bytes]) -> dict[int, ChangeBitmap]:
    """The bitmaps of volumes, by id, that have any bit set."""
    found = zip(volumes, read([key_of(volume) for volume in volumes]), strict=True)
    return {volume: bitmap for volume, bitmap in found if bitmap.count}
