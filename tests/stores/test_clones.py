"""Clones one by one: what is read, what is written, two writers, and what is freed."""

import random
import threading
from collections.abc import Sequence

import pytest
from store_lab import CLUSTER, IDENTITY, Author, all_keys, apply

from tidelog.errors import NotFound, OutOfBounds, StoreUnavailable
from tidelog.schemas.events import VolumeDeleted, VolumeResized
from tidelog.stores import clone_image
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Command, Reply
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import Clone, HoldKind

BLOCK = 512
SIZE = 40 * BLOCK + 100


@pytest.fixture
def base(store: Store, author: Author) -> bytes:
    """The content of volume ``v`` in copy ``m``; what is live is something else."""
    volume = author.create("v", SIZE)
    content = random.Random(1).randbytes(20 * BLOCK + 7)
    author.write((volume, 5 * BLOCK, content))
    author.mark("m")
    author.write((volume, 0, b"live" * (SIZE // 4)))
    apply(store, author)
    return (bytes(5 * BLOCK) + content).ljust(SIZE, b"\0")


def made(store: Store, name: str = "drill") -> tuple[Clone, CloneImage]:
    clone = store.clones.create(store.copy("m"), name)
    return clone, store.clones.image(clone)


def in_memory(author: Author) -> tuple[MemoryKeyspace, Store, Clone, CloneImage]:
    """A clone of a copy with one volume of zeros, on a keyspace in which things can go wrong."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    author.create("v", SIZE)
    author.mark("m")
    apply(store, author)
    return keyspace, store, *made(store)


def test_reads_and_writes_against_a_bytearray(store: Store, base: bytes) -> None:
    """Any offsets and lengths, also to the end of the last block, which is not whole."""
    clone, image = made(store)
    (info,) = clone.base.volumes
    model, rnd = bytearray(base), random.Random(2)
    for turn in range(300):
        start = rnd.choice([rnd.randrange(SIZE), rnd.randrange(SIZE) // BLOCK * BLOCK])
        end = rnd.choice([SIZE, min(SIZE, start + BLOCK), rnd.randint(start + 1, SIZE)])
        if turn % 4 == 3:
            image.discard(info, start, end - start)
            model[start:end] = bytes(end - start)
        else:
            data = rnd.choice([bytes(end - start), rnd.randbytes(end - start)])
            image.write(info, start, data)
            model[start:end] = data
        low = rnd.randrange(SIZE)
        high = rnd.randint(low, SIZE)
        assert image.read(info, low, high - low) == model[low:high]
    assert image.read(info, 0, SIZE) == model and image.read(info, SIZE, 0) == b""
    image.write(info, SIZE, b"")


@pytest.mark.parametrize("most", [BLOCK, 3 * BLOCK + 1])
def test_large_writes_and_discards_go_in_parts(
    store: Store, base: bytes, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same result."""
    monkeypatch.setattr(clone_image, "WRITE_BYTES_MAX", most)
    monkeypatch.setattr(clone_image, "DISCARD_BLOCKS_MAX", 3)
    monkeypatch.setattr(clone_image, "CHUNK_BYTES", 4 * BLOCK)
    clone, image = made(store)
    (info,) = clone.base.volumes
    model = bytearray(base)
    for start, end in ((100, SIZE - 3), (BLOCK, 9 * BLOCK), (0, SIZE)):
        data = random.Random(start).randbytes(end - start)
        image.write(info, start, data)
        model[start:end] = data
        assert image.read(info, 0, SIZE) == model
        image.discard(info, start + 50, end - start - 50)
        model[start + 50 : end] = bytes(end - start - 50)
        assert image.read(info, 0, SIZE) == model


@pytest.mark.usefixtures("base")
def test_what_a_clone_takes_is_what_was_written_and_all_of_it_is_freed(store: Store) -> None:
    """A block a block that was written with anything in it; none for zeros; nothing at all when it is dropped."""
    before = all_keys(store._keyspace)
    clone, image = made(store)
    (info,) = clone.base.volumes
    assert all_keys(store._keyspace) - before == {b"clones", b"holds", b"k:" + clone.id.encode()}
    image.write(info, 7 * BLOCK + 3, b"some")
    image.write(info, 9 * BLOCK, bytes(BLOCK))
    image.discard(info, 10 * BLOCK, 3 * BLOCK)
    own = {key for key in all_keys(store._keyspace) if key.startswith(b"o:")}
    assert own == {b"o:%b:%d:00000007" % (clone.id.encode(), info.id)}
    assert list(image.changed(info).blocks()) == [7, 9, 10, 11, 12]
    image.discard(info, 0, SIZE)
    assert not {key for key in all_keys(store._keyspace) if key.startswith(b"o:")}
    assert image.read(info, 0, SIZE) == bytes(SIZE)
    image.write(info, 0, b"x" * SIZE)
    freed: list[int] = []
    store.clones.drop("drill", freed.append)
    assert sum(freed) == info.blocks
    assert all_keys(store._keyspace) == before


@pytest.mark.usefixtures("base")
def test_two_writers_of_one_clone_tear_nothing(store: Store) -> None:
    """Each changes its own bytes of the same block: none takes back what the other has written."""
    clone, first = made(store)
    second = store.clones.image(clone)
    (info,) = clone.base.volumes
    failures: list[BaseException] = []

    def write(image: CloneImage, offset: int) -> None:
        try:
            for turn in range(1, 60):
                image.write(info, offset, bytes([turn]) * BLOCK)
                assert image.read(info, offset, BLOCK) == bytes([turn]) * BLOCK
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=write, args=(image, offset))
        for image, offset in (
            (first, BLOCK // 2),
            (second, BLOCK // 2 + BLOCK),
            (first, 3 * BLOCK),
            (second, 5 * BLOCK),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert first.read(info, BLOCK // 2, 2 * BLOCK) == bytes([59]) * (2 * BLOCK)


def test_a_change_that_reads_before_another_one(author: Author) -> None:
    """Another process changes the block between its reading and its EXEC, which does not count: it reads anew."""
    keyspace, store, clone, image = in_memory(author)
    other, (info,) = store.clones.image(clone), clone.base.volumes
    real = keyspace.transact

    def transact(commands: Sequence[Command]) -> list[Reply]:
        replies = real(commands)
        if any(command[0] == b"MGET" for command in commands if isinstance(command, tuple)):
            keyspace.transact = real  # type: ignore[method-assign]
            other.write(info, 10, b"other")
        return replies

    keyspace.transact = transact  # type: ignore[method-assign]
    image.write(info, 0, b"mine")
    assert image.read(info, 0, 16) == b"mine\0\0\0\0\0\0other\0"


@pytest.mark.usefixtures("base")
def test_three_clones_of_one_copy_and_one_of_another(store: Store, author: Author) -> None:
    """None sees another's writes, and a copy is held until its last clone is gone."""
    author.mark("later")
    apply(store, author)
    images = [made(store, name) for name in ("a", "b", "c")]
    other = store.clones.create(store.copy("later"), "d")
    for number, (clone, image) in enumerate(images):
        image.write(clone.base.volumes[0], 0, bytes([65 + number]) * 3)
    assert [image.read(clone.base.volumes[0], 0, 3) for clone, image in images] == [b"AAA", b"BBB", b"CCC"]
    assert store.clones.image(other).read(other.base.volumes[0], 0, 4) == b"live"
    author.drop(store.copy("m"))
    for name in ("b", "a", "c"):
        apply(store, author)
        assert "m" in [copy.name for copy in store.copies(dropping=True)]
        store.clones.drop(name)
    apply(store, author)
    assert [copy.name for copy in store.copies(dropping=True)] == ["later"]
    assert [(hold.kind, hold.holder) for hold in store.holds()] == [(HoldKind.CLONE, "d")]


def test_a_deleted_volume_stays_in_a_clone(store: Store, author: Author, base: bytes) -> None:
    """Its blocks are collected when no copy lists it any more: the hidden one does."""
    clone, image = made(store)
    (info,) = clone.base.volumes
    author.add(VolumeDeleted, volume=info.id)
    author.mark("without")
    author.drop(store.copy("m"))
    apply(store, author)
    assert image.read(info, 0, SIZE) == base
    store.clones.drop("drill")
    apply(store, author)
    assert not {key for key in all_keys(store._keyspace) if key[:2] in (b"b:", b"g:", b"o:")}


def test_sizes_are_those_of_the_copy(store: Store, author: Author, base: bytes) -> None:
    """Whatever became of the live volume since: grown, it is no larger in the clone; one made since is not in it."""
    clone, image = made(store)
    (info,) = clone.base.volumes
    author.add(VolumeResized, volume=info.id, size=2 * SIZE)
    author.create("w", SIZE)
    apply(store, author)
    grown, other = store.volumes()
    assert image.read(grown, 0, SIZE) == base
    for call in (lambda: image.read(grown, SIZE, 1), lambda: image.write(grown, SIZE - 1, b"ab")):
        with pytest.raises(OutOfBounds):
            call()
    with pytest.raises(NotFound, match="has no volume w"):
        image.write(other, 0, b"x")


@pytest.mark.usefixtures("base", "small_steps")
def test_a_drop_that_is_cut_short_is_finished_by_a_worker(author: Author) -> None:
    """At whichever step; the name is free at once."""
    for step in range(1, 30):
        keyspace = MemoryKeyspace()
        store = Store.create(keyspace, IDENTITY)
        apply(store, author)
        clone, image = made(store)
        image.write(clone.base.volumes[0], 0, b"x" * (20 * BLOCK))
        keyspace.fail(step, applied=bool(step % 2))
        try:
            store.clones.drop("drill")
        except StoreUnavailable:
            if store.clones.all():
                continue  # its first step was lost before it took effect
        else:
            assert step > 11, "so many steps a drop of twenty blocks takes"
            return
        assert store.clones.all() == [] and store.holds() == []
        with pytest.raises(NotFound):
            image.read(clone.base.volumes[0], 0, 1)
        made(store)
        with store.applier(CLUSTER) as applier:
            while applier.maintain():
                pass
        assert not {key for key in all_keys(keyspace) if clone.id.encode() in key}
    raise AssertionError("no drop came to its end")


@pytest.mark.parametrize("applied", [True, False])
def test_a_change_over_a_connection_that_is_lost(author: Author, applied: bool) -> None:
    """It is made once, whether the server had carried it out or not."""
    keyspace, _, clone, image = in_memory(author)
    (info,) = clone.base.volumes
    image.write(info, 0, b"before")
    keyspace.fail(1, applied=applied)
    image.write(info, 3, b"AFTER")
    assert image.read(info, 0, 8) == b"befAFTER"
    keyspace.lose_connections()
    image.write(info, 0, b"again")
    assert image.read(info, 0, 8) == b"againTER"


def test_a_change_whose_fate_nobody_can_tell(author: Author) -> None:
    """The connection is lost, and somebody else has changed the clone since: said, and not done twice."""
    keyspace, store, clone, image = in_memory(author)
    other, (info,) = store.clones.image(clone), clone.base.volumes

    def between(point: str) -> None:
        if point == "exec":
            keyspace.between = lambda _point: None
            other.write(info, 0, b"other")
            keyspace.fail(1, applied=False)

    keyspace.between = between
    with pytest.raises(StoreUnavailable, match="unknown"):
        image.write(info, 0, b"mine")
    assert image.read(info, 0, 5) == b"other"
