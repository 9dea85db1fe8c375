"""Dropping, locking or keeping a copy at one site alone, from any process."""

from collections.abc import Callable
from dataclasses import replace

from tidelog.clock import wall_us
from tidelog.errors import StoreUnavailable
from tidelog.schemas.locks import locked_error
from tidelog.stores.forgotten import forget as forgetting
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace
from tidelog.stores.records import decode_copy, decode_position, encode_copy, encode_position
from tidelog.stores.state import present
from tidelog.stores.store import Copy, CopyState, Position
from tidelog.stores.watched import change_beside


def judged_at_us(position: Position) -> int:
    """The time by which a lock is judged at a site: the log's there, and no later than this machine's clock."""
    return min(position.head.timestamp_us, wall_us())


def mark_dropping(keyspace: Keyspace, keys: Keys, group: str, copy: Copy, *, forget: bool) -> bool:
    """See `Store.mark_dropping`."""

    def dropped(found: Copy, position: Position) -> tuple[Copy, list[Command]]:
        if found.locked_until_us > judged_at_us(position):
            raise locked_error(found.name, found.locked_until_us, group)
        also = forgetting(keys, found, position.head.timestamp_us) if forget else []
        return replace(found, state=CopyState.DROPPING), also

    return _change_record(keyspace, keys, copy, dropped)


def protect(keyspace: Keyspace, keys: Keys, copy: Copy, locked_until_us: int, *, kept: bool) -> bool:
    """See `Store.protect`."""

    def protected(found: Copy, _: Position) -> tuple[Copy, list[Command]] | None:
        changed = replace(found, locked_until_us=max(found.locked_until_us, locked_until_us), kept=kept)
        return None if changed == found else (changed, [])

    return _change_record(keyspace, keys, copy, protected)


def _change_record(
    keyspace: Keyspace,
    keys: Keys,
    copy: Copy,
    change: Callable[[Copy, Position], tuple[Copy, list[Command]] | None],
) -> bool:
    """Changes the record of a formed copy, beside the position, in one EXEC; whether it did."""
    field = b"%d" % copy.generation

    def plan(value: bytes | None) -> list[Command] | None:
        position = decode_position(present(value))
        (record,) = keyspace.transact([(b"HGET", keys.copies, field)])
        found = decode_copy(record) if isinstance(record, bytes) else None
        if found is None or found.state is not CopyState.FORMED:
            return None
        if (found.sequence, found.seal) != (copy.sequence, copy.seal):
            return None
        changed = change(found, position)
        if changed is None:
            return None
        moved = encode_position(replace(position, layout=position.layout + 1))
        return [(b"HSET", keys.copies, field, encode_copy(changed[0])), *changed[1], (b"SET", keys.position, moved)]

    failed = StoreUnavailable(f"copy {copy.name} cannot be marked: the store never stands still", hint="try again")
    return change_beside(keyspace, keys.position, plan, failed)
