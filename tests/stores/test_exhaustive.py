"""Every program of up to three operations on a volume of three blocks, with a crash at every transaction."""

from collections.abc import Callable
from itertools import product

import pytest
from crash_lab import MarkingAuthor, run_with_every_crash
from store_lab import Author

from tidelog.schemas.events import Discard, VolumeDeleted, VolumeResized

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


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("first", OPERATIONS)
def test_every_short_program_with_a_crash_at_every_transaction(first: str) -> None:
    """Wherever it stops, image and copies are right, and going on from there ends as if nothing had happened."""
    names = [first]
    for rest in [(), *product(OPERATIONS, repeat=1), *product(OPERATIONS, repeat=2)]:
        run_with_every_crash(_program((*names, *rest)))


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
    run_with_every_crash(author, twice=True)
