"""The public face of a store, on every kind of keyspace."""

from dataclasses import replace

import pytest
from store_lab import CLUSTER, IDENTITY, Author, apply

from tidelog.errors import NotFound, OutOfBounds, SiteBehind, StoreDamaged, StoreUnavailable, WrongStore
from tidelog.schemas.events import Discard, VolumeDeleted, VolumeResized
from tidelog.stores import reading
from tidelog.stores.cut import GENERATION_STEP
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace

BLOCK = 512
KEYS = Keys(IDENTITY.group)


def test_a_new_store_is_empty_and_at_the_origin(store: Store, keyspace: Keyspace) -> None:
    """Created again or opened it is the same; opened by name alone it tells its group id."""
    assert store.position().head.sequence == 0
    assert store.volumes() == [] and store.copies() == [] and store.rebuilding() is None
    assert Store.create(keyspace, IDENTITY).identity == IDENTITY
    assert Store.open(keyspace, replace(IDENTITY, group_id="")).identity == IDENTITY
    with pytest.raises(NotFound):
        store.volume("v")
    with pytest.raises(NotFound):
        store.copy("m")


def test_a_store_that_is_not_there(keyspace: Keyspace) -> None:
    with pytest.raises(NotFound, match="no store of group bank"):
        Store.open(keyspace, IDENTITY)


@pytest.mark.parametrize("other", [replace(IDENTITY, group_id="other"), replace(IDENTITY, site="osaka")])
def test_another_ones_store_is_refused(store: Store, keyspace: Keyspace, other: object) -> None:
    """Another site's or another group's of the same name, on creating and on opening."""
    assert store.identity != other
    for way in (Store.create, Store.open):
        with pytest.raises(WrongStore):
            way(keyspace, other)  # type: ignore[arg-type]


def test_two_groups_share_a_redis(store: Store, keyspace: Keyspace, author: Author) -> None:
    """Groups have keys of their own, and erasing one leaves the other."""
    second = Store.create(keyspace, replace(IDENTITY, group="bank2"))
    author.write((author.create("v", BLOCK), 0, b"x"))
    apply(store, author)
    list(second.erase())
    assert store.read(store.volume("v"), 0, 1) == b"x"


def test_a_server_that_evicts_is_refused() -> None:
    with pytest.raises(WrongStore, match="volatile-lru"):
        Store.create(MemoryKeyspace("volatile-lru"), IDENTITY)


def test_reads_are_bounded(store: Store, author: Author) -> None:
    """Live by the size now, in a copy by the size then; nothing is read beyond."""
    number = author.create("v", 1000)
    author.write((number, 990, b"0123456789"))
    author.mark("big")
    author.add(VolumeResized, volume=number, size=600)
    apply(store, author)
    live, copy = store.volume("v"), store.copy("big")
    old = copy.volumes[0]
    assert store.read(live, 600, 0) == b"" == store.read(old, 1000, 0, copy)
    assert store.read(old, 0, 1000, copy) == bytes(990) + b"0123456789" and store.read(live, 0, 600) == bytes(600)
    for volume, offset, length, where in [(live, 0, 601, None), (old, 0, 601, None), (live, 600, 1, None)]:
        with pytest.raises(OutOfBounds):
            store.read(volume, offset, length, where)
    for offset, length in [(0, 1001), (-1, 1), (1, -1), (1000, 1)]:
        with pytest.raises(OutOfBounds):
            store.read(live, offset, length, copy)
    with pytest.raises(OutOfBounds):
        store.read(live, -1, 1)


def test_reads_of_what_is_gone(store: Store, author: Author) -> None:
    """A deleted volume, a volume that a copy has not, a dropped copy: all say so."""
    number = author.create("v", BLOCK)
    marker = author.mark("before")
    other = author.create("w", BLOCK)
    author.add(VolumeDeleted, volume=number)
    apply(store, author)
    copy, live = store.copy("before"), store.volume("w")
    old = copy.volumes[0]
    with pytest.raises(NotFound, match="does not exist"):
        store.read(old, 0, 1)
    with pytest.raises(NotFound, match="has no volume w"):
        store.read(live, 0, 1, copy)
    assert live.id == other
    author.drop(marker)
    apply(store, author)
    with pytest.raises(NotFound, match="being dropped"):
        store.read(old, 0, 1, copy)
    with pytest.raises(NotFound):
        store.digest(copy)
    author.mark("after")
    apply(store, author)
    with pytest.raises(NotFound, match="not here any more"):
        store.read(old, 0, 1, copy)
    assert not store.mark_dropping(copy)


def test_copies_by_name_and_number(store: Store, author: Author) -> None:
    """Names are labels: the newest of a name answers; the sequence names one."""
    first = author.mark("noon")
    author.mark("night")
    second = author.mark("noon")
    apply(store, author)
    assert [copy.name for copy in store.copies()] == ["noon", "night", "noon"]
    assert store.copy("noon").sequence == second.sequence
    assert store.copy(f"#{first.sequence}").sequence == first.sequence


def test_streams_and_reads_in_parts(store: Store, author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the parts, live and copy read the same bytes."""
    monkeypatch.setattr(reading, "CHUNK_BYTES", 3 * BLOCK)
    monkeypatch.setattr(reading, "READ_BYTES_MAX", 4 * BLOCK + 1)
    number = author.create("v", 20 * BLOCK + 77)
    content = bytes(range(256)) * 40
    author.write((number, 300, content[:5000]), (number, 6000, content[:4000]))
    author.mark("m")
    author.write((number, 1000, b"new" * 1000))
    apply(store, author)
    copy = store.copy("m")
    volume = copy.volumes[0]
    then = (bytes(300) + content[:5000]).ljust(6000, b"\0") + content[:4000]
    then = then.ljust(volume.size, b"\0")
    now = then[:1000] + b"new" * 1000 + then[4000:]
    assert b"".join(store.stream(volume, copy)) == then
    assert max(map(len, store.stream(volume, copy))) <= 3 * BLOCK
    for offset, length in [(0, volume.size), (1, 1), (511, 2), (700, 5000), (volume.size - 1, 1), (4096, 4096)]:
        assert store.read(volume, offset, length, copy) == then[offset : offset + length]
        assert store.read(volume, offset, length) == now[offset : offset + length]
        assert b"".join(store.stream(volume, copy, offset, length)) == then[offset : offset + length]
    assert store.read_live(volume, 0, 10) == (now[:10], store.position().head)


@pytest.mark.usefixtures("small_steps")
def test_a_live_read_does_not_see_half_an_event(author: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the steps of a large discard a live read waits, then says so; copies are readable."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    number = author.create("v", 8 * BLOCK)
    author.write((number, 0, b"x" * 8 * BLOCK))
    author.mark("m")
    author.add(Discard, volume=number, offset=0, length=8 * BLOCK)
    keyspace.fail(6, applied=True)
    with pytest.raises(StoreUnavailable):
        apply(store, author)
    assert store.position().step
    monkeypatch.setattr(reading, "STEP_WAIT_SECONDS", 0.05)
    with pytest.raises(SiteBehind):
        store.read(store.volume("v"), 0, 1)
    copy = store.copy("m")
    assert store.read(copy.volumes[0], 0, 8 * BLOCK, copy) == b"x" * 8 * BLOCK
    apply(store, author)
    assert store.read(store.volume("v"), 0, 8 * BLOCK) == bytes(8 * BLOCK)


def test_damaged_records_are_named(store: Store, keyspace: Keyspace, author: Author) -> None:
    """What tidelog did not write is never taken for something."""
    author.create("v", BLOCK)
    author.mark("m")
    apply(store, author)
    for key, value in [(KEYS.volumes, b"{}"), (KEYS.copies, b"[1]"), (KEYS.copies, b"\xff")]:
        (row,) = keyspace.transact([(b"HGETALL", key)])
        keyspace.transact([(b"HSET", key, row[0], value)])  # type: ignore[index, arg-type]
        with pytest.raises(StoreDamaged):
            store.volumes()
        keyspace.transact([(b"HSET", key, *row)])  # type: ignore[misc]
    for value in (b"", b"2" + bytes(200)):
        keyspace.transact([(b"SET", KEYS.position, value)])
        with pytest.raises(StoreDamaged):
            store.position()


def test_an_applier_reports_what_is_confirmed(store: Store, author: Author) -> None:
    """`position` runs ahead of `confirmed` by at most one transaction, until it is settled."""
    author.write((author.create("v", BLOCK), 0, b"x"))
    author.mark("m")
    with store.applier(CLUSTER) as applier:
        applier.submit(author.after(0))
        assert applier.position.head == author.head
        assert applier.confirmed.head.sequence == author.head.sequence - 1
        assert applier.settle() == applier.position == applier.confirmed
    position = store.position()
    assert position == applier.confirmed
    assert (position.cluster_id, position.generation, position.layout) == (CLUSTER, GENERATION_STEP, 1)
    with pytest.raises(PositionMoved):
        applier.settle()


@pytest.mark.parametrize("at", ["plan", "submit", "settle"])
def test_an_interrupted_applier_is_over(author: Author, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """Ctrl-C between planning and sending would leave a hole that no WATCH sees; so it ends the applier."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    author.write((author.create("v", BLOCK), 0, b"x"))
    applier = store.applier(CLUSTER)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    owner = applier._planner if at == "plan" else applier._session
    with monkeypatch.context() as patched:
        patched.setattr(owner, {"plan": "close"}.get(at, at), interrupt)
        with pytest.raises(KeyboardInterrupt):
            applier.submit(author.after(0))
        if at != "settle":
            assert store.position().head.sequence == 0
    author.write((2, 0, b"y"))
    with pytest.raises(PositionMoved):
        applier.submit(author.after(0)[-1:])
    apply(store, author)
    assert store.read(store.volume("v"), 0, 1) == b"y"
