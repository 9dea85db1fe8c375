"""What an applier keeps in memory of the store it writes to, and how it is read."""

from dataclasses import dataclass, field
from typing import cast

from tidelog.errors import REBUILD, ROLLBACK, NeedsRebuild, RollingBack, StoreUnavailable
from tidelog.schemas.volumes import VolumeInfo, VolumeTable
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, Reply
from tidelog.stores.loading import ERASED_BY, LOADING, being_loaded
from tidelog.stores.pairs import Pair, decode_pair
from tidelog.stores.records import decode_copy, decode_position, decode_volume
from tidelog.stores.scars import present as present_history
from tidelog.stores.store import Copy, Position

# A reader meets a moving position; after so many tries something else is wrong.
READ_TRIES = 100
# What stands in a position's place while a roll back is under way: this, and where it will end, with how far it is.
ROLLING = b"rolling:"


@dataclass(slots=True)
class Tables:
    """Position, live volumes, deleted volumes whose blocks remain, copies (by generation), pairs, and the copy that is
    being made late, if any: all of one moment."""

    position: Position
    volumes: VolumeTable
    deleted: dict[int, VolumeInfo]
    copies: dict[int, Copy]
    pairs: list[Pair]
    forming: Copy | None

    @property
    def generations(self) -> list[int]:
        """Those that exist, oldest first; 0, before the first cut, always does."""
        return [0, *self.copies]


@dataclass(slots=True)
class Image:
    """An applier's picture. ``changed`` is the newest generation's bitmap of each live volume, ``named`` the union of
    all generations': every block that any event of the present history ever named. ``pairs`` are those that copies onto
    volumes have made."""

    position: Position
    volumes: VolumeTable
    deleted: dict[int, VolumeInfo]
    copies: dict[int, Copy]
    forming: Copy | None = None
    changed: dict[int, ChangeBitmap] = field(default_factory=dict)
    named: dict[int, ChangeBitmap] = field(default_factory=dict)
    pairs: dict[Pair, ChangeBitmap] = field(default_factory=dict)


def read_tables(keyspace: Keyspace, keys: Keys) -> Tables:
    """Raises `NeedsRebuild` if there is no position."""
    position, volumes, deleted, copies, pairs, forming = keyspace.transact(
        [
            (b"GET", keys.position),
            (b"HGETALL", keys.volumes),
            (b"HGETALL", keys.deleted),
            (b"HGETALL", keys.copies),
            (b"HKEYS", keys.pairs),
            (b"GET", keys.forming),
        ]
    )
    found = sorted(map(decode_copy, _values(copies)), key=lambda copy: copy.generation)
    return Tables(
        decode_position(present(position)),
        VolumeTable(sorted(map(decode_volume, _values(volumes)), key=lambda volume: volume.id)),
        {volume.id: volume for volume in map(decode_volume, _values(deleted))},
        {copy.generation: copy for copy in found},
        sorted(map(decode_pair, cast("list[bytes]", pairs))),
        decode_copy(forming) if isinstance(forming, bytes) else None,
    )


def present(position: Reply) -> bytes:
    """The stored position. Raises `NeedsRebuild` if it is absent, or a copy from elsewhere is being loaded;
    `RollingBack` while a roll back is under way."""
    if isinstance(position, bytes) and position.startswith(ROLLING):
        raise RollingBack(
            "the store is being rolled back, or a roll back was cut short",
            hint=f"wait for it, or run it again: {ROLLBACK}",
        )
    if isinstance(position, bytes) and position.startswith(LOADING):
        raise being_loaded()
    if not isinstance(position, bytes) or position.startswith(ERASED_BY):
        raise NeedsRebuild(
            "the store has no position: an erase was cut short, or keys were lost",
            hint=f"rebuild the site with: {REBUILD}",
        )
    return position


def read_image(keyspace: Keyspace, keys: Keys) -> Image:
    """Everything an applier needs, all of one position."""
    for _ in range(READ_TRIES):
        tables = read_tables(keyspace, keys)
        image = Image(tables.position, tables.volumes, tables.deleted, tables.copies, tables.forming)
        ids = [volume.id for volume in tables.volumes]
        generations, counted = tables.generations, frozenset(present_history(tables.copies))
        commands: list[Command] = [(b"GET", keys.position)]
        commands += [(b"GET", keys.bitmap(generation, volume)) for volume in ids for generation in generations]
        commands += [(b"GET", keys.pair_bitmap(*pair)) for pair in tables.pairs]
        position, *bitmaps = keyspace.transact(commands)
        if decode_position(present(position)) != tables.position:
            continue
        replies = iter(cast("list[bytes | None]", bitmaps))
        for volume in ids:
            named = ChangeBitmap()
            for generation in generations:
                newest = ChangeBitmap(next(replies))
                if generation in counted:
                    named.merge(newest)
            image.changed[volume], image.named[volume] = newest, named
        image.pairs = {pair: ChangeBitmap(next(replies)) for pair in tables.pairs}
        return image
    raise StoreUnavailable("the store changes faster than it can be read", hint="is another worker on this group?")


def _values(table: Reply) -> list[bytes]:
    return cast("list[bytes]", table)[1::2]
