"""In which blocks two volumes may differ: now, which a writer asks before it copies one, and as a copy carries it."""

from typing import cast

from tidelog.errors import REBUILD, CopyMissing, StoreUnavailable
from tidelog.schemas.chain import Head
from tidelog.schemas.volumes import MAX_BLOCKS
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, Reply
from tidelog.stores.pairs import Pair, decode_pair, may_differ
from tidelog.stores.reading import check_good, check_readable, standing
from tidelog.stores.records import decode_position
from tidelog.stores.scars import present as present_history
from tidelog.stores.state import READ_TRIES, Tables, present, read_tables
from tidelog.stores.store import Copy, CopyOrigin, CopyState


def read_changes(
    keyspace: Keyspace, keys: Keys, pair: Pair, source_copy: tuple[int, bytes] | None
) -> tuple[ChangeBitmap, Head]:
    """The bitmap and the head that it is true at; ``source_copy`` is (sequence, seal), None for the live source.

    Before the site has come to the source copy, nothing; who asks must look at the head. While an event is applied
    in part, some of its blocks may be in the bitmap. Raises `CopyMissing`, `SiteBehind` during a rebuild,
    `StoreUnavailable`.
    """
    for _ in range(READ_TRIES):
        tables = read_tables(keyspace, keys)
        first = _first_generation(tables, source_copy)
        if first is None:
            return ChangeBitmap(), tables.position.head
        commands: list[Command] = [(b"GET", keys.position), (b"GET", keys.rebuild), (b"GET", keys.pair_bitmap(*pair))]
        generations = present_history(tables.copies)
        places = [(volume, generation) for volume in pair for generation in generations]
        commands += [(b"GET", keys.bitmap(generation, volume)) for volume, generation in places]
        position, rebuild, known, *bitmaps = keyspace.transact(commands)
        check_good(rebuild)
        if decode_position(present(position)) != tables.position:
            continue
        named, since = (ChangeBitmap(), ChangeBitmap()), ChangeBitmap()
        for index, (place, value) in enumerate(zip(places, cast("list[bytes | None]", bitmaps), strict=True)):
            bitmap = ChangeBitmap(value)
            of_source = index < len(generations)
            named[0 if of_source else 1].merge(bitmap)
            if of_source and source_copy is not None and place[1] >= first:
                since.merge(bitmap)
        held = ChangeBitmap(cast("bytes | None", known)) if pair in tables.pairs else None
        return may_differ(pair, held, named, since, MAX_BLOCKS), tables.position.head
    raise StoreUnavailable("the store changes faster than it can be read", hint="try again")


def read_pairs(keyspace: Keyspace, keys: Keys, copy: Copy) -> dict[Pair, ChangeBitmap]:
    """The pairs at a cut and the blocks in which each may have differed. Raises `NotFound` once the copy is dropped."""
    record, hold, rows = keyspace.transact([*standing(keys, copy), (b"HGETALL", keys.copied_pairs(copy.generation))])
    check_readable(copy, record, hold)
    return _decoded(rows)


def pairs_at(keyspace: Keyspace, keys: Keys, generation: int) -> dict[Pair, ChangeBitmap]:
    """The same of a generation, whatever its copy's state."""
    return _decoded(keyspace.transact([(b"HGETALL", keys.copied_pairs(generation))])[0])


def _decoded(rows: Reply) -> dict[Pair, ChangeBitmap]:
    parts = cast("list[bytes]", rows)
    return {decode_pair(field): ChangeBitmap(value) for field, value in zip(parts[::2], parts[1::2], strict=True)}


def _first_generation(tables: Tables, source_copy: tuple[int, bytes] | None) -> int | None:
    """The generation of the source copy, 0 for a live source; None if the site is not there yet."""
    if source_copy is None:
        return 0
    for copy in tables.copies.values():
        marked = copy.state is CopyState.FORMED and copy.origin is CopyOrigin.MARKER
        if marked and (copy.sequence, copy.seal) == source_copy:
            return copy.generation
    if tables.position.head.sequence < source_copy[0]:
        return None
    raise CopyMissing(
        "this site does not hold the source copy, or drops it on its own",
        sequence=source_copy[0],
        hint=f"its worker would halt, too. All of the log makes it again: {REBUILD} --from-scratch --from log; if that"
        f" was trimmed, a base that was made behind that copy's last use needs it no more: {REBUILD} --from-scratch",
    )
