"""What stands in a position's place while a copy from elsewhere is loaded: who loads it, and how far that has come.

It changes in the same EXEC as the blocks, as its last command, so a load that was cut short goes on where it was.
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Self

from tidelog.errors import REBUILD, NeedsRebuild, StoreDamaged
from tidelog.stores.store import Copy

LOADING = b"loading:"
# The same while a store is emptied that is to be empty afterwards: this, and who is at it.
ERASED_BY = b"erasing:"
# The random name of a load, in hexadecimal.
NAME_SIZE = 16


@dataclass(frozen=True, slots=True)
class Loading:
    """Which copy is loaded, and what of it stands here: of the volumes by id all before ``volume``, and of that one
    the blocks up to ``block``.

    ``kind`` and ``source`` say where it comes from. Only a load of the same kind and copy goes on with another: two
    sites hold the same blocks of a copy, and name the same ones; an export leaves out those that are zeros.
    """

    kind: str
    source: str
    sequence: int
    seal: str
    digest: str
    volume: int = 0
    block: int = -1

    @classmethod
    def of(cls, kind: str, source: str, copy: Copy, digest: bytes) -> Self:
        """Of a copy of which nothing is here yet."""
        return cls(kind, source, copy.sequence, copy.seal.hex(), digest.hex())

    def goes_on_with(self, other: "Loading") -> bool:
        """Whether what stands here of this load is what stands there of the other."""
        mine, theirs = ((one.kind, one.sequence, one.seal, one.digest) for one in (self, other))
        return mine == theirs

    def at(self, volume: int, block: int) -> Self:
        """The same load, so far."""
        return replace(self, volume=volume, block=block)


def encode_loading(name: bytes, loading: Loading) -> bytes:
    """The value in the position's place."""
    return LOADING + name + json.dumps(asdict(loading), separators=(",", ":"), sort_keys=True).encode()


def decode_loading(value: object) -> Loading | None:
    """The load that stands in a position's place; None if none does. Raises `StoreDamaged`."""
    if not isinstance(value, bytes) or not value.startswith(LOADING):
        return None
    try:
        return Loading(**json.loads(value[len(LOADING) + NAME_SIZE :]))
    except (ValueError, TypeError) as error:
        raise StoreDamaged(
            f"the store holds a load that tidelog did not begin: {value[:60]!r}",
            hint=f"rebuild it with: {REBUILD}",
        ) from error


def being_loaded() -> NeedsRebuild:
    """What whoever wants the position is told meanwhile."""
    return NeedsRebuild(
        "a copy from elsewhere is being loaded into this store, or that was cut short",
        hint=f"wait for it, or go on with it: {REBUILD}",
    )
