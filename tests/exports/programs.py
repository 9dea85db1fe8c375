"""Stores from short programs: the store's own laboratory, for tests that need no deployment."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "stores"))  # for store_lab, which is no test

from store_lab import IDENTITY, apply
from store_programs import BLOCK, SIZE, carried_out

from tidelog.stores.image import Store
from tidelog.stores.memory import MemoryKeyspace

__all__ = ["BLOCK", "SIZE", "filled_store", "new_store"]


def new_store() -> Store:
    """An empty one."""
    return Store.create(MemoryKeyspace(), IDENTITY)


def filled_store(program: Iterable[tuple[str, Any, Any]]) -> Store:
    """One volume of twelve blocks, with a copy before and one after all that ``program`` does to it."""
    author = carried_out(program)
    store = new_store()
    apply(store, author)
    return store
