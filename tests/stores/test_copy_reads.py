"""How often Redis is asked for a few blocks of a copy, and that what is guessed is never believed."""

import random
from collections.abc import Sequence

import pytest
from store_lab import Author, apply

from tidelog.stores.image import Store
from tidelog.stores.keyspace import Command, Keyspace, Reply

BLOCK, BLOCKS = 512, 300
SIZE = BLOCK * BLOCKS


@pytest.fixture
def asked(keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Command]]:
    """Every transaction from here on."""
    found: list[Sequence[Command]] = []
    transact = keyspace.transact

    def told(commands: Sequence[Command]) -> list[Reply]:
        found.append(commands)
        return transact(commands)

    monkeypatch.setattr(keyspace, "transact", told)
    return found


def test_a_page_of_a_copy_takes_one_question(store: Store, author: Author, asked: list[Sequence[Command]]) -> None:
    """Once somebody has looked at the copies; one more where a block was overwritten, and where copies came."""
    volume = author.create("v", SIZE)
    first, last = random.Random(1).randbytes(SIZE), b"x" * BLOCK
    author.write((volume, 0, first))
    author.mark("nightly")
    author.write((volume, 5 * BLOCK, last))
    apply(store, author)
    (info,) = store.volumes()
    copy = store.copy("nightly")

    def read(block: int) -> int:
        asked.clear()
        assert store.read(info, block * BLOCK, BLOCK, copy) == first[block * BLOCK : (block + 1) * BLOCK]
        return len(asked)

    assert [read(9), read(9), read(10), read(5), read(11)] == [2, 1, 1, 2, 1]
    author.mark("noon")
    author.write((volume, 7 * BLOCK, last), (volume, 9 * BLOCK, last))
    apply(store, author)
    assert [read(9), read(9), read(8), read(5)] == [3, 2, 1, 2]
    author.drop(store.copy("noon"))
    apply(store, author)
    assert [read(block) for block in range(4, 12)] == [1, 2, 1, 2, 1, 2, 1, 1]
    assert store.read(info, 0, SIZE, copy) == first


def test_many_blocks_are_not_asked_for_in_vain(store: Store, author: Author, asked: list[Sequence[Command]]) -> None:
    """Where they are is asked first."""
    volume = author.create("v", SIZE)
    author.write((volume, 0, b"a" * SIZE))
    author.mark("nightly")
    author.write((volume, 0, b"b" * SIZE))
    apply(store, author)
    (info,), copy = store.volumes(), store.copy("nightly")
    for _ in range(2):
        asked.clear()
        assert store.read(info, 0, SIZE, copy) == b"a" * SIZE
    fetched = [len(command) - 1 for commands in asked for command in commands if command[0] == b"MGET"]
    assert fetched == [BLOCKS]
