"""Commands for copies by time whose copies the site has dropped on its own: it is not to make them again.

A command stays on the control topic for as long as it stands, and the copy that answered it is gone. One hash keeps
these commands beside the data, so that they go back with it when Redis loses its tail, and go with it in an erase.
"""

from collections.abc import Iterable
from typing import cast

from tidelog.errors import StoreDamaged
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.store import Copy, CopyOrigin
from tidelog.stores.timed import DueCopy


def forget(keys: Keys, copy: Copy, time_us: int) -> list[Command]:
    """What belongs into the transaction that drops a copy: nothing if no command made it. ``time_us`` is kept for
    people."""
    if copy.origin is not CopyOrigin.TIME:
        return []
    return [(b"HSET", keys.forgotten, _field(DueCopy(copy.name, copy.timestamp_us)), b"%d" % time_us)]


def read_forgotten(keyspace: Keyspace, keys: Keys) -> frozenset[DueCopy]:
    """Every command whose copy was dropped here. Raises `StoreDamaged`."""
    (found,) = keyspace.transact([(b"HKEYS", keys.forgotten)])
    return frozenset(map(_decoded, cast("list[bytes]", found)))


def prune_forgotten(keyspace: Keyspace, keys: Keys, standing: Iterable[DueCopy]) -> None:
    """Lets go of the commands that do not stand any more."""
    gone = read_forgotten(keyspace, keys) - frozenset(standing)
    if gone:
        keyspace.transact([(b"HDEL", keys.forgotten, *sorted(map(_field, gone)))])


def forgotten_since(keyspace: Keyspace, keys: Keys, time_us: int) -> list[Command]:
    """Lets go of what was forgotten behind ``time_us`` of the log: for a store that goes back to that time."""
    (rows,) = keyspace.transact([(b"HGETALL", keys.forgotten)])
    parts = cast("list[bytes]", rows)
    gone = [field for field, at_us in zip(parts[::2], parts[1::2], strict=True) if int(at_us) > time_us]
    return [(b"HDEL", keys.forgotten, *gone)] if gone else []


def _field(order: DueCopy) -> bytes:
    return b"%d:%b" % (order.at_us, order.name.encode())


def _decoded(field: bytes) -> DueCopy:
    at_us, _, name = field.partition(b":")
    try:
        return DueCopy(name.decode(), int(at_us))
    except ValueError as error:
        raise StoreDamaged(f"the store holds a command that tidelog did not write: {field[:40]!r}") from error
