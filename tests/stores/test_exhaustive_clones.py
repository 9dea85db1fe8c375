"""Every program of up to three operations with clones and holds on three blocks, with a crash at every transaction."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import pytest
from store_lab import CLUSTER, IDENTITY, Author, Model, check

from tidelog.errors import StoreUnavailable
from tidelog.stores.holds import new_id, put_lease, remove_holds
from tidelog.stores.image import Store
from tidelog.stores.keyspace import PositionMoved
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import Clone, Copy, HoldKind

BLOCK = 512
SIZE = 3 * BLOCK


@dataclass
class Run:
    """One run of a program: a store, its log, and what the clone ``d`` and the held copy must hold."""

    crash: int
    applied: bool

    def __post_init__(self) -> None:
        self.keyspace = MemoryKeyspace()
        self.store = Store.create(self.keyspace, IDENTITY)
        self.author = Author()
        self.volume = self.author.create("v", SIZE)
        self.author.write((self.volume, 0, b"0" * BLOCK), (self.volume, BLOCK, b"1" * BLOCK))
        self.markers = [self.author.mark(name) for name in ("m", "n")]
        self.work()
        self.clone: Clone | None = None
        self.expected = bytearray()
        self.held: Copy | None = None
        self.start = self.keyspace.transactions
        if self.crash:
            self.keyspace.fail(self.crash, applied=self.applied)

    def work(self) -> None:
        """The worker applies all there is, and does what is due; one that was cut short is replaced."""
        while True:
            try:
                with self.store.applier(CLUSTER) as applier:
                    applier.submit(self.author.after(applier.position.head.sequence))
                    applier.settle()
                    while applier.maintain():
                        self.check()
                return
            except (PositionMoved, StoreUnavailable):
                self.check()

    def twice(self, operation: Callable[[], object], done: Callable[[], bool]) -> None:
        """Once, and again if it was cut short and has not taken effect."""
        try:
            operation()
        except StoreUnavailable:
            if not done():
                operation()

    def make(self) -> None:
        copies = self.store.copies()
        if self.clone is not None or not copies:
            return
        copy = copies[0]
        self.twice(lambda: self.store.clones.create(copy, "d"), lambda: bool(self.store.clones.all()))
        self.clone = self.store.clones.find("d")
        self.expected = bytearray(self.content_of(copy))

    def content_of(self, copy: Copy) -> bytes:
        model = Model()
        model.fold(self.author.log)
        return model.copies[copy.sequence][1].volumes[self.volume][1]

    def change(self, offset: int, end: int, data: bytes | None) -> None:
        if self.clone is None:
            return
        image = self.store.clones.image(self.clone)
        info = self.clone.base.volumes[0]
        new = bytes(end - offset) if data is None else data

        def carry_out() -> None:
            image.discard(info, offset, end - offset) if data is None else image.write(info, offset, data)

        before = bytes(self.expected)
        self.expected[offset:end] = new

        def whole() -> bool:
            assert image.read(info, 0, SIZE) in (before, self.expected), "all of a change, or nothing"
            return False

        self.twice(carry_out, whole)

    def drop_clone(self) -> None:
        if self.clone is not None:
            self.clone = None
            self.twice(lambda: self.store.clones.drop("d"), lambda: not self.store.clones.all())

    def hold(self) -> None:
        copies = self.store.copies()
        if self.held is not None or not copies:
            return
        held = replace(copies[0], hold=new_id())
        self.twice(lambda: put_lease(self.keyspace, self.store._keys, held, HoldKind.EXPORT, "me"), lambda: False)
        self.held = held

    def release(self) -> None:
        if self.held is not None:
            remove_holds(self.keyspace, self.store._keys, [self.held.hold])
            self.held = None

    def log(self, write: Callable[[Author], Any]) -> None:
        write(self.author)
        self.work()

    def restore(self, author: Author) -> None:
        """A copy onto the volume that clone and hold are of, as it was at a marker that stays."""
        model = Model()
        model.fold(author.log)
        marker = self.markers[1]
        author.copy(self.volume, self.volume, model.may_differ(self.volume, self.volume, marker.sequence), marker)

    def check(self) -> None:
        """Image, copies, the clone and the held copy are what they must be."""
        model = Model()
        model.fold(self.author.log)
        check(self.store, self.keyspace, model)
        if getattr(self, "clone", None) is not None:
            info = self.clone.base.volumes[0]
            assert self.store.clones.image(self.clone).read(info, 0, SIZE) == self.expected
        if getattr(self, "held", None) is not None:
            info = self.held.volumes[0]
            assert self.store.read(info, 0, SIZE, self.held) == self.content_of(self.held)


OPERATIONS: dict[str, Callable[[Run], object]] = {
    "clone": Run.make,
    "part": lambda run: run.change(10, 20, b"p" * 10),
    "across": lambda run: run.change(BLOCK // 2, 2 * BLOCK + 9, b"a" * (2 * BLOCK + 9 - BLOCK // 2)),
    "zero": lambda run: run.change(0, BLOCK, bytes(BLOCK)),
    "discard": lambda run: run.change(100, SIZE, None),
    "drop clone": Run.drop_clone,
    "hold": Run.hold,
    "release": Run.release,
    "write": lambda run: run.log(lambda author: author.write((run.volume, 0, b"w" * (BLOCK + 9)))),
    "cut": lambda run: run.log(lambda author: author.mark("c")),
    "drop": lambda run: run.log(lambda author: author.drop(run.markers[0])),
    "restore": lambda run: run.log(run.restore),
}
OF_THE_LOG = ("write", "cut", "drop", "restore")


def carried_out(names: tuple[str, ...], crash: int, applied: bool) -> int:
    """Runs a program to its end, and then lets go of all; the transactions that it took."""
    run = Run(crash, applied)
    for name in names:
        OPERATIONS[name](run)
        run.check()
    transactions = run.keyspace.transactions - run.start
    run.keyspace._fault = None
    run.drop_clone()
    run.release()
    run.work()
    run.check()
    assert left_over(run) == of_the_log(tuple(name for name in names if name in OF_THE_LOG)), names
    return transactions


@cache
def of_the_log(names: tuple[str, ...]) -> dict[bytes, Any]:
    """What the log alone makes of a store."""
    run = Run(0, False)
    for name in names:
        OPERATIONS[name](run)
    return left_over(run)


def left_over(run: Run) -> dict[bytes, Any]:
    """Everything in the store, but for how often its layout was changed."""
    return {key: value for key, value in run.keyspace.data.items() if not key.endswith(b"position")}


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("first", OPERATIONS)
def test_every_short_program_with_a_crash_at_every_transaction(first: str) -> None:
    """Clone and held copy are right at every moment; once they are gone the store is what the log alone makes of it."""
    for rest in [(), *product(OPERATIONS, repeat=1), *product(OPERATIONS, repeat=2)]:
        names = ("clone", first, *rest)
        # The first transaction makes the clone, the same in every program: a crash there is tried once.
        for crash in range(2 if rest else 1, 1 + carried_out(names, 0, False)):
            carried_out(names, crash, bool(crash % 2))
