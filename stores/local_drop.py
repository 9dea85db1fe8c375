"""Dropping a copy at one site alone, from any process."""

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
    field = b"%d" % copy.generation

    def plan(value: bytes | None) -> list[Command] | None:
        position = decode_position(present(value))
        (record,) = keyspace.transact([(b"HGET", keys.copies, field)])
        found = decode_copy(record) if isinstance(record, bytes) else None
        if found is None or found.state is not CopyState.FORMED:
            return None
        if (found.sequence, found.seal) != (copy.sequence, copy.seal):
            return None
        if found.locked_until_us > judged_at_us(position):
            raise locked_error(found.name, found.locked_until_us, group)
        marked = encode_copy(replace(found, state=CopyState.DROPPING))
        moved = encode_position(replace(position, layout=position.layout + 1))
        also = forgetting(keys, found, position.head.timestamp_us) if forget else []
        return [(b"HSET", keys.copies, field, marked), *also, (b"SET", keys.position, moved)]

    failed = StoreUnavailable(f"copy {copy.name} cannot be marked: the store never stands still", hint="try again")
    return change_beside(keyspace, keys.position, plan, failed)
