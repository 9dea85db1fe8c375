"""Stores from short programs: the store's own laboratory, for tests that need no deployment."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "stores"))  # for store_lab, which is no test

from store_lab import IDENTITY, Author, apply

from tidelog.schemas.events import Discard, VolumeResized
from tidelog.stores.image import Store
from tidelog.stores.memory import MemoryKeyspace

BLOCK = 512
SIZE = 12


def new_store() -> Store:
    """An empty one."""
    return Store.create(MemoryKeyspace(), IDENTITY)


def filled_store(program: Iterable[tuple[str, Any, Any]]) -> Store:
    """One volume of twelve blocks, with a copy before and one after all that ``program`` does to it."""
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
    store = new_store()
    apply(store, author)
    return store
