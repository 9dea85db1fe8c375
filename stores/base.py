"""A copy from elsewhere as the base of an empty store: its blocks, its volume table, and the copy itself.

While it is loaded a load stands in the position's place (`tidelog.stores.loading`), and the store is marked as being
rebuilt. So no worker applies, nobody reads, and of two loads the later one ends the earlier: every transaction watches
that key, and sets it last to how far the load has come. Change bitmaps grow in the same transactions. So a load that
was cut short is gone on with, and what stands here of it is no store to any reader.

What was loaded is proved from this store's own blocks before the last transaction sets tables and position together.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Self, cast

from tidelog.errors import AlreadyExists, StoreUnavailable
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.ahead import ahead
from tidelog.stores.began import Began, encode_began
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import name_blocks
from tidelog.stores.contents import WINDOW_BYTES, Block
from tidelog.stores.digest import ERA, ERA_SIZE, block_digest, digest_bytes
from tidelog.stores.erase import ERASING, erase
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Argument, Command, Keyspace, PositionMoved, Session
from tidelog.stores.loading import ERASED_BY, LOADING, NAME_SIZE, Loading, decode_loading, encode_loading
from tidelog.stores.named import windows
from tidelog.stores.pairs import Pair, copied_pairs
from tidelog.stores.records import decode_position, encode_copy, encode_position, encode_volume
from tidelog.stores.state import present
from tidelog.stores.store import Copy, CopyState, Position
from tidelog.stores.watched import change_beside
from tidelog.stores.wire import VolumeFormats, mset

# Of a bitmap in one transaction.
BITMAP_BYTES = 1 << 20


class BaseLoad:
    """One load, on a connection of its own, from `begin` or `resume`; close it, or use it as a context manager.

    Every method raises `StoreUnavailable` when Redis does not answer or another process has taken the store over.
    """

    def __init__(self, keyspace: Keyspace, keys: Keys, loading: Loading) -> None:
        self.loading = loading
        self._keyspace = keyspace
        self._keys = keys
        self._name = os.urandom(NAME_SIZE // 2).hex().encode()
        self._value = b""  # what stands, or is on its way, in the position's place
        self._named: dict[int, ChangeBitmap] = {}
        self._formats: dict[int, VolumeFormats] = {}
        self._on_its_way = False
        self._session: Session | None = None

    @classmethod
    def begin(cls, keyspace: Keyspace, keys: Keys, loading: Loading, *, over: bool) -> Self:
        """Takes the store. `erase` then empties it, before anything is put, or can be gone on with.

        Raises `AlreadyExists`, and changes nothing, if the store has applied an event or is being rebuilt; not if the
        load is to go ``over`` whatever there is.
        """
        load = cls(keyspace, keys, loading)
        load._value = encode_loading(load._name, _nobodys(loading))

        def taken(value: bytes | None) -> list[Command]:
            if not over:
                _check_empty(keyspace, keys, value)
            return [(b"SET", keys.rebuild, b"%d" % ERASING), (b"SET", keys.position, load._value)]

        change_beside(keyspace, keys.position, taken, _never_still())
        return load

    @classmethod
    def resume(cls, keyspace: Keyspace, keys: Keys, loading: Loading, volumes: Iterable[VolumeInfo]) -> Self:
        """Goes on with a load of the same copy that stands here, from where that is; what it has named is read.

        Raises `StoreUnavailable` if there is none any more.
        """
        found: list[Self] = []

        def taken(value: bytes | None) -> list[Command]:
            there = decode_loading(value)
            if there is None or not there.goes_on_with(loading):
                raise _taken_over()
            load = cls(keyspace, keys, loading.at(there.volume, there.block))
            load._value = encode_loading(load._name, load.loading)
            found[:] = [load]
            return [(b"SET", keys.position, load._value)]

        change_beside(keyspace, keys.position, taken, _never_still())
        load = found[0]
        load._watch()
        for volume in volumes:
            (bits,) = keyspace.transact([(b"GET", keys.bitmap(0, volume.id))])
            load._named[volume.id] = ChangeBitmap(cast("bytes | None", bits))
        return load

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection. What was loaded stays, and is of no use to anybody but a load that goes on with it."""
        if self._session is not None:
            self._session.close()

    def erase(self) -> Iterator[int]:
        """Empties the store of whatever it holds, yielding the number of keys deleted so far; clones and holds end in
        the first step."""
        taken, self._value = self._value, encode_loading(self._name, self.loading)
        yield from erase(self._keyspace, self._keys, self._value, taken)  # set when nothing of what was there is left
        self._watch()

    def named(self, volume: VolumeInfo) -> int:
        """How many blocks of a volume have been put, whatever is in them."""
        return self._named.get(volume.id, ChangeBitmap()).count

    def put(self, volume: VolumeInfo, blocks: Iterable[Block]) -> None:
        """Writes blocks of a volume, a MiB or so, over those that were put before; one without content goes. Whoever
        goes on with the load begins behind the last of them.

        Returns when they are sent; the next call waits for them.
        """
        formats = self._formats.setdefault(volume.id, VolumeFormats(self._keys, volume.id, 0))
        named = self._named.setdefault(volume.id, ChangeBitmap())
        whole: list[Argument] = []
        gone: list[Argument] = [b"DEL"]
        numbers = []
        for block, content in blocks:
            numbers.append(block)
            if content:
                whole += (formats.whole % (block, len(content)), content)
            else:
                gone.append(formats.block % block)
        commands: list[Command] = [mset(whole)] if whole else []
        if len(gone) > 1:
            commands.append(tuple(gone))
        if commands:
            commands += name_blocks(self._keys.bitmap(0, volume.id), named, numbers)
            self.loading = self.loading.at(volume.id, max(numbers))
            self._send(commands, encode_loading(self._name, self.loading))

    def name(self, volume: VolumeInfo, blocks: ChangeBitmap) -> None:
        """Marks blocks as named by events, whether they were put or are zeros."""
        named = self._named.setdefault(volume.id, ChangeBitmap())
        named.merge(blocks)
        key = self._keys.bitmap(0, volume.id)
        for start in range(0, len(named.bits), BITMAP_BYTES):
            part = bytes(named.bits[start : start + BITMAP_BYTES])
            self._send([(b"SETRANGE", key, b"%d" % start, part)], encode_loading(self._name, self.loading))

    def prove(self, volume: VolumeInfo) -> bytes:
        """The digest of a volume, 16 bytes, from the blocks that stand here."""
        return digest_bytes(part for _, part in self.proving(volume))

    def proving(self, volume: VolumeInfo) -> Iterator[tuple[int, int]]:
        """The same in parts of a MiB or so: bytes gone over, and what their blocks add to the digest."""
        self._settle()
        with closing(ahead(self._loaded(volume))) as parts:
            for blocks in parts:
                digests = (block_digest(volume.id, *block, volume.block_size) for block in blocks if block[1])
                yield len(blocks) * volume.block_size, sum(digests)

    def withdraw(self) -> None:
        """What was loaded turned out to be wrong: nothing of it is gone on with."""
        self.loading = _nobodys(self.loading)
        self._send([], encode_loading(self._name, self.loading))
        self._settle()

    def finish(
        self,
        copy: Copy,
        digests: Iterable[tuple[VolumeInfo, bytes]],
        pairs: Mapping[Pair, ChangeBitmap],
        until_sequence: int | None,
    ) -> Copy:
        """Sets tables, what was proved, the pairs of volumes as they were at the cut, and the position: the store is
        then at the copy, its only one; and good, unless a rebuild has ``until_sequence`` to reach first. Returns the
        copy as the store has it."""
        keys = self._keys
        # As it was at its cut: locks and the like are in the log behind it, in the order in which they count.
        held = replace(copy, generation=1, state=CopyState.FORMED, locked_until_us=0, kept=False, hold="")
        position = encode_position(Position(held.head, held.cluster_id, layout=1, generation=1))
        commands: list[Command] = [
            (b"HSET", keys.volumes, b"%d" % volume.id, encode_volume(volume)) for volume in copy.volumes
        ]
        era = os.urandom(ERA_SIZE)
        kept = [part for volume, digest in digests for part in (keys.digest_field(held, volume), era + digest)]
        commands.append((b"HSET", keys.digests, ERA, era, *kept))
        commands += copied_pairs(dict(pairs), 1, keys)
        for pair, bitmap in pairs.items():
            commands.append((b"HSET", keys.pairs, keys.pair_field(*pair), b"%d" % copy.sequence))
            commands.append((b"SET", keys.pair_bitmap(*pair), bytes(bitmap.bits)))
        commands.append((b"HSET", keys.copies, b"1", encode_copy(held)))
        commands.append((b"SET", keys.begun, encode_began(Began(copy.sequence, copy.timestamp_us))))
        goal = None if until_sequence is None else b"%d" % until_sequence
        commands.append((b"DEL", keys.rebuild) if goal is None else (b"SET", keys.rebuild, goal))
        self._send(commands, position)
        self._settle()
        return held

    def _loaded(self, volume: VolumeInfo) -> Iterator[list[Block]]:
        """The blocks that stand here, each window beside the load's own name."""
        block_of = self._keys.block_format(volume.id)
        named = self._named.get(volume.id, ChangeBitmap())
        for base, part in windows(named, WINDOW_BYTES // volume.block_size):
            numbers = [base + block for block in part.blocks()]
            mget: Command = (b"MGET", *(block_of % block for block in numbers))
            value, contents = self._keyspace.transact([(b"GET", self._keys.position), mget])
            if value != self._value:
                raise _taken_over()
            found = cast("list[bytes | None]", contents)
            yield [(block, content or b"") for block, content in zip(numbers, found, strict=True)]

    def _watch(self) -> None:
        self._session = self._keyspace.session(self._keys.position)
        if self._session.begin() != self._value:
            self._session.close()
            raise _taken_over()

    def _send(self, commands: list[Command], value: bytes) -> None:
        self._settle()
        assert self._session is not None, "begun and not erased"
        self._session.submit([*commands, (b"SET", self._keys.position, value)])
        self._value, self._on_its_way = value, True

    def _settle(self) -> None:
        if not self._on_its_way:
            return
        assert self._session is not None
        self._on_its_way = False
        try:
            value = self._session.settle()
        except PositionMoved as error:
            raise _taken_over() from error
        if value != self._value and not self._followed(value):
            raise _taken_over()

    def _followed(self, value: bytes | None) -> bool:
        """Whether a worker has already gone on from the position that was set."""
        if self._value.startswith(LOADING) or value is None or value.startswith((LOADING, ERASED_BY)):
            return False
        return decode_position(value).head.sequence >= decode_position(self._value).head.sequence


def _nobodys(loading: Loading) -> Loading:
    """The same, and nobody goes on with it."""
    return replace(loading, digest="", volume=0, block=-1)


def _check_empty(keyspace: Keyspace, keys: Keys, value: bytes | None) -> None:
    (rebuild,) = keyspace.transact([(b"GET", keys.rebuild)])
    unfinished = rebuild is not None and int(cast("bytes", rebuild)) == ERASING
    if value is None or value.startswith((LOADING, ERASED_BY)) or unfinished:
        return
    sequence = decode_position(present(value)).head.sequence
    if sequence or rebuild is not None:
        raise AlreadyExists(
            f"the store is not empty: it stands at sequence {sequence}"
            + ("" if rebuild is None else ", and is being rebuilt"),
            hint="an import needs a store in which nothing was applied yet; to replace what there is:"
            " tidelog site rebuild SITE --group GROUP --from PLACE",
        )


def _taken_over() -> StoreUnavailable:
    return StoreUnavailable(
        "another process has taken this store over while a copy was loaded into it",
        hint="is another import, a rebuild or a worker of the site running? run it again when that has ended",
    )


def _never_still() -> StoreUnavailable:
    return StoreUnavailable("the store never stands still", hint="stop the site's worker first")
