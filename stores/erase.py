"""Emptying a store, for a rebuild."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import cast

from tidelog.errors import StoreDamaged, StoreUnavailable
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, PositionMoved, Session
from tidelog.stores.loading import ERASED_BY, LOADING, NAME_SIZE
from tidelog.stores.records import decode_clone
from tidelog.stores.watched import TRIES, change_beside

# While a store is erased or loaded it must not be called good, whatever it has applied: a sequence beyond all.
ERASING = 1 << 62


def erase(keyspace: Keyspace, keys: Keys, origin: bytes, taken: bytes | None = None) -> Iterator[int]:
    """Deletes every key of the group but ``identity`` and ``rebuild``, then sets the position to ``origin``; yields the
    number of keys deleted so far. ``taken`` is what stands in the position's place since the caller took the store;
    None: it is taken here, whatever stands there.

    A random name stands in the position's place meanwhile, put there in the step that ends every clone: from then on no
    applier can write, nobody can write to a clone, and what is left cannot be taken for a store. Every step is
    conditional on that name, so whoever else takes the store ends this before a key of theirs is deleted. Keys are
    found by SCAN, not by bitmaps, so that a damaged store is emptied too.

    Raises `StoreUnavailable` once another process has taken the store over.
    """
    name = taken if taken is not None else ERASED_BY + os.urandom(NAME_SIZE // 2).hex().encode()
    kept = {keys.identity, keys.rebuild, keys.position}
    session = keyspace.session(keys.position)
    try:
        _step(session, lambda: [*_clones_away(keyspace, keys), (b"SET", keys.position, name)], taken)
        cursor = deleted = 0
        while True:
            cursor, found = keyspace.scan(cursor, keys.prefix)
            gone = [key for key in found if key not in kept]
            if gone:
                _step(session, partial(list, [(b"DEL", *gone)]), name)
                deleted += len(gone)
                yield deleted
            if not cursor:
                break
        _step(session, lambda: [(b"SET", keys.position, origin)], name)
    finally:
        session.close()


def _step(session: Session, commands: Callable[[], list[Command]], name: bytes | None) -> None:
    """One EXEC, conditional on ``name`` in the position's place (None: on whatever stands there), and tried again when
    somebody has only touched that."""
    for _ in range(TRIES):
        value = session.begin()
        if name is not None and value != name:
            raise StoreUnavailable(
                "another process has taken this store over while it was erased",
                hint="is another rebuild, an import or a roll back running? run it again when that has ended",
            )
        session.submit(commands())
        try:
            session.settle()
        except PositionMoved:
            continue
        return
    raise _never_still()


def mark_erasing(keyspace: Keyspace, keys: Keys) -> None:
    """Marks the store as being erased, and sets the position to what it is, in one step that every applier notices, and
    whoever is about to make a clone: clones that are not there then are not made any more."""
    mark: Command = (b"SET", keys.rebuild, b"%d" % ERASING)

    def commands(position: bytes | None) -> list[Command]:
        return [mark] if position is None else [mark, (b"SET", keys.position, position)]

    change_beside(keyspace, keys.position, commands, _never_still())


def _clones_away(keyspace: Keyspace, keys: Keys) -> list[Command]:
    """Ends every clone and hold that there is beside the watched position."""
    gone = [keys.clones, keys.holds]
    with suppress(StoreDamaged):  # which clones there were cannot be told: the scan takes away what it finds of them
        (rows,) = keyspace.transact([(b"HGETALL", keys.clones)])
        gone += [keys.clone(decode_clone(row).id) for row in cast("list[bytes]", rows)[1::2]]
    return [(b"DEL", *gone)]


def withdraw_mark(keyspace: Keyspace, keys: Keys, before: int | None) -> None:
    """Puts back what the mark was before `mark_erasing`, unless an erase or a load has begun: by whomever, what stands
    there then is no store."""
    put: Command = (b"DEL", keys.rebuild) if before is None else (b"SET", keys.rebuild, b"%d" % before)

    def commands(position: bytes | None) -> list[Command] | None:
        return None if position is None or position.startswith((LOADING, ERASED_BY)) else [put]

    change_beside(keyspace, keys.position, commands, _never_still())


def _never_still() -> StoreUnavailable:
    return StoreUnavailable("the store never stands still", hint="stop the site's worker first")
