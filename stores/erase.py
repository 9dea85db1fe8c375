"""Emptying a store, for a rebuild."""

from collections.abc import Iterator

from tidelog.errors import StoreUnavailable
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved

# While a store is erased or loaded it must not be called good, whatever it has applied: a sequence beyond all.
ERASING = 1 << 62
_TRIES = 1000


def erase(keyspace: Keyspace, keys: Keys, origin: bytes) -> Iterator[int]:
    """Deletes every key of the group but ``identity`` and ``rebuild``, then sets the position to ``origin``; yields the
    number of keys deleted so far.

    The position goes first: from then on no applier can write, and what is left cannot be taken for a store. Keys are
    found by SCAN, not by bitmaps, so that a damaged store is emptied too.
    """
    set_position(keyspace, keys, None)
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


def set_position(keyspace: Keyspace, keys: Keys, value: bytes | None) -> None:
    """Sets or deletes the position, whatever it is, such that every applier notices."""
    session = keyspace.session(keys.position)
    try:
        for _ in range(_TRIES):
            session.begin()
            session.submit([(b"DEL", keys.position) if value is None else (b"SET", keys.position, value)])
            try:
                session.settle()
            except PositionMoved:
                continue
            return
    finally:
        session.close()
    raise StoreUnavailable("the store never stands still", hint="stop the site's worker first")
