"""Which blocks have content, live, in copies and in clones: against what reading them says."""

import random
from collections.abc import Iterable

import pytest
from store_lab import Author, apply

from tidelog.errors import NotFound
from tidelog.schemas.events import Discard
from tidelog.stores import presence
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.image import Store

BLOCK, BLOCKS = 512, 61
SIZE = BLOCK * BLOCKS - 100


def told(found: presence.Presence, first: int) -> list[bool]:
    """Of each block that was looked at, whether it has content."""
    held = {block for low, high in found.runs for block in range(low, high)}
    assert found.runs == sorted(found.runs) and all(low < high for low, high in found.runs)
    return [block in held for block in range(first, found.end)]


def truth(content: bytes, first: int, end: int) -> list[bool]:
    return [any(content[block * BLOCK : (block + 1) * BLOCK]) for block in range(first, end)]


def fill(author: Author, volume: int, rnd: random.Random, turns: int) -> None:
    for _ in range(turns):
        offset = rnd.randrange(BLOCKS - 4) * BLOCK
        if rnd.random() < 0.4:
            author.add(Discard, volume=volume, offset=offset, length=rnd.randint(1, 4) * BLOCK)
        else:
            author.write((volume, offset + rnd.randrange(BLOCK), b"\0" + rnd.randbytes(rnd.randint(1, 2 * BLOCK))))


@pytest.mark.parametrize("seed", range(4))
def test_what_reads_as_content_is_told(store: Store, author: Author, seed: int) -> None:
    """Never less; and no more but for blocks that were filled with zeros by hand, which this does not do. A copy's
    neighbour is dropped meanwhile."""
    rnd = random.Random(seed)
    volume = author.create("v", SIZE)
    for name in ("a", "b", "c"):
        fill(author, volume, rnd, 12)
        marker = author.mark(name)
    fill(author, volume, rnd, 12)
    apply(store, author)
    clone = store.clones.create(store.copy("b"), "drill")
    image = store.clones.image(clone)
    (info,) = store.volumes()
    image.write(info, 5 * BLOCK + 7, b"mine")
    image.discard(info, 9 * BLOCK, 3 * BLOCK)
    for dropped in (None, "a"):
        if dropped is not None:
            author.drop(store.copy(dropped))
            apply(store, author)
        for first, end in ((0, BLOCKS), (3, 4), (17, 44)):
            live = store.presence(info, first, end)
            assert told(live, first) == truth(store.read(info, 0, SIZE), first, end)
            assert live.head == store.position().head and live.head.sequence >= marker.sequence
            for name in ("b", "c"):
                copy = store.copy(name)
                held = told(store.presence(info, first, end, copy), first)
                assert held == truth(store.read(info, 0, SIZE, copy), first, end)
            assert told(image.presence(info, first, end), first) == truth(image.read(info, 0, SIZE), first, end)


def test_a_look_is_bounded(store: Store, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says how far it went, and goes over as many blocks as are written, or as lie in a span that has few."""
    monkeypatch.setattr(presence, "SPAN_BLOCKS_MAX", 32)
    monkeypatch.setattr(presence, "NAMED_BLOCKS_MAX", 5)
    volume = author.create("v", SIZE)
    author.write((volume, 10 * BLOCK, b"x" * 8 * BLOCK), (volume, 50 * BLOCK, b"x"))
    apply(store, author)
    (info,) = store.volumes()
    looks, at = [], 0
    while at < BLOCKS:
        found = store.presence(info, at, BLOCKS)
        assert found.end > at
        looks.append((found.end, found.runs))
        at = found.end
    assert looks == [(15, [(10, 15)]), (47, [(15, 18)]), (61, [(50, 51)])]


@pytest.mark.parametrize("seed", range(4))
def test_what_was_ever_named_is_told(store: Store, author: Author, seed: int) -> None:
    """Never less: also what was discarded, what only elder copies' generations name, and one of those is dropped; with
    the head that this is true at."""
    rnd = random.Random(seed)
    volume, named = author.create("v", SIZE), set[int]()
    for name in ("a", "b", "c"):
        for _ in range(3):
            block = rnd.randrange(BLOCKS - 1)
            author.write((volume, block * BLOCK + 7, b"x"))
            author.add(Discard, volume=volume, offset=(block + 1) * BLOCK, length=1)
            named |= {block, block + 1}
        author.mark(name)
    apply(store, author)
    (info,) = store.volumes()
    for dropped in (None, "a", "b"):
        if dropped is not None:
            author.drop(store.copy(dropped))
            apply(store, author)
        for first, end in ((0, BLOCKS), (17, 44)):
            found = store.named(info, first, end)
            assert (found.end, found.head) == (end, store.position().head)
            assert found.spans == of(block for block in named if first <= block < end).spans()


def of(blocks: Iterable[int]) -> ChangeBitmap:
    bitmap = ChangeBitmap()
    for block in blocks:
        bitmap.add(block)
    return bitmap


def test_a_copy_that_is_gone(store: Store, author: Author) -> None:
    volume = author.create("v", SIZE)
    author.write((volume, 0, b"x"))
    marker = author.mark("m")
    apply(store, author)
    copy = store.copy("m")
    author.drop(marker)
    apply(store, author)
    with pytest.raises(NotFound):
        store.presence(copy.volumes[0], 0, BLOCKS, copy)
