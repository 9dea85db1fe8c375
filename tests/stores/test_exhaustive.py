"""Every program of up to three operations on a volume of three blocks, with a crash at every transaction."""

from collections.abc import Callable
from itertools import product

import pytest
from store_lab import CLUSTER, IDENTITY, Author, Model, check

from tidelog.errors import StoreUnavailable
from tidelog.schemas.events import Discard, VolumeDeleted, VolumeResized
from tidelog.stores.image import Store
from tidelog.stores.keyspace import PositionMoved
from tidelog.stores.memory import MemoryKeyspace

BLOCK = 512
SIZE = 3 * BLOCK


def _write(author: Author, volume: int, offset: int, length: int) -> None:
    author.write((volume, offset, bytes([len(author.log) + 64]) * length))


OPERATIONS: dict[str, Callable[[Author, int], object]] = {
    "whole": lambda author, volume: _write(author, volume, 0, BLOCK),
    "part": lambda author, volume: _write(author, volume, 10, 20),
    "across": lambda author, volume: _write(author, volume, BLOCK // 2, BLOCK + 9),
    "fresh": lambda author, volume: _write(author, volume, 2 * BLOCK, BLOCK),
    "discard": lambda author, volume: author.add(Discard, volume=volume, offset=0, length=2 * BLOCK),
    "trim": lambda author, volume: author.add(Discard, volume=volume, offset=100, length=BLOCK),
    "shrink": lambda author, volume: [
        author.add(VolumeResized, volume=volume, size=BLOCK // 2),
        author.add(VolumeResized, volume=volume, size=SIZE),
    ],
    "mark": lambda author, _: author.mark(),
    "drop oldest": lambda author, _: author.drop(author.markers[0]),
    "drop newest": lambda author, _: author.drop(author.markers[-1]),
}


class MarkingAuthor(Author):
    """Remembers its markers."""

    def __init__(self) -> None:
        super().__init__()
        self.markers: list[object] = []

    def mark(self, name: str = "m") -> object:
        marker = super().mark(name)
        self.markers.append(marker)
        return marker


def _program(names: tuple[str, ...]) -> Author:
    """Two blocks written, a cut, the operations, another cut (so that the newest drop can end)."""
    author = MarkingAuthor()
    volume = author.create("v", SIZE)
    author.write((volume, 0, b"0" * BLOCK), (volume, BLOCK, b"1" * BLOCK))
    author.mark()
    for name in names:
        OPERATIONS[name](author, volume)
    author.mark("end")
    return author


def _run(author: Author, model: Model, crash: int, applied: bool) -> int:
    """Applies a log, with a crash at a transaction (0: none), and checks before and after; the transactions it took."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    start = keyspace.transactions
    if crash:
        keyspace.fail(crash, applied=applied)
    while True:
        applier = store.applier(CLUSTER)
        try:
            applier.submit(author.after(applier.position.head.sequence))
            applier.settle()
            while applier.maintain():
                pass
        except (PositionMoved, StoreUnavailable):
            check(store, keyspace, model)
            continue
        break
    check(store, keyspace, model, digests=True)
    return keyspace.transactions - start


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("first", OPERATIONS)
def test_every_short_program_with_a_crash_at_every_transaction(first: str) -> None:
    """Wherever it stops, image and copies are right, and going on from there ends as if nothing had happened."""
    names = [first]
    for rest in [(), *product(OPERATIONS, repeat=1), *product(OPERATIONS, repeat=2)]:
        author = _program((*names, *rest))
        model = Model()
        model.fold(author.log)
        for crash in range(1, _run(author, model, 0, False) + 1):
            # A transaction that was lost before it ran is as if the crash had come after the one before it.
            _run(author, model, crash, applied=bool(crash % 2))


@pytest.mark.usefixtures("small_steps")
def test_deleted_volumes_are_collected_whatever_the_crash() -> None:
    """Collection and drops of a volume with copies, cut short at every transaction."""
    author = MarkingAuthor()
    volume = author.create("v", SIZE)
    author.write((volume, 0, b"0" * SIZE))
    author.mark()
    author.write((volume, 0, b"1" * BLOCK))
    author.add(VolumeDeleted, volume=volume)
    author.mark("end")
    author.drop(author.markers[0])
    model = Model()
    model.fold(author.log)
    for crash in range(1, _run(author, model, 0, False) + 1):
        for applied in (False, True):
            _run(author, model, crash, applied)
