"""A copy from elsewhere as the base of an empty store: its blocks, its volume table, and the copy itself.

While it is loaded a name stands in the position's place (`LOADING`), and the store is marked as being rebuilt. So no
worker applies, nobody reads, and of two loads the later one ends the earlier: every transaction watches that key. The
last transaction sets tables and position together. A load that was cut short leaves what no reader takes for a store.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Self

from tidelog.errors import AlreadyExists, StoreUnavailable
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import BIT_MASKS, ChangeBitmap
from tidelog.stores.contents import Block
from tidelog.stores.erase import ERASING, erase, set_position
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Argument, Command, Keyspace, PositionMoved, Session
from tidelog.stores.pairs import Pair, copied_pairs
from tidelog.stores.records import decode_position, encode_copy, encode_position, encode_volume
from tidelog.stores.state import LOADING
from tidelog.stores.store import Copy, CopyState, Position
from tidelog.stores.wire import VolumeFormats, mset

# Of a bitmap in one transaction.
_BITMAP_BYTES = 1 << 20


class BaseLoad:
    """One load, on a connection of its own; close it, or use it as a context manager.

    Every method raises `StoreUnavailable` when Redis does not answer or another process has taken the store over.
    """

    def __init__(self, keyspace: Keyspace, keys: Keys) -> None:
        """Takes the store and empties it of what an erase or a load that was cut short has left.

        Raises `AlreadyExists`, and changes nothing, if the store has applied an event or is being rebuilt.
        """
        self._keyspace = keyspace
        self._keys = keys
        self._name = LOADING + os.urandom(8).hex().encode()
        self._named: dict[int, ChangeBitmap] = {}
        self._formats: dict[int, VolumeFormats] = {}
        self._on_its_way = False
        self._session = keyspace.session(keys.position)
        try:
            self._take()
            for _ in erase(keyspace, keys, self._name):
                pass
            self._session.close()
            self._session = self._watching()
        except BaseException:
            self._session.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection. Before `finish` has returned, what was loaded is of no use to anybody."""
        self._session.close()

    def put(self, volume: VolumeInfo, blocks: Iterable[Block]) -> None:
        """Writes blocks of a volume, a MiB or so, over those that were put before; one without content goes.

        Returns when they are sent; the next call waits for them.
        """
        formats = self._formats.setdefault(volume.id, VolumeFormats(self._keys, volume.id, 0))
        named = self._named.setdefault(volume.id, ChangeBitmap())
        whole: list[Argument] = []
        gone: list[Argument] = [b"DEL"]
        for block, content in blocks:
            named.reserve(block)
            named.bits[block >> 3] |= BIT_MASKS[block & 7]
            if content:
                whole += (formats.whole % (block, len(content)), content)
            else:
                gone.append(formats.block % block)
        commands: list[Command] = [mset(whole)] if whole else []
        if len(gone) > 1:
            commands.append(tuple(gone))
        if commands:
            self._send(commands)

    def finish(self, copy: Copy, pairs: Mapping[Pair, ChangeBitmap]) -> Copy:
        """Sets bitmaps, tables, the pairs of volumes as they were at the cut, and position: the store is then at the
        copy, its only one, and still marked as being rebuilt. Returns the copy as the store has it."""
        keys = self._keys
        for volume in copy.volumes:
            bits = self._named.get(volume.id, ChangeBitmap()).bits
            for start in range(0, len(bits), _BITMAP_BYTES):
                part = bytes(bits[start : start + _BITMAP_BYTES])
                self._send([(b"SETRANGE", keys.bitmap(0, volume.id), b"%d" % start, part)])
        held = replace(copy, generation=1, state=CopyState.FORMED)
        position = encode_position(Position(held.head, held.cluster_id, layout=1, generation=1))
        commands: list[Command] = [
            (b"HSET", keys.volumes, b"%d" % volume.id, encode_volume(volume)) for volume in copy.volumes
        ]
        commands += copied_pairs(dict(pairs), 1, keys)
        for pair, bitmap in pairs.items():
            commands.append((b"HSET", keys.pairs, keys.pair_field(*pair), b"%d" % copy.sequence))
            commands.append((b"SET", keys.pair_bitmap(*pair), bytes(bitmap.bits)))
        commands.append((b"HSET", keys.copies, b"1", encode_copy(held)))
        commands.append((b"SET", keys.position, position))
        self._send(commands)
        self._settle(position)
        return held

    def withdraw(self) -> None:
        """Takes the position away again: what was loaded turned out to be wrong."""
        set_position(self._keyspace, self._keys, self._name)

    def accept(self) -> None:
        """Declares the store good: what was loaded is the copy."""
        self._keyspace.transact([(b"DEL", self._keys.rebuild)])

    def _take(self) -> None:
        value = self._session.begin()
        (rebuild,) = self._keyspace.transact([(b"GET", self._keys.rebuild)])
        unfinished = rebuild is not None and int(rebuild) == ERASING  # type: ignore[arg-type]
        if value is not None and not value.startswith(LOADING) and not unfinished:
            sequence = decode_position(value).head.sequence
            if sequence or rebuild is not None:
                raise AlreadyExists(
                    f"the store is not empty: it stands at sequence {sequence}"
                    + ("" if rebuild is None else ", and is being rebuilt"),
                    hint="an import needs a store in which nothing was applied yet",
                )
        self._send([(b"SET", self._keys.rebuild, b"%d" % ERASING), (b"SET", self._keys.position, self._name)])
        self._settle(self._name)

    def _watching(self) -> Session:
        session = self._keyspace.session(self._keys.position)
        if session.begin() != self._name:
            session.close()
            raise _taken_over()
        return session

    def _send(self, commands: list[Command]) -> None:
        self._settle(self._name)
        self._session.submit(commands)
        self._on_its_way = True

    def _settle(self, expected: bytes) -> None:
        if not self._on_its_way:
            return
        self._on_its_way = False
        try:
            value = self._session.settle()
        except PositionMoved as error:
            raise _taken_over() from error
        if value != expected:
            raise _taken_over()


def _taken_over() -> StoreUnavailable:
    return StoreUnavailable(
        "another process has taken this store over while a copy was imported into it",
        hint="is another import, a rebuild or a worker of the site running? import again when it has ended",
    )
