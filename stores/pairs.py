"""Pairs of volumes that copies have gone between, and the blocks in which the two may differ (DESIGN section 8).

Outside its bitmap the live source and the live target of a pair are equal, block for block. Every event ors into it
what it names on either side, other pairs' copies included (C9); a copy from the source as it was in P leaves what was
named on the source since (C8), a copy of the live source leaves nothing. Two volumes that no copy has gone between may
differ wherever either was ever named. A volume needs no pair with itself: restoring it to P touches what was named
since P, and nothing else can differ.
"""

from typing import TypeAlias

from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.wire import Command

# The ids of source and target.
Pair: TypeAlias = tuple[int, int]


def decode_pair(field: bytes) -> Pair:
    """The pair of a field of the store's ``pairs``."""
    source, _, target = field.partition(b":")
    return int(source), int(target)


def pairs_with(pairs: dict[Pair, ChangeBitmap], volume: int, keys: Keys) -> list[tuple[bytes, ChangeBitmap]]:
    """Key and bitmap of each pair that the volume is a side of."""
    return [(keys.pair_bitmap(*pair), bitmap) for pair, bitmap in pairs.items() if volume in pair]


def copied_pairs(pairs: dict[Pair, ChangeBitmap], generation: int, keys: Keys) -> list[Command]:
    """What a cut keeps of the pairs: whoever goes on from the copy must know in which blocks they may differ."""
    parts = [part for pair, bitmap in pairs.items() for part in (keys.pair_field(*pair), bytes(bitmap.bits))]
    return [(b"HSET", keys.copied_pairs(generation), *parts)] if parts else []


def may_differ(
    pair: Pair,
    known: ChangeBitmap | None,
    named: tuple[ChangeBitmap, ChangeBitmap],
    since: ChangeBitmap,
    target_blocks: int,
) -> ChangeBitmap:
    """The blocks of the target that a copy must bring over, at the least.

    ``known`` is the pair's bitmap if there is one, ``named`` every block ever named on source and target, ``since``
    those named on the source since the source copy (none if the live source is copied).
    """
    found = ChangeBitmap(since.bits)
    if pair[0] != pair[1]:
        for bitmap in named if known is None else (known,):
            found.merge(bitmap)
    found.discard_range(target_blocks, len(found.bits) * 8)
    return found
