"""C7 of the protocol notes: clones, exports and work volumes whose copy is dropped keep what they read."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from store_lab import CLUSTER, Lab, all_keys

from tidelog.errors import AlreadyExists, InvalidName, NotFound, OutOfBounds, SiteBehind, UsageError
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.records import encode_hold
from tidelog.stores.store import Copy, HoldKind

BLOCK = Lab.BLOCK
A, B, C, D = (bytes([letter]) * BLOCK for letter in b"ABCD")


@pytest.fixture
def lab(keyspace: Keyspace) -> Lab:
    """Copies ``c1`` (A at block 0), ``c2`` (B, and B at 1) and ``c3``; what is live is D."""
    lab = Lab(keyspace)
    lab.author.write((lab.volume, 0, A))
    lab.author.mark("c1")
    lab.author.write((lab.volume, 0, B + B))
    lab.author.mark("c2")
    lab.author.write((lab.volume, 0, C + C + C))
    lab.author.mark("c3")
    lab.author.write((lab.volume, 0, D + D + D))
    lab.apply()
    return lab


C2 = B + B + bytes(BLOCK)


def drop(lab: Lab, name: str) -> None:
    """By the log, and all that follows from it that can be done."""
    lab.author.drop(lab.store.copy(name))
    lab.apply()
    lab.finish_drops()


def content(store: Store, copy: Copy) -> bytes:
    return store.read(copy.volumes[0], 0, 3 * BLOCK, copy)


def generations(lab: Lab) -> list[str]:
    return [copy.name for copy in lab.store.copies(dropping=True)]


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("kind", [HoldKind.EXPORT, HoldKind.VOLUME])
def test_c7_a_held_copy_is_hidden_and_read_on_until_it_is_let_go(lab: Lab, kind: HoldKind) -> None:
    """An export, an open work volume: the drop hides the copy at once, and waits."""
    copy = lab.store.copy("c2")
    with lab.store.hold(copy, kind, "me") as lease:
        drop(lab, "c2")
        assert generations(lab) == ["c1", "c2", "c3"] and [one.name for one in lab.store.copies()] == ["c1", "c3"]
        with pytest.raises(NotFound, match="being dropped"):
            content(lab.store, copy)
        with pytest.raises(NotFound, match="being dropped"):
            lab.store.hold(copy, kind)
        assert content(lab.store, lease.copy) == C2
        assert lab.store.digest(lease.copy) == lab.store.verify(lease.copy)
        assert b"".join(lab.store.stream(copy.volumes[0], lease.copy)) == C2
        assert lab.store.contents(lease.copy).named(copy.volumes[0], lab.store.copy("c1")).count == 2
        assert [(hold.kind, hold.holder, hold.of(copy)) for hold in lab.store.holds()] == [(kind, "me", True)]
        lab.check()
    assert lab.store.holds() == []
    assert lab.finish_drops()
    assert generations(lab) == ["c1", "c3"]
    lab.check(digests=True)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("order", [("c1", "c2", "c3"), ("c3", "c2", "c1"), ("c2", "c1", "c3"), ("c2", "c3", "c1")])
def test_c7_a_clone_keeps_its_copy_through_every_drop(lab: Lab, order: tuple[str, ...]) -> None:
    """All copies go, in any order, and more is written and cut: the clone reads what its copy was."""
    image = clone(lab, "c2", "drill")
    image.write(lab.store.volume("v"), BLOCK + 10, b"own")
    expected = (B + B[:10] + b"own" + B[13:]).ljust(3 * BLOCK, b"\0")
    for name in order:
        lab.author.mark("next")
        drop(lab, name)
        lab.author.write((lab.volume, 0, A + B + C))
        lab.apply()
        assert image.read(lab.store.volume("v"), 0, 3 * BLOCK) == expected
    lab.author.mark("end")
    drop(lab, "next")
    assert image.read(lab.store.volume("v"), 0, 3 * BLOCK) == expected
    assert "c2" in generations(lab)
    drop_clone(lab, "drill")
    lab.finish_drops()
    assert "c2" not in generations(lab)
    lab.check(digests=True)


def clone(lab: Lab, copy: str, name: str) -> CloneImage:
    """A new clone; the worker, who sees `PositionMoved`, reads everything anew."""
    image = lab.store.clones.image(lab.store.clones.create(lab.store.clonable(copy), name))
    lab.applier = lab.store.applier(CLUSTER)
    return image


def drop_clone(lab: Lab, name: str) -> None:
    lab.store.clones.drop(name)
    lab.applier = lab.store.applier(CLUSTER)


def test_c7_a_hold_is_no_hold_once_the_drop_has_begun(keyspace: Keyspace, lab: Lab) -> None:
    """The lease ends, the drop takes its first step: whoever renews it now is refused, and reads nothing wrong."""
    lease = lab.store.hold(lab.store.copy("c2"), HoldKind.EXPORT)
    drop(lab, "c2")
    end(keyspace, lab.store)
    assert lab.applier.maintain()
    lab.store._leases._renew(lease.copy.hold)
    assert lab.store.holds() == []
    with pytest.raises(NotFound):
        content(lab.store, lease.copy)
    lab.finish_drops()
    lab.check(digests=True)


def end(keyspace: Keyspace, store: Store) -> None:
    """Every lease ends now, as if its process had not been heard of for long."""
    rows = [(hold.id.encode(), encode_hold(replace(hold, expires_us=1))) for hold in store.holds() if hold.expires_us]
    keyspace.transact([(b"HSET", store._keys.holds, *row) for row in rows])


def test_c7_a_lease_that_has_ended_can_be_renewed_until_then(keyspace: Keyspace, lab: Lab) -> None:
    """A process that slept comes back before the drop has begun: it reads on."""
    lease = lab.store.hold(lab.store.copy("c2"), HoldKind.EXPORT)
    drop(lab, "c2")
    end(keyspace, lab.store)
    lab.store._leases._renew(lease.copy.hold)
    assert not lab.applier.maintain()
    assert content(lab.store, lease.copy) == C2
    lease.close()
    assert lab.finish_drops()


@pytest.mark.parametrize("taken", ["lease", "clone"])
def test_c7_a_hold_that_races_with_the_drop_of_its_copy(taken: str) -> None:
    """The applier marks the copy in the moment in which it is to be held: whoever comes second is told."""
    keyspace = MemoryKeyspace()
    lab = Lab(keyspace)
    lab.author.write((lab.volume, 0, A))
    lab.author.mark("c1")
    lab.author.mark("c2")
    lab.apply()
    copy = lab.store.copy("c1")
    lab.author.drop(copy)

    def between(point: str) -> None:
        if point == "exec":
            keyspace.between = lambda _point: None
            lab.apply()

    keyspace.between = between
    with pytest.raises(NotFound, match="being dropped"):
        lab.store.hold(copy, HoldKind.EXPORT) if taken == "lease" else lab.store.clones.create(copy, "drill")
    assert lab.store.holds() == [] and lab.store.clones.all() == []
    assert lab.finish_drops()
    lab.check(digests=True)


def test_c7_making_a_clone_is_seen_by_the_applier_and_a_lease_disturbs_none(lab: Lab) -> None:
    """A clone raises the layout; a lease leaves the position alone, so that a busy worker goes on."""
    before = lab.store.position()
    lease = lab.store.hold(lab.store.copy("c2"), HoldKind.VOLUME)
    assert lab.store.position() == before
    lab.author.write((lab.volume, 0, A))
    lab.apply()
    lab.store.clones.create(lab.store.copy("c2"), "drill")
    assert lab.store.position().layout == before.layout + 1
    lab.author.write((lab.volume, 0, A))
    with pytest.raises(PositionMoved):
        lab.apply()
    lab.applier = lab.store.applier(CLUSTER)
    lab.apply()
    lease.close()
    lab.check()


def test_c7_a_rewind_takes_data_holds_and_clones_back_together() -> None:
    """Redis loses its tail: a clone that was made since is gone for those who have it, one that was dropped is back."""
    keyspace = MemoryKeyspace()
    lab = Lab(keyspace)
    lab.author.write((lab.volume, 0, A))
    lab.author.mark("c1")
    lab.author.mark("c2")
    lab.apply()
    volume = lab.store.volume("v")
    old = clone(lab, "c1", "old")
    old.write(volume, 0, b"old")
    snapshot = keyspace.snapshot()
    new = clone(lab, "c1", "new")
    old.write(volume, 3, b"lost")
    drop_clone(lab, "old")
    lab.author.drop(lab.store.copy("c1"))
    lab.apply()
    keyspace.restore(snapshot)
    with pytest.raises(NotFound, match="not here any more"):
        new.read(volume, 0, 1)
    old.close()
    assert old.read(volume, 0, 8) == b"oldAAAAA"
    old.write(volume, 3, b"again")
    lab.applier = lab.store.applier(CLUSTER)
    lab.apply()
    assert not lab.applier.maintain()
    assert old.read(volume, 0, 9) == b"oldagainA"
    drop_clone(lab, "old")
    assert lab.finish_drops()
    assert not {key for key in all_keys(keyspace) if key[:2] in (b"k:", b"n:", b"o:")}


def test_an_erase_ends_clones_and_holds(lab: Lab) -> None:
    """From its first step on: nobody writes into what is being emptied, and nothing is left."""
    image, volume = clone(lab, "c2", "drill"), lab.store.volume("v")
    image.write(volume, 0, D)
    lease = lab.store.hold(lab.store.copy("c2"), HoldKind.VOLUME)
    steps = lab.store.erase()
    next(steps)
    for call in (lambda: image.read(volume, 0, 1), lambda: image.write(volume, 0, A), image.state):
        with pytest.raises(NotFound, match="not here any more"):
            call()
    for _ in steps:
        pass
    assert all_keys(lab.keyspace) == {b"identity", b"position"}
    lab.applier = lab.store.applier(CLUSTER)
    lab.apply()
    assert lab.store.clones.all() == [] and lab.store.holds() == []
    assert content(lab.store, lease.copy) == C2  # the same copy again, which is formed
    lab.store._leases._renew(lease.copy.hold)
    assert len(lab.store.holds()) == 1


def refused() -> list[tuple[Callable[[Lab], object], type[Exception], str]]:
    return [
        (lambda lab: lab.store.clonable("none"), NotFound, "no copy none"),
        (lambda lab: clone(lab, "c1", "drill"), AlreadyExists, "clone drill"),
        (lambda lab: clone(lab, "drill", "other"), UsageError, "is a clone"),
        (lambda lab: clone(lab, "c1", "../x"), InvalidName, "no name for a clone"),
        (lambda lab: clone(lab, "c1", "x" * 300), InvalidName, "no name for a clone"),
        (lambda lab: lab.store.clones.drop("none"), NotFound, "there are: drill"),
        (lambda lab: image(lab).write(lab.store.volume("v"), 3 * BLOCK - 1, b"ab"), OutOfBounds, "outside"),
        (lambda lab: image(lab).write(lab.store.volume("v"), -1, b"ab"), OutOfBounds, "outside"),
        (lambda lab: image(lab).discard(lab.store.volume("v"), 0, 3 * BLOCK + 1), OutOfBounds, "outside"),
        (lambda lab: image(lab).read(lab.store.volume("v"), 3 * BLOCK, 1), OutOfBounds, "outside"),
    ]


def image(lab: Lab) -> CloneImage:
    return lab.store.clones.image(lab.store.clones.find("drill"))


@pytest.mark.parametrize("number", range(len(refused())))
def test_what_is_refused(number: int, keyspace: Keyspace, lab: Lab) -> None:
    """With nothing changed."""
    clone(lab, "c2", "drill")
    before = all_keys(keyspace)
    call, error, said = refused()[number]
    with pytest.raises(error, match=said):
        call(lab)
    assert all_keys(keyspace) == before


def test_a_dropped_clone_is_gone_for_all(lab: Lab) -> None:
    """Whoever has it open is told; its name is free at once, and a new one of that name is another clone."""
    first, volume = clone(lab, "c2", "drill"), lab.store.volume("v")
    first.write(volume, 0, D)
    lab.store.clones.drop("drill")
    second = clone(lab, "c2", "drill")
    for call in (lambda: first.read(volume, 0, 1), lambda: first.write(volume, 0, A), lambda: first.changed(volume)):
        with pytest.raises(NotFound, match="clone drill is not here any more"):
            call()
    assert second.read(volume, 0, 3 * BLOCK) == C2


def test_no_clone_of_a_dropped_copy_or_while_rebuilding(lab: Lab) -> None:
    """Held or not."""
    copy = lab.store.copy("c2")
    with lab.store.hold(copy, HoldKind.VOLUME) as lease:
        drop(lab, "c2")
        for one in (copy, lease.copy):
            with pytest.raises(NotFound, match="being dropped"):
                lab.store.clones.create(one, "drill")
    lab.store.begin_rebuild(10_000)
    with pytest.raises(SiteBehind, match="being rebuilt"):
        clone(lab, "c1", "drill")
