"""Every program of up to three operations around copies between three volumes, with a crash at every transaction."""

from collections.abc import Callable
from itertools import product

import pytest
from crash_lab import MarkingAuthor, run_with_every_crash
from store_lab import Model

from tidelog.schemas.events import Event, VolumeDeleted, VolumeResized

BLOCK = 512
# Transactions of every program: what begins it, and the least that ends it.
IN_COMMON = 5, 5


class CopyingAuthor(MarkingAuthor):
    """Ships what a writer must, by the model: the least that can be right."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.ids = [self.create(name, size * BLOCK) for name, size in (("a", 3), ("b", 3), ("c", 4))]
        self.dropped: set[int] = set()

    def bring(self, source: int, target: int, marker: Event | None = None) -> None:
        """A copy, unless the source copy has been dropped or one of the volumes deleted."""
        self.model.fold(self.log)
        first, second = self.ids[source], self.ids[target]
        volumes = self.model.states[self.head.sequence].volumes
        if {first, second} <= volumes.keys() and (marker is None or marker.sequence not in self.dropped):
            blocks = self.model.may_differ(first, second, marker.sequence if marker else 0)
            self.copy(first, second, blocks, marker)

    def put(self, volume: int, offset: int, length: int) -> None:
        self.model.fold(self.log)
        if self.ids[volume] in self.model.states[self.head.sequence].volumes:
            self.write((self.ids[volume], offset, bytes([len(self.log) + 64]) * length))

    def shrink(self, volume: int) -> None:
        self.add(VolumeResized, volume=self.ids[volume], size=BLOCK // 2)
        self.add(VolumeResized, volume=self.ids[volume], size=3 * BLOCK)

    def end(self, marker: Event) -> None:
        self.dropped.add(marker.sequence)
        self.drop(marker)


OPERATIONS: dict[str, Callable[[CopyingAuthor], object]] = {
    "write a": lambda author: author.put(0, 10, BLOCK),
    "write b": lambda author: author.put(1, BLOCK, 2 * BLOCK),
    "a to b": lambda author: author.bring(0, 1),
    "b to a": lambda author: author.bring(1, 0),
    "b to c": lambda author: author.bring(1, 2),
    "first a to b": lambda author: author.bring(0, 1, author.markers[0]),
    "last b to c": lambda author: author.bring(1, 2, author.markers[-1]),
    "restore a": lambda author: author.bring(0, 0, author.markers[0]),
    "restore b": lambda author: author.bring(1, 1, author.markers[-1]),
    "shrink a": lambda author: author.shrink(0),
    "mark": lambda author: author.mark(),
    "drop oldest": lambda author: author.end(author.markers[0]),
    "drop newest": lambda author: author.end(author.markers[-1]),
}


def _program(names: tuple[str, ...]) -> CopyingAuthor:
    """Two volumes with something in them, a cut, the operations, and what shows whether the bitmaps were right: the
    pairs once more, after another write and cut."""
    author = CopyingAuthor()
    author.put(0, 0, 2 * BLOCK)
    author.put(1, 2 * BLOCK, BLOCK)
    author.mark()
    for name in names:
        OPERATIONS[name](author)
    author.mark("end")
    for name in ("write a", "a to b", "b to c"):
        OPERATIONS[name](author)
    return author


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("first", OPERATIONS)
def test_every_short_program_of_copies_with_a_crash_at_every_transaction(first: str) -> None:
    """Each target is its source, at every position, whichever transaction was the last one."""
    for rest in [(), *product(OPERATIONS, repeat=1), *product(OPERATIONS, repeat=2)]:
        run_with_every_crash(_program((first, *rest)), skip=IN_COMMON)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("deleted", [0, 1])
def test_a_deleted_volume_takes_its_pairs_with_it(deleted: int) -> None:
    """Whichever side goes; what is left of the other pairs stays right."""
    author = _program(("a to b", "b to c", "write b"))
    author.add(VolumeDeleted, volume=author.ids[deleted])
    for name in ("write b", "b to c", "mark", "drop oldest"):
        OPERATIONS[name](author)
    run_with_every_crash(author, twice=True)
