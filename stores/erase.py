"""Emptying a store, for a rebuild."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import cast

from tidelog.errors import StoreDamaged, StoreUnavailable
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.records import decode_clone
from tidelog.stores.watched import change_beside

# While a store is erased or loaded it must not be called good, whatever it has applied: a sequence beyond all.
ERASING = 1 << 62


def erase(keyspace: Keyspace, keys: Keys, origin: bytes) -> Iterator[int]:
    """Deletes every key of the group but ``identity`` and ``rebuild``, then sets the position to ``origin``; yields the
    number of keys deleted so far.

    The position goes first, and in the same step every clone's own key: from then on no applier can write, nobody can
    write to a clone, and what is left cannot be taken for a store. Keys are found by SCAN, not by bitmaps, so that a
    damaged store is emptied too.
    """
    set_position(keyspace, keys, None, lambda: _clones_away(keyspace, keys))
    kept = {keys.identity, keys.rebuild}
    cursor = deleted = 0
    while True:
        cursor, found = keyspace.scan(cursor, keys.prefix)
        gone = [key for key in found if key not in kept]
        if gone:
            keyspace.transact([(b"DEL", *gone)])
            deleted += len(gone)
            yield deleted
        if not cursor:
            break
    set_position(keyspace, keys, origin)


def mark_erasing(keyspace: Keyspace, keys: Keys) -> None:
    """Marks the store as being erased, and sets the position to what it is, in one step that every applier notices, and
    whoever is about to make a clone: clones that are not there then are not made any more."""
    mark: Command = (b"SET", keys.rebuild, b"%d" % ERASING)

    def commands(position: bytes | None) -> list[Command]:
        return [mark] if position is None else [mark, (b"SET", keys.position, position)]

    _change_position(keyspace, keys, commands)


def _clones_away(keyspace: Keyspace, keys: Keys) -> list[Command]:
    """Ends every clone and hold that there is beside the watched position."""
    gone = [keys.clones, keys.holds]
    with suppress(StoreDamaged):  # which clones there were cannot be told: the scan takes away what it finds of them
        (rows,) = keyspace.transact([(b"HGETALL", keys.clones)])
        gone += [keys.clone(decode_clone(row).id) for row in cast("list[bytes]", rows)[1::2]]
    return [(b"DEL", *gone)]


def set_position(
    keyspace: Keyspace, keys: Keys, value: bytes | None, beside: Callable[[], list[Command]] = list
) -> None:
    """Sets or deletes the position, whatever it is, such that every applier notices; in the same step does what
    ``beside`` says, which is asked while the position is watched."""
    last: Command = (b"DEL", keys.position) if value is None else (b"SET", keys.position, value)
    _change_position(keyspace, keys, lambda _: [*beside(), last])


def _change_position(keyspace: Keyspace, keys: Keys, commands: Callable[[bytes | None], list[Command]]) -> None:
    failed = StoreUnavailable("the store never stands still", hint="stop the site's worker first")
    change_beside(keyspace, keys.position, commands, failed)
