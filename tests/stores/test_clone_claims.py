"""Claims on a clone: of two who cannot bear one another the later goes on, and the earlier does nothing more."""

from collections.abc import Callable, Sequence

import pytest
from store_lab import IDENTITY, Author, apply

from tidelog.errors import Fenced, NotFound
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Command, Reply
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import Clone

SIZE = 40 * 512 + 100


def made(store: Store, author: Author) -> tuple[Clone, CloneImage]:
    """A clone of a copy with one volume of zeros."""
    author.create("v", SIZE)
    author.mark("m")
    apply(store, author)
    clone = store.clones.create(store.copy("m"), "drill")
    return clone, store.clones.image(clone)


def test_a_claim_ends_the_one_before(store: Store, author: Author) -> None:
    """Whoever claimed the clone before changes and reads nothing any more; who claims nothing goes on beside both."""
    clone, plain = made(store, author)
    (info,) = clone.base.volumes
    first, state = plain.claimed(), plain.state()
    first.write(info, 0, b"first")
    assert plain.state() != state
    plain.write(info, 10, b"plain")
    assert first.read(info, 0, 15) == b"first" + bytes(5) + b"plain"
    second, state = store.clones.image(clone).claimed(), plain.state()
    assert plain.state() == state, "a claim is no change"
    acts: list[Callable[[], object]] = [
        lambda: first.write(info, 0, b"torn!"),
        lambda: first.discard(info, 0, 5),
        lambda: first.read(info, 0, 5),
        first.state,
    ]
    for act in acts:
        with pytest.raises(Fenced, match="claimed anew"):
            act()
    second.write(info, 5, b"2nd")
    plain.write(info, 20, b"beside")
    assert second.read(info, 0, 8) == b"first2nd" and plain.read(info, 20, 6) == b"beside"
    store.clones.drop("drill")
    with pytest.raises(NotFound):
        second.write(info, 0, b"late")


def test_a_claim_that_comes_between(author: Author) -> None:
    """Another process claims the clone between what a change reads and its EXEC, or before it hears of it: not done."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    clone, image = made(store, author)
    first, (info,) = image.claimed(), clone.base.volumes
    real = keyspace.transact

    def transact(commands: Sequence[Command]) -> list[Reply]:
        replies = real(commands)
        if any(command[0] == b"MGET" for command in commands if isinstance(command, tuple)):
            keyspace.transact = real  # type: ignore[method-assign]
            store.clones.image(clone).claimed()
        return replies

    keyspace.transact = transact  # type: ignore[method-assign]
    with pytest.raises(Fenced):
        first.write(info, 10, b"late")
    assert image.read(info, 0, SIZE) == bytes(SIZE)
