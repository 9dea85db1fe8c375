"""Where a block that is mended in one copy goes, if that copy shares it with copies that nobody knows anything of."""

from collections.abc import Mapping
from typing import cast

from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.scars import between, scars_between
from tidelog.stores.state import read_tables
from tidelog.stores.store import Copy


def places_apart(
    keyspace: Keyspace, keys: Keys, copy: Copy, newer: Copy | None, volume: int, shared: Mapping[int, int]
) -> dict[int, int]:
    """The generation that is to keep each block for the copy, unless it is where the copy reads it now (``shared``),
    before ``newer`` (None: now).

    Its own one, so that the copies in between stay as they are; but the present history must not seem to name more, and
    healing, which takes the bits of the copy that was gone back to, must not take what was mended. So a block that the
    lost history alone has named goes to that copy, which holds the same, and one of that copy's own that the present
    history has named since goes to the generation which that began with: behind all that was lost, which it never was
    named in.
    """
    if not shared:
        return {}
    tables = read_tables(keyspace, keys)
    end = newer.generation if newer is not None else tables.position.generation + 1
    copies = tables.copies.values()
    over = scars_between(copies, copy.generation, end)
    if not over:
        return dict.fromkeys(shared, copy.generation)
    generations = between(copies, copy.generation, end)
    named = ChangeBitmap()
    for reply in keyspace.transact([(b"GET", keys.bitmap(one, volume)) for one in generations]):
        named.merge(ChangeBitmap(cast("bytes | None", reply)))
    found, behind = dict.fromkeys(shared, copy.generation), copy.generation
    for low, high in sorted(over):
        behind = high if low <= behind < high else behind
    for block, place in shared.items():
        lost = min((low for low, high in over if low <= place < high), default=None)
        if lost is None:
            found[block] = behind
        elif block not in named:
            found[block] = lost
    return {block: generation for block, generation in found.items() if generation != shared[block]}
