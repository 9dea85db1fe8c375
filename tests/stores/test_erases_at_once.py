"""Two processes rebuild one store at once: the later one goes on, and the other destroys nothing of what it does."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from store_lab import CLUSTER, IDENTITY, Author, apply

from tidelog.errors import NeedsRebuild, SiteBehind, StoreUnavailable
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.loading import Loading
from tidelog.stores.memory import MemoryKeyspace

BLOCK = 512
BLOCKS = 250  # an erase takes several steps
KEYS = Keys(IDENTITY.group)
Steps = Iterator[None]
Rebuild = Callable[[Store, Store, Author], Steps]


def loading(name: str, store: Store, source: Store, _author: Author) -> Steps:
    """As `site rebuild` from another site's copy."""
    copy = source.copy(name)
    contents = source.contents(copy)
    store.begin_erase()
    yield
    with store.load_base(Loading.of("site", "elsewhere", copy, source.digest(copy)), over=True) as base:
        yield
        for _ in base.erase():
            yield
        for volume in copy.volumes:
            for blocks in contents.blocks(volume, contents.named(volume)):
                for at in range(0, len(blocks), 100):
                    base.put(volume, blocks[at : at + 100])
                    yield
        proved = [(volume, base.prove(volume)) for volume in copy.volumes]
        yield
        base.finish(copy, proved, {}, None)


def replaying(store: Store, _source: Store, author: Author) -> Steps:
    """As `site rebuild` from the log's beginning."""
    store.begin_erase()
    yield
    for _ in store.erase():
        yield
    store.begin_rebuild(author.head.sequence)
    yield
    apply(store, author)
    if (store.rebuilding() or 0) <= author.head.sequence:  # as a worker asks
        store.end_rebuild()


REBUILDS: dict[str, Rebuild] = {
    "elder": partial(loading, "one"),
    "newer": partial(loading, "two"),
    "log": replaying,
}


@pytest.fixture(scope="module")
def author() -> Author:
    author = Author()
    number = author.create("v", BLOCKS * BLOCK)
    author.write(*((number, block * BLOCK, b"%03d" % block * 100) for block in range(0, BLOCKS, 2)))
    author.mark("one")
    author.write(*((number, block * BLOCK, b"new" * 100) for block in range(BLOCKS)))
    author.mark("two")
    return author


@pytest.fixture(scope="module")
def source(author: Author) -> Store:
    """Another site, at the log's end."""
    store = Store.create(MemoryKeyspace(), IDENTITY)
    apply(store, author)
    return store


def content(keyspace: MemoryKeyspace) -> dict[bytes, object]:
    """Every key, but for what is drawn at random."""
    return {key: value for key, value in keyspace.data.items() if key != KEYS.digests}


def served_is_right(store: Store, source: Store) -> None:
    """What is served is a copy's image, and the copy."""
    try:
        position = store.position()
        (volume,) = store.volumes()
        live = store.read(volume, 0, volume.size)
    except (NeedsRebuild, SiteBehind, ValueError):  # ValueError: at the beginning of the log there is no volume
        return
    copy = source.copy(f"#{position.head.sequence}")
    assert live == source.read(volume, 0, volume.size, copy)
    for one in store.copies():
        assert store.verify(one) == source.verify(source.copy(f"#{one.sequence}"))


def run(steps: Steps, count: int, check: Callable[[], None]) -> bool | None:
    """Takes ``count`` steps; whether it has ended, None if another has ended it."""
    for _ in range(count):
        try:
            if next(steps, "ended") == "ended":
                return True
        except (StoreUnavailable, NeedsRebuild):  # NeedsRebuild: it replays, and another has begun to load
            check()
            return None
        check()
    return False


@pytest.mark.parametrize("first", REBUILDS)
@pytest.mark.parametrize("second", REBUILDS)
def test_of_two_rebuilds_the_later_one_goes_on(first: str, second: str, source: Store, author: Author) -> None:
    """The second begins behind any step of the first, and the first goes on between any two of the second's."""
    alone, lengths = {}, {}
    for name in (first, second):
        keyspace = MemoryKeyspace()
        store = Store.create(keyspace, IDENTITY)
        apply(store, author)
        lengths[name] = sum(1 for _ in REBUILDS[name](store, source, author))
        apply(store, author)
        alone[name] = content(keyspace)
    for before in range(1, lengths[first] + 1):
        for until in range(1, lengths[second] + 1):
            keyspace = MemoryKeyspace()
            store = Store.create(keyspace, IDENTITY)
            apply(store, author)
            check = partial(served_is_right, store, source)
            one, two = (REBUILDS[name](store, source, author) for name in (first, second))
            assert run(one, before, check) is False
            last = run(two, until, check)
            ended = run(one, 99, check)
            last = last or run(two, 99, check)
            first_is_later = before == 1 and until > 1  # the first step only marks
            assert ended if first_is_later else last
            if before > 1 and until > 1:
                assert not ended or first == "log", "it went on over what the other had begun"
            apply(store, author)
            assert content(keyspace) == alone[first if first_is_later else second], (before, until)


def test_an_erase_that_is_withdrawn_leaves_what_another_has_begun(source: Store, author: Author) -> None:
    """Who looked at a store and erased nothing of it takes no mark away that is another's."""
    for begin in (replaying, REBUILDS["newer"]):
        store = Store.create(MemoryKeyspace(), IDENTITY)
        apply(store, author)
        before = store.begin_erase()
        other = begin(store, source, author)
        for _ in range(3):
            next(other)
        store.withdraw_erase(before)
        assert store.rebuilding() is not None
        list(other)
        assert store.rebuilding() is None and store.copies()


def test_a_mark_over_an_erase_does_not_end_it(source: Store, author: Author) -> None:
    """Another one that looks, and finds that it must not erase, costs nothing but a try."""
    store = Store.create(MemoryKeyspace(), IDENTITY)
    apply(store, author)
    erasing = store.erase()
    next(erasing)
    other = Store.open(store._keyspace, IDENTITY)
    other.withdraw_erase(other.begin_erase())
    list(erasing)
    assert store.position().head.sequence == 0
    with store.applier(CLUSTER) as applier:
        applier.submit(author.log)
        applier.settle()
    assert store.verify(store.copy("two")) == source.verify(source.copy("two"))
