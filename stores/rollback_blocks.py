"""What a roll back moves, volume by volume: the live blocks into ``lost-tail``, an elder copy's in their place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import write_bits
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.reading import sources
from tidelog.stores.records import decode_volume
from tidelog.stores.store import Copy, Position
from tidelog.stores.wire import Argument, Packed, VolumeFormats, copy_format

STEP_BLOCKS = 1024


@dataclass(slots=True)
class Rest:
    """What is left to do of one volume: where each block comes from, by the generation that has it; None for a block
    that only goes. ``tail`` is the bitmap of ``lost-tail``. ``listed``: a copy has the volume, so its blocks are kept.
    """

    volume: int
    places: dict[int | None, ChangeBitmap]
    tail: ChangeBitmap
    listed: bool

    @property
    def count(self) -> int:
        """How many blocks."""
        return sum(blocks.count for blocks in self.places.values())

    def steps(self, keys: Keys, generation: int) -> Iterator[tuple[int, list[Command]]]:
        """The number of blocks and the commands of each step; ``generation`` is that of ``lost-tail``."""
        for place, blocks in self.places.items():
            while blocks.count:
                taken = blocks.take(STEP_BLOCKS)
                yield len(taken), self._moved(keys, generation, place, taken)

    def _moved(self, keys: Keys, generation: int, place: int | None, blocks: list[int]) -> list[Command]:
        formats = VolumeFormats(keys, self.volume, generation)
        commands: list[Command] = []
        if self.listed:
            away: list[Argument] = [formats.rename % (block, block) for block in blocks]
            commands.append(Packed(len(away), away))
        else:
            commands.append((b"DEL", *(formats.block % block for block in blocks)))
        if place is not None:
            copy_of = copy_format(keys.before_format(place, self.volume), formats.block)
            back: list[Argument] = [copy_of % (block, block) for block in blocks]
            commands.append(Packed(len(back), back))
        for block in blocks:
            self.tail.add(block)
        commands.append(write_bits(keys.bitmap(generation, self.volume), self.tail, blocks[0], blocks[-1] + 1))
        return commands


def read_volumes(keyspace: Keyspace, keys: Keys) -> tuple[dict[int, VolumeInfo], dict[int, VolumeInfo]]:
    """The volumes that are live, and the deleted ones whose blocks are still there, by id."""
    found = keyspace.transact([(b"HGETALL", keys.volumes), (b"HGETALL", keys.deleted)])
    rows = [map(decode_volume, cast("list[bytes]", reply)[1::2]) for reply in found]
    live, deleted = ({volume.id: volume for volume in table} for table in rows)
    return live, deleted


def rests_of(keyspace: Keyspace, keys: Keys, target: Position, copies: Mapping[int, Copy]) -> Iterator[Rest]:
    """What is left to do on the way to ``target``, whose generation is that of ``lost-tail``."""
    tail = copies[target.generation]
    kept = {volume.id for volume in copies[tail.base].volumes}
    listed = {volume.id for copy in copies.values() for volume in copy.volumes}
    live, deleted = read_volumes(keyspace, keys)
    generations = [one for one in copies if tail.base <= one < tail.generation]
    for number in sorted(live.keys() | deleted.keys() | kept):
        if number not in kept and number <= target.head.sequence:
            continue  # it was deleted before the copy: nothing was named in it since
        commands: list[Command] = [(b"GET", keys.bitmap(one, number)) for one in (*generations, tail.generation)]
        *layers, done = [ChangeBitmap(cast("bytes | None", reply)) for reply in keyspace.transact(commands)]
        named = ChangeBitmap()
        for layer in layers:
            named.merge(layer)
        named -= done
        bits = {one: layer.bits for one, layer in zip(generations, layers, strict=True)}
        nowhere: dict[int | None, ChangeBitmap] = {None: named}
        places = sources(bits, named) if number in kept else nowhere
        yield Rest(number, places, done, number in listed)
