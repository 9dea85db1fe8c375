"""Which blocks events have named between two copies, by the change bitmaps: what digests, diffs and exports read."""

from collections.abc import Iterator
from typing import cast

from tidelog.errors import StoreUnavailable
from tidelog.stores.bitmap import ChangeBitmap, byte_range
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.reading import check_good, check_readable, standing
from tidelog.stores.records import decode_copy
from tidelog.stores.scars import between
from tidelog.stores.scars import present as present_history
from tidelog.stores.state import READ_TRIES, present, read_tables
from tidelog.stores.store import Copy

# The longest span of `windows`, in units of ``blocks_max``: some KiB of each generation's bitmap, read at once.
SPAN_WINDOWS = 64


def named_between(
    keyspace: Keyspace,
    keys: Keys,
    volume: int,
    elder: Copy | None,
    copy: Copy,
    *,
    while_rebuilding: bool = False,
    lost: bool = False,
) -> ChangeBitmap:
    """The blocks of a volume named between ``elder`` (None: the beginning) and ``copy``; with those that only a lost
    history named in between if ``lost``, which are the same in both, but two blocks in the store.

    Drops in between hand bits on within that span, so the union stays what it is; but a drop of the elder hands its
    bits out of it, so that both are still readable is seen in the same MULTI. Raises `NotFound` if not, `SiteBehind`
    while a rebuild is under way (unless ``while_rebuilding``), `StoreUnavailable` after bounded tries.
    """
    first = elder.generation if elder else 0
    generations: list[int] = []
    for _ in range(READ_TRIES):
        commands: list[Command] = [(b"GET", keys.position), (b"GET", keys.rebuild), (b"HGETALL", keys.copies)]
        commands += [*standing(keys, elder or copy), *standing(keys, copy)]
        commands += [(b"GET", keys.bitmap(generation, volume)) for generation in generations]
        position, rebuild, records, *replies = keyspace.transact(commands)
        from_record, from_hold, to_record, to_hold, *bitmaps = replies
        present(position)  # without one, an erase may have taken some of the bitmaps
        if not while_rebuilding:
            check_good(rebuild)
        if elder:
            check_readable(elder, from_record, from_hold)
        check_readable(copy, to_record, to_hold)
        there = list(map(decode_copy, cast("list[bytes]", records)[1::2]))
        now = between(there, first, copy.generation)
        if lost:
            now = sorted(one for one in {0, *(other.generation for other in there)} if first <= one < copy.generation)
        if now == generations:
            union = ChangeBitmap()
            for bitmap in bitmaps:
                union.merge(ChangeBitmap(cast("bytes | None", bitmap)))
            return union
        generations = now
    raise StoreUnavailable("copies come and go faster than their bitmaps can be read")


def blocks_since(keyspace: Keyspace, keys: Keys, copy: Copy) -> tuple[int, int]:
    """How many blocks were named since ``copy``, of all volumes, and their bytes at the most: what a roll back to it
    moves. As it is about now; raises `StoreUnavailable`."""
    tables = read_tables(keyspace, keys)
    generations = between(tables.copies.values(), copy.generation, tables.position.generation + 1)
    blocks = size = 0
    for volume in (*tables.volumes, *tables.deleted.values()):
        replies = keyspace.transact([(b"GET", keys.bitmap(generation, volume.id)) for generation in generations])
        named = ChangeBitmap()
        for reply in replies:
            named.merge(ChangeBitmap(cast("bytes | None", reply)))
        blocks += named.count
        size += named.count * volume.block_size
    return blocks, size


def windows(named: ChangeBitmap, blocks_max: int) -> Iterator[tuple[int, ChangeBitmap]]:
    """``named`` cut into spans with at most ``blocks_max`` blocks set: the first block of each span that has any, and
    the span's own bitmap, whose block 0 that is. Spans begin at multiples of ``blocks_max``, itself one of 8, and grow
    while few blocks are set: a read of a thousand blocks takes as many round trips wherever they lie.
    """
    begun = end = count = 0
    for base in range(0, len(named.bits) * 8, blocks_max):
        low, high = byte_range(base, base + blocks_max)
        more = int.from_bytes(named.bits[low:high]).bit_count()
        if not more:
            continue
        if count and (count + more > blocks_max or base + blocks_max - begun > SPAN_WINDOWS * blocks_max):
            yield begun, ChangeBitmap(named.bits[begun >> 3 : end])
            count = 0
        if not count:
            begun = base
        end, count = high, count + more
    if count:
        yield begun, ChangeBitmap(named.bits[begun >> 3 : end])


def named_since(keyspace: Keyspace, keys: Keys, copy: Copy | None) -> bool:
    """Whether an event after ``copy`` (None: after the beginning) has named a block of any volume, or changed the
    volume table. As it is about now; raises `StoreUnavailable`."""
    tables = read_tables(keyspace, keys)
    if tuple(tables.volumes) != (copy.volumes if copy else ()):
        return True
    first = copy.generation if copy else 0
    generations = [generation for generation in present_history(tables.copies) if generation >= first]
    places = [(generation, volume.id) for volume in tables.volumes for generation in generations]
    bitmaps = keyspace.transact([(b"GET", keys.bitmap(*place)) for place in places]) if places else []
    return any(ChangeBitmap(cast("bytes | None", bitmap)).count for bitmap in bitmaps)
