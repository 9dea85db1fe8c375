"""Where two stores' copies differ: exactly the blocks whose bytes do, and little is read twice."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_lab import IDENTITY, Author, apply

from tidelog.errors import NeedsRebuild, NotFound
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores import ranges
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.digest import digest_bytes
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.ranges import differing_blocks, looked_at, range_sums

BLOCK = 512
KEYS = Keys(IDENTITY.group)


def ignore(_: int) -> None:
    """Nobody looks at the progress."""


class Twins:
    """The same log in two stores, with copies ``one`` and ``two`` of a volume, and writes behind both."""

    def __init__(self, blocks: int, seed: int, *, thin: bool = False) -> None:
        chance, author = random.Random(seed), Author()
        self.volume = author.create("v", blocks * BLOCK)
        for name in ("one", "two", None):
            for _ in range(3 if thin else 1 + 3 * blocks // 4):
                block = chance.randrange(blocks)
                length = chance.randrange(1, BLOCK - 100)
                author.write((self.volume, block * BLOCK, chance.randbytes(length)))
            if name:
                author.mark(name)
        self.keyspaces = [MemoryKeyspace(), MemoryKeyspace()]
        self.stores = [Store.create(keyspace, IDENTITY) for keyspace in self.keyspaces]
        for store in self.stores:
            apply(store, author)

    def info(self, name: str) -> VolumeInfo:
        found = self.stores[0].copy(name).volume("v")
        assert found is not None
        return found

    def content(self, name: str, side: int) -> bytes:
        store = self.stores[side]
        return store.read(self.info(name), 0, self.info(name).size, store.copy(name))

    def truth(self, name: str) -> list[int]:
        """The blocks that differ, by reading all of both."""
        one, two = (self.content(name, side) for side in (0, 1))
        return [at // BLOCK for at in range(0, len(one), BLOCK) if one[at : at + BLOCK] != two[at : at + BLOCK]]

    def differing(self, name: str) -> list[int]:
        contents = [store.contents(store.copy(name)) for store in self.stores]
        return list(differing_blocks(contents[0], contents[1], self.info(name), ignore).blocks())

    def damage(self, chance: random.Random, side: int) -> None:
        """One value of one store, behind its back: a bit of it, a shorter one, none."""
        data = self.keyspaces[side].data
        marks = (KEYS.prefix + b"b:", KEYS.prefix + b"g:")
        key = chance.choice(sorted(key for key in data if key.startswith(marks)) or [b""])
        if not key:
            return  # nothing is left
        value = data[key]
        assert isinstance(value, bytes)
        kind = chance.randrange(4)
        if kind == 0 or not value:
            del data[key]
        elif kind == 1:
            data[key] = value[: chance.randrange(len(value))]
        else:
            at = chance.randrange(len(value))
            data[key] = value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :]


@settings(max_examples=60, deadline=None)
@given(blocks=st.integers(1, 300), seed=st.integers(0, 2**32), damages=st.integers(0, 12))
@pytest.mark.parametrize("sizes", [(8, 2, 8), (16, 3, 24), (1024, 4096, 2048)], ids=str)
def test_what_is_named_is_what_differs(sizes: tuple[int, int, int], blocks: int, seed: int, damages: int) -> None:
    """In either copy, by however many steps the ranges are narrowed down."""
    chance = random.Random(seed)
    twins = Twins(blocks, seed)
    for _ in range(damages):
        twins.damage(chance, chance.randrange(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "RANGE_BLOCKS", sizes[0])
        patch.setattr(ranges, "RANGES_MAX", sizes[1])
        patch.setattr(ranges, "WINDOW_BYTES", sizes[2] * BLOCK)
        for name in ("one", "two"):
            assert twins.differing(name) == twins.truth(name)


@settings(max_examples=40, deadline=None)
@given(blocks=st.integers(1, 200), seed=st.integers(0, 2**32), range_blocks=st.sampled_from([8, 16, 64, 1024]))
def test_ranges_add_up_to_the_digest(blocks: int, seed: int, range_blocks: int) -> None:
    """Of all ranges; and those of a part of the volume are the same ones."""
    twins = Twins(blocks, seed)
    store, volume = twins.stores[0], twins.info("two")
    copy = store.copy("two")
    contents = store.contents(copy)
    named = contents.named(volume)
    end = len(named.bits) * 8
    sums = range_sums(contents, volume, named, (0, end), range_blocks, ignore)
    assert digest_bytes(sums.values()) == store.volume_digest(volume, copy)
    middle = end // 2 // range_blocks * range_blocks
    parts = [range_sums(contents, volume, named, span, range_blocks, ignore) for span in ((0, middle), (middle, end))]
    assert parts[0] | parts[1] == sums and not parts[0].keys() & parts[1].keys()


def test_a_bit_of_a_bitmap_shows_as_what_is_read() -> None:
    """A change bitmap that has lost a bit makes the copy read another block: that one is named."""
    twins = Twins(64, 7)
    store = twins.stores[0]
    one = store.copy("one")
    key = KEYS.bitmap(one.generation, twins.volume)
    bits = ChangeBitmap(twins.keyspaces[0].data[key])  # type: ignore[arg-type]
    for block in list(store.contents(one).named(twins.info("one")).blocks()):
        bits.discard_range(block, block + 1)
    twins.keyspaces[0].data[key] = bytes(bits.bits)
    assert twins.truth("one") and twins.differing("one") == twins.truth("one")


@pytest.mark.parametrize("side", [0, 1])
def test_a_block_that_one_sites_bitmap_has_lost(side: int) -> None:
    """It is looked at all the same, since the other site's bitmap names it."""
    twins = Twins(64, 8)
    volume, data = twins.info("one"), twins.keyspaces[side].data
    contents = twins.stores[side].contents(twins.stores[side].copy("one"))
    named = contents.named(volume)
    kept = KEYS.before_format(twins.stores[side].copy("one").generation, twins.volume)
    block = next(block for block in named.blocks() if kept % block in data)
    data[kept % block] = b"damaged"
    named.discard_range(block, block + 1)
    data[KEYS.bitmap(0, twins.volume)] = bytes(named.bits)
    assert twins.differing("one") == twins.truth("one") == [block]


def test_little_is_read_twice() -> None:
    """One block of many differs: all are read once at each store, and again no more than one range."""
    twins = Twins(5000, 3)
    volume = twins.info("one")
    kept = KEYS.before_format(twins.stores[1].copy("two").generation, twins.volume)
    block = next(block for block in range(3000, 5000) if kept % block in twins.keyspaces[1].data)
    twins.keyspaces[1].data[kept % block] = b"damaged"
    contents = [store.contents(store.copy("two")) for store in twins.stores]
    read = 0

    def advance(count: int) -> None:
        nonlocal read
        read += count

    found = differing_blocks(contents[0], contents[1], volume, advance)
    assert list(found.blocks()) == twins.truth("two") == [block]
    once = 2 * looked_at(contents[0], contents[1], volume)
    assert once < read <= once + 2 * ranges.RANGE_BLOCKS * BLOCK


def test_of_a_thin_volume_only_what_was_written_is_read() -> None:
    """A volume of 2^22 blocks and a little data; several steps down."""
    twins = Twins(1 << 22, 5, thin=True)
    contents = [store.contents(store.copy("one")) for store in twins.stores]
    assert looked_at(contents[0], contents[1], twins.info("one")) <= 3 * BLOCK
    last = contents[0].named(twins.info("one")).last
    del twins.keyspaces[1].data[KEYS.block_format(twins.volume) % last]
    found = differing_blocks(contents[0], contents[1], twins.info("one"), ignore)
    assert list(found.blocks()) == [last]


@pytest.mark.parametrize("side", [0, 1])
def test_a_store_that_fails_ends_both(side: int) -> None:
    """The error of either store comes out, and the other is not read to its end."""
    twins = Twins(20_000, 9)
    contents = [store.contents(store.copy("one")) for store in twins.stores]
    volume = twins.info("one")
    told: list[int] = []
    named = contents[0].named(volume)
    for key in (KEYS.copies, KEYS.position):  # as an erase leaves it
        twins.keyspaces[side].data.pop(key)
    with pytest.raises((NotFound, NeedsRebuild)):
        ranges.Comparison((contents[0], contents[1]), volume, named, told.append).sums((0, len(named.bits) * 8), 1024)
    assert sum(told) < named.count * BLOCK
