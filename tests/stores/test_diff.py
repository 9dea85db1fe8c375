"""Diffs of two copies: what the bitmaps name contains what the contents say, and both are what a model says."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_lab import IDENTITY, Author, Model, apply
from store_programs import carried_out

from tidelog.errors import NotFound, SiteBehind, UsageError
from tidelog.schemas.events import Discard, VolumeDeleted, VolumeResized
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.diff import Change, VolumeDiff, diff
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace, Reply
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.wire import Command, unpack

BLOCK = 512


def between(store, first, second, **options):
    one, two = store.copy(first), store.copy(second)
    return {found.volume.name: found for found in diff(store.contents(one), store.contents(two), **options)}


def test_extents_are_runs_of_blocks_and_bytes_end_with_the_volume() -> None:
    info = VolumeInfo(1, "v", 10 * BLOCK + 7, BLOCK)
    blocks = ChangeBitmap()
    for block in (0, 1, 5, 9, 10):
        blocks.add(block)
    found = VolumeDiff(info, info, blocks)
    assert list(found.extents()) == [(0, 2 * BLOCK), (5 * BLOCK, BLOCK), (9 * BLOCK, BLOCK + 7)]
    assert found.changed_bytes == sum(length for _, length in found.extents())
    assert found.change is Change.CHANGED
    nothing = VolumeDiff(info, None, ChangeBitmap())
    assert (list(nothing.extents()), nothing.changed_bytes, nothing.change) == ([], 0, Change.DELETED)


def test_named_and_exact(store: Store, author: Author) -> None:
    """A write of the same bytes and one that was taken back are named, and do not differ."""
    number = author.create("v", 100 * BLOCK)
    other = author.create("idle", BLOCK)
    author.write((number, 0, b"a" * BLOCK), (number, 50 * BLOCK, b"b" * BLOCK), (other, 0, b"x"))
    author.mark("one")
    author.write((number, 0, b"a" * BLOCK), (number, 3 * BLOCK, b"new"), (number, 4 * BLOCK, bytes(BLOCK)))
    author.add(Discard, volume=number, offset=50 * BLOCK, length=2 * BLOCK)
    author.mark("two")
    author.write((number, 0, b"later"))
    apply(store, author)
    assert list(between(store, "one", "two")) == ["v"]
    named = between(store, "one", "two")["v"]
    assert list(named.blocks.blocks()) == [0, 3, 4, 50, 51]
    assert list(named.extents()) == [(0, BLOCK), (3 * BLOCK, 2 * BLOCK), (50 * BLOCK, 2 * BLOCK)]
    exact = between(store, "one", "two", exact=True)["v"]
    assert list(exact.blocks.blocks()) == [3, 50]


class Noting:
    """A keyspace, and every command that it gets."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self.commands: list[tuple[bytes, ...]] = []

    def transact(self, commands: Sequence[Command]) -> list[Reply]:
        self.commands += unpack(commands)
        return self._keyspace.transact(commands)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keyspace, name)


def test_from_change_bitmaps_alone(keyspace: Keyspace, author: Author) -> None:
    """No block is read, live or before-image, however many changed: a bitmap a volume and generation, and tables."""
    number = author.create("v", 500 * BLOCK)
    for name in ("one", "between", "two"):
        author.write(*[(number, block * BLOCK, name[:1].encode() * BLOCK) for block in range(0, 500, 2)])
        author.mark(name)
    author.write((number, 0, b"later" * 300))
    apply(Store.create(keyspace, IDENTITY), author)
    noting = Noting(keyspace)
    store = Store(noting, IDENTITY)
    one, two = (store.contents(store.copy(name)) for name in ("one", "two"))
    noting.commands.clear()
    (found,) = diff(one, two)
    assert found.blocks.count == 250 and found.changed_bytes == 250 * BLOCK
    keys = [argument for command in noting.commands for argument in command[1:] if b"}:" in argument]
    kinds = [key.split(b"}:")[1].split(b":")[0] for key in sorted(set(keys))]
    assert kinds.count(b"m") == 2 and not {b"b", b"g"} & set(kinds), kinds
    assert len(noting.commands) < 30 and len(list(found.extents())) == 250
    before = len(noting.commands)
    assert diff(one, two, exact=True) and len(noting.commands) > before
    assert any(b"}:b:" in argument or b"}:g:" in argument for command in noting.commands for argument in command[1:])


def test_volumes_of_one_copy_only_are_shown(store: Store, author: Author) -> None:
    old, big, small = author.create("old", BLOCK), author.create("big", 2 * BLOCK), author.create("small", 9 * BLOCK)
    author.write((old, 0, b"x"), (small, 8 * BLOCK, b"gone"))
    author.mark("one")
    author.add(VolumeDeleted, volume=old)
    new = author.create("old", 4 * BLOCK)
    author.write((new, 3 * BLOCK, b"y"))
    author.add(VolumeResized, volume=big, size=20 * BLOCK)
    author.write((big, 15 * BLOCK, b"beyond both"))
    author.add(VolumeResized, volume=big, size=5 * BLOCK)
    author.add(VolumeResized, volume=small, size=4 * BLOCK)
    author.mark("two")
    apply(store, author)
    one, two = store.copy("one"), store.copy("two")
    for exact in (False, True):
        found = diff(store.contents(one), store.contents(two), exact=exact)
        assert [(row.volume.name, row.change) for row in found] == [
            ("old", Change.DELETED),
            ("big", Change.RESIZED),
            ("small", Change.RESIZED),
            ("old", Change.CREATED),
        ]
        assert list(found[1].extents()) == []
        assert list(found[2].extents()) == [(8 * BLOCK, BLOCK) if exact else (4 * BLOCK, 5 * BLOCK)]
        assert list(found[3].extents()) == [(3 * BLOCK, BLOCK)]


def test_the_elder_first_and_both_there(store: Store, author: Author) -> None:
    author.create("v", BLOCK)
    author.mark("one")
    author.mark("two")
    apply(store, author)
    one, two = (store.contents(store.copy(name)) for name in ("one", "two"))
    for wrong in ((two, one), (one, one)):
        with pytest.raises(UsageError, match="not older"):
            diff(*wrong)
    store.mark_dropping(one.copy)
    with pytest.raises(NotFound):
        diff(one, two)
    store.begin_rebuild(1)
    with pytest.raises(SiteBehind):
        two.named(two.copy.volumes[0])


steps = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 11), st.sampled_from([b"a" * BLOCK, b"b" * BLOCK, bytes(BLOCK), b"c"])),
    st.tuples(st.just("discard"), st.integers(0, 11), st.integers(1, 5)),
    st.tuples(st.just("resize"), st.integers(1, 12), st.none()),
    st.tuples(st.just("cut"), st.none(), st.none()),
    st.tuples(st.just("drop"), st.integers(0, 5), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25))
def test_what_is_named_contains_what_differs(program) -> None:
    """Whatever was written, shrunk, cut and dropped: by bitmaps contains by contents, which is exactly the model's."""
    author = carried_out(program)
    store = Store.create(MemoryKeyspace(), IDENTITY)
    apply(store, author)
    model = Model()
    model.fold(author.log)
    copies = store.copies()
    for index, elder in enumerate(copies):
        for newer in copies[index + 1 :]:
            pair = store.contents(elder), store.contents(newer)
            named, exact = (
                set(found[0].blocks.blocks()) if (found := diff(*pair, exact=exact)) else set()
                for exact in (False, True)
            )
            before, after = (model.copies[copy.sequence][1].volumes[elder.volumes[0].id][1] for copy in (elder, newer))
            differing = {
                block
                for block in range(12)
                if before[block * BLOCK : (block + 1) * BLOCK].ljust(BLOCK, b"\0")
                != after[block * BLOCK : (block + 1) * BLOCK].ljust(BLOCK, b"\0")
            }
            assert exact == differing and exact <= named
