"""What the store's tests share: an author of well-chained events, and a store beside the model of it (store_model)."""

import zlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from store_model import Model, State

from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import (
    CopyDropped,
    CopyKept,
    CopyLocked,
    Event,
    Marker,
    VolumeCopied,
    VolumeCreated,
    WriteBatch,
    WriterOpened,
)
from tidelog.stores.applier import Applier
from tidelog.stores.cut import GENERATION_STEP
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.pairs import decode_pair
from tidelog.stores.state import read_tables
from tidelog.stores.store import Copy, CopyState, Identity

IDENTITY = Identity("bank", "0b9fd4f8-8a3e-4a53-bb54-2c63b7b3f8a1", "tokyo")
CLUSTER = "cluster-1"
Write = tuple[int, int, bytes]


class Author:
    """Writes a log: every event follows the one before it."""

    def __init__(self) -> None:
        self.log: list[tuple[Event, int]] = []
        self._head = origin(IDENTITY.group_id)
        self._codec = Codec()
        self.add(WriterOpened, opened_by="test")

    def add(self, kind: type[Event], **fields: Any) -> Event:
        first = self._head.sequence + 1
        stamp = fields["timestamps_us"][-1] if kind is WriteBatch else first * 1000
        event = kind(epoch=1, writer=b"w" * 16, sequence=first, timestamp_us=stamp, previous=self._head.seal, **fields)
        event = replace(event, seal=self._codec.encode(event)[1])
        offset = self._head.offset + 2  # gaps in offsets mean nothing
        self._head = self._head.after(event, offset)
        self.log.append((event, offset))
        return event

    def write(self, *writes: Write) -> Event:
        first = self._head.sequence + 1
        return self.add(
            WriteBatch,
            volumes=[volume for volume, _, _ in writes],
            offsets=[offset for _, offset, _ in writes],
            lengths=[len(data) for _, _, data in writes],
            timestamps_us=[(first + index) * 1000 for index in range(len(writes))],
            data=b"".join(data for _, _, data in writes),
        )

    def create(self, name: str, size: int, block_size: int = 512) -> int:
        return self.add(VolumeCreated, name=name, size=size, block_size=block_size).sequence

    def mark(self, name: str = "m") -> Event:
        return self.add(Marker, name=name)

    def drop(self, marker: Event | Copy) -> Event:
        """Drops the copy of a marker."""
        return self.add(CopyDropped, copy_sequence=marker.sequence, copy_seal=marker.seal)

    def lock(self, marker: Event | Copy, until_us: int) -> Event:
        """Locks the copy of a marker."""
        return self.add(CopyLocked, copy_sequence=marker.sequence, copy_seal=marker.seal, until_us=until_us)

    def keep(self, marker: Event | Copy, *, kept: bool = True) -> Event:
        """Exempts the copy of a marker from retention, or no longer."""
        return self.add(CopyKept, copy_sequence=marker.sequence, copy_seal=marker.seal, kept=kept)

    def copy(self, source: int, target: int, blocks: Iterable[int], marker: Event | None = None) -> Event:
        """Copies a volume, live or as it was at a marker, shipping ``blocks``."""
        number = sum(1 << block for block in blocks)
        bits = "".join(reversed(f"{number:b}")) if number else ""
        packed = bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))
        return self.add(
            VolumeCopied,
            source=source,
            source_copy_sequence=marker.sequence if marker else 0,
            source_copy_seal=marker.seal if marker else bytes(16),
            target=target,
            bitmap=zlib.compress(packed),
        )

    def after(self, sequence: int) -> list[tuple[Event, int]]:
        """The events behind the one that ends at ``sequence``."""
        return [(event, offset) for event, offset in self.log if event.sequence > sequence]

    @property
    def head(self) -> Head:
        return self._head


def check(
    store: Store, keyspace: Keyspace, model: Model, *, dropped: Iterable[int] = (), digests: bool = False
) -> None:
    """Every live volume, copy, record, bitmap and (if asked) digest of a store is what the model says.

    ``dropped`` are the sequences of copies that somebody has dropped without an event.
    """
    position = store.position()
    state = model.states[position.head.sequence]
    if not position.step:
        assert {volume.id: volume for volume in store.volumes()} == {
            key: info for key, (info, _) in state.volumes.items()
        }
        for info, content in state.volumes.values():
            assert store.read_live(info, 0, info.size) == (content, position.head), info
    copies = store.copies()
    there = {copy.sequence for copy in copies}
    due = {sequence for sequence in model.copies if sequence <= position.head.sequence}
    assert there <= due - state.dropped
    assert due - state.dropped - set(dropped) <= there
    for copy in copies:
        assert copy.locked_until_us == state.locked.get(copy.sequence, 0)
        assert copy.kept == (copy.sequence in state.kept)
        check_copy(store, copy, model, digests=digests)
    check_bitmaps(store, keyspace, state)
    check_generations(keyspace)


def check_copy(store: Store, copy: Copy, model: Model, *, digests: bool) -> None:
    marker, state, changed = model.copies[copy.sequence]
    assert (copy.seal, copy.name, copy.timestamp_us) == (marker.seal, marker.name, marker.timestamp_us)
    assert copy.blocks_changed == changed
    assert (copy.epoch, copy.writer, copy.cluster_id) == (marker.epoch, marker.writer, CLUSTER)
    assert copy.volumes == tuple(info for _, (info, _) in sorted(state.volumes.items()))
    for info, content in state.volumes.values():
        assert store.read(info, 0, info.size, copy) == content, (copy, info)
    assert {pair: set(bitmap.blocks()) for pair, bitmap in store.pairs(copy).items()} == state.pairs
    if digests:
        assert store.digest(copy) == store.verify(copy)


def bitmap_blocks(keyspace: Keyspace, key: bytes) -> set[int]:
    """The set bits of a bitmap in the store, told without `ChangeBitmap`."""
    (value,) = keyspace.transact([(b"GET", key)])
    assert value is None or isinstance(value, bytes)
    return {index for index in range(8 * len(value or b"")) if (value or b"")[index >> 3] >> (7 - index & 7) & 1}


def check_bitmaps(store: Store, keyspace: Keyspace, state: State) -> None:
    """The bitmaps are exactly what events named: the same at every site, whatever the batches. Not asked while a drop
    or an event is half done."""
    copies = store.copies(dropping=True)
    position = store.position()
    if position.step or any(copy.state is CopyState.DROPPING for copy in copies):
        return
    keys = Keys(IDENTITY.group)
    generations = [0, *(copy.generation for copy in copies)]
    cuts = [generation // GENERATION_STEP for generation in generations]  # how many there were before each
    for generation, first, following in zip(generations, cuts, [*cuts[1:], len(state.named)], strict=True):
        for volume in state.volumes:
            named = set().union(*(state.named[index].get(volume, ()) for index in range(first, following)))
            assert bitmap_blocks(keyspace, keys.bitmap(generation, volume)) == named, (generation, volume)
    assert set(map(decode_pair, keyspace.transact([(b"HKEYS", keys.pairs)])[0])) == set(state.pairs)
    for pair, blocks in state.pairs.items():
        assert bitmap_blocks(keyspace, keys.pair_bitmap(*pair)) == blocks, pair


def all_keys(keyspace: Keyspace) -> set[bytes]:
    """Every key of the group, without its prefix."""
    prefix = Keys(IDENTITY.group).prefix
    found: set[bytes] = set()
    cursor = 0
    while True:
        cursor, keys = keyspace.scan(cursor, prefix)
        found.update(key[len(prefix) :] for key in keys)
        if not cursor:
            return found


def check_generations(keyspace: Keyspace) -> None:
    """Before-images, bitmaps and pairs are of generations that the tables know, so that whoever takes one away finds
    them; what bears another's number would be there when that number is given again."""
    tables = read_tables(keyspace, Keys(IDENTITY.group))
    known = {*tables.generations, *([tables.forming.generation] if tables.forming else [])}
    found = {key: key.split(b":") for key in all_keys(keyspace)}
    nobodys = [key for key, part in found.items() if part[0] in (b"g", b"m", b"h", b"c") and int(part[1]) not in known]
    assert not nobodys, (nobodys, sorted(known))


class Lab:
    """A store, a log with one volume of three blocks, and the model of both."""

    BLOCK = 512

    def __init__(self, keyspace: Keyspace) -> None:
        self.keyspace = keyspace
        self.store = Store.create(keyspace, IDENTITY)
        self.author = Author()
        self.volume = self.author.create("v", 3 * self.BLOCK)
        self.applier = self.store.applier(CLUSTER)

    def apply(self, applier: Applier | None = None) -> None:
        applier = applier or self.applier
        applier.submit(self.author.after(applier.position.head.sequence))
        applier.settle()

    def finish_drops(self) -> int:
        """Does all maintenance, checking everything after each step; the number of steps."""
        steps = 0
        while self.applier.maintain():
            steps += 1
            self.check()
        return steps

    def check(self, **options: object) -> None:
        model = Model()
        model.fold(self.author.log)
        check(self.store, self.keyspace, model, **options)  # type: ignore[arg-type]


def apply(store: Store, author: Author) -> None:
    """Everything that the author has written and the store has not applied, and all drops to their ends."""
    with store.applier(CLUSTER) as applier:
        applier.submit(author.after(applier.position.head.sequence))
        applier.settle()
        while applier.maintain():
            pass
