"""Short programs on one volume of twelve blocks, as Hypothesis draws them, carried out by an author of a log."""

from collections.abc import Iterable
from typing import Any

from store_lab import Author

from tidelog.schemas.events import Discard, VolumeResized

BLOCK = 512
SIZE = 12


def carried_out(program: Iterable[tuple[str, Any, Any]]) -> Author:
    """The log of the program, with a copy before it and one after it. A step that cannot be taken is passed over."""
    author, size = Author(), SIZE
    number = author.create("v", size * BLOCK)
    made = [author.mark()]
    for kind, one, two in program:
        if kind == "write" and one < size:
            author.write((number, one * BLOCK, two))
        elif kind == "discard" and one + two <= size:
            author.add(Discard, volume=number, offset=one * BLOCK, length=two * BLOCK)
        elif kind == "resize" and one != size:
            size = one
            author.add(VolumeResized, volume=number, size=size * BLOCK)
        elif kind == "cut":
            made.append(author.mark())
        elif kind == "drop" and one < len(made):
            author.drop(made.pop(one))
    author.mark()
    return author
