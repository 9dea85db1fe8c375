"""Dropping a copy at one site alone, from any process."""

from dataclasses import replace

from tidelog.clock import wall_us
from tidelog.errors import StoreUnavailable
from tidelog.schemas.locks import locked_error
from tidelog.stores.forgotten import forget as forgetting
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.records import decode_copy, decode_position, encode_copy, encode_position
from tidelog.stores.state import present
from tidelog.stores.store import Copy, CopyState

_TRIES = 1000


def mark_dropping(keyspace: Keyspace, keys: Keys, group: str, copy: Copy, *, forget: bool) -> bool:
    """See `Store.mark_dropping`."""
    field = b"%d" % copy.generation
    session = keyspace.session(keys.position)
    try:
        for _ in range(_TRIES):
            position = decode_position(present(session.begin()))
            (value,) = keyspace.transact([(b"HGET", keys.copies, field)])
            found = decode_copy(value) if isinstance(value, bytes) else None
            if found is None or found.state is not CopyState.FORMED:
                return False
            if (found.sequence, found.seal) != (copy.sequence, copy.seal):
                return False
            if found.locked_until_us > min(position.head.timestamp_us, wall_us()):
                raise locked_error(found.name, found.locked_until_us, group)
            marked = encode_copy(replace(found, state=CopyState.DROPPING))
            moved = encode_position(replace(position, layout=position.layout + 1))
            also = forgetting(keys, found, position.head.timestamp_us) if forget else []
            session.submit([(b"HSET", keys.copies, field, marked), *also, (b"SET", keys.position, moved)])
            try:
                session.settle()
            except PositionMoved:
                continue
            return True
    finally:
        session.close()
    raise StoreUnavailable(f"copy {copy.name} cannot be marked: the store never stands still", hint="try again")
