"""Taking away the blocks of clones that were dropped, in bounded steps, by whoever comes by.

Each step is one EXEC that is conditional on the clone's own key and changes it, so that of several who take the same
clone away one does each step, and none writes behind the last.
"""

from dataclasses import replace
from typing import cast

from tidelog.errors import StoreUnavailable
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import write_bits
from tidelog.stores.clone_reader import dropping_token, is_dropping, is_forming
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command, Keyspace, PositionMoved, Session
from tidelog.stores.records import decode_clone, encode_clone
from tidelog.stores.store import Clone
from tidelog.stores.watched import change_beside

# Blocks of one step: a millisecond or two of Redis's time.
STEP_BLOCKS = 1024


class CloneDrop:
    """What is left of one clone. Close it."""

    def __init__(self, keyspace: Keyspace, keys: Keys, clone: Clone) -> None:
        self._keyspace, self._keys, self._clone = keyspace, keys, clone
        self._session: Session = keyspace.session(keys.clone(clone.id))
        self._left: dict[int, ChangeBitmap] | None = None  # by volume id; true while nobody else changes the clone

    def step(self) -> int | None:
        """One step: the number of blocks that it took away; None if nothing was left to do, or that was the last."""
        if self._left is None:
            state = self._session.begin()
            if not is_dropping(state):
                self._forget_record()
                return None
            self._left = self._read()
        token = dropping_token()
        commands, count = self._plan(self._left, token)
        self._session.submit(commands)
        try:
            if self._session.settle() != (token if count else None):
                self._left = None
        except PositionMoved:  # somebody else does the same, or an erase came
            self._left = None
            return 0
        return count or None

    def close(self) -> None:
        """Ends its connection."""
        self._session.close()

    def _read(self) -> dict[int, ChangeBitmap]:
        volumes = [volume.id for volume in self._clone.image.volumes]
        keys, number = self._keys, self._clone.id
        if not volumes:
            return {}
        replies = self._keyspace.transact([(b"GET", keys.clone_bitmap(number, volume)) for volume in volumes])
        return {
            volume: ChangeBitmap(cast("bytes | None", reply)) for volume, reply in zip(volumes, replies, strict=True)
        }

    def _plan(self, left: dict[int, ChangeBitmap], token: bytes) -> tuple[list[Command], int]:
        keys, number = self._keys, self._clone.id
        for volume, bitmap in left.items():
            if bitmap.count:
                blocks = bitmap.take(STEP_BLOCKS)
                key_of = keys.clone_format(number, volume)
                return [
                    (b"DEL", *(key_of % block for block in blocks)),
                    write_bits(keys.clone_bitmap(number, volume), bitmap, blocks[0], blocks[-1] + 1),
                    (b"SET", keys.clone(number), token),
                ], len(blocks)
        return [
            (b"DEL", keys.clone(number), *(keys.clone_bitmap(number, volume) for volume in left)),
            (b"HDEL", keys.clones, self._clone.field.encode()),
        ], 0

    def _forget_record(self) -> None:
        """Its own key is gone with the last step, and the record with it; one that is left all the same names nothing.
        If the clone is back, since Redis lost its tail, its record has another field."""
        self._keyspace.transact([(b"HDEL", self._keys.clones, self._clone.field.encode())])


class CloneDrops:
    """What a site's worker does about clones that were dropped: looks once, since whoever drops one raises the layout,
    after which a worker looks anew."""

    def __init__(self, keyspace: Keyspace, keys: Keys) -> None:
        self._keyspace, self._keys = keyspace, keys
        self._waiting: list[Clone] | None = None
        self._drop: CloneDrop | None = None

    def step(self) -> bool:
        """One bounded step; False if nothing was due."""
        if self._waiting is None:
            self._waiting = dropping_clones(self._keyspace, self._keys)
        if self._drop is None:
            if not self._waiting:
                return False
            self._drop = CloneDrop(self._keyspace, self._keys, self._waiting.pop())
        if self._drop.step() is None:
            self.close()
        return True

    def close(self) -> None:
        """Ends the connection of what is under way."""
        if self._drop is not None:
            self._drop.close()
            self._drop = None


def drop_commands(keys: Keys, clone: Clone, gone: Clone) -> list[Command]:
    """What makes a clone one that is being dropped."""
    return [
        (b"HDEL", keys.clones, clone.field.encode()),
        (b"HSET", keys.clones, gone.field.encode(), encode_clone(gone)),
        (b"HDEL", keys.holds, clone.id.encode()),
        (b"SET", keys.clone(clone.id), dropping_token()),
    ]


def stop_filling(keyspace: Keyspace, keys: Keys, clone: Clone) -> bool:
    """Begins the drop of a clone that is being filled, conditional on the clone's own key: whoever fills it writes no
    more, and its record says all that was written. False, and nothing is changed, if it is not being filled any more.
    """

    def plan(state: bytes | None) -> list[Command] | None:
        (row,) = keyspace.transact([(b"HGET", keys.clones, clone.field.encode())])
        if not is_forming(state) or not isinstance(row, bytes):
            return None
        found = decode_clone(row)
        return drop_commands(keys, found, replace(found, dropping=True))

    failed = StoreUnavailable(f"clone {clone.name} is filled faster than it can be dropped", hint="try again")
    return change_beside(keyspace, keys.clone(clone.id), plan, failed)


def dropping_clones(keyspace: Keyspace, keys: Keys) -> list[Clone]:
    """The clones that were dropped and are not gone yet."""
    (rows,) = keyspace.transact([(b"HGETALL", keys.clones)])
    return [clone for clone in map(decode_clone, cast("list[bytes]", rows)[1::2]) if clone.dropping]
