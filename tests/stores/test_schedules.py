"""The shortest schedules that broke earlier rules (protocol-schedules.md): one test each, named after them."""

import pytest
from store_lab import CLUSTER, IDENTITY, Lab

from tidelog.errors import StoreDamaged
from tidelog.schemas.events import VolumeDeleted, VolumeResized
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace

BLOCK = Lab.BLOCK
A, B, C = (bytes([letter]) * BLOCK for letter in b"ABC")


@pytest.fixture
def lab(keyspace: Keyspace) -> Lab:
    """A store on each kind of keyspace in turn."""
    return Lab(keyspace)


@pytest.fixture
def memory_lab() -> Lab:
    """A store in memory, where other clients can come in between at will."""
    return Lab(MemoryKeyspace())


def test_c1_first_write_to_a_block_after_a_cut_is_not_in_the_copy(lab: Lab) -> None:
    """A block never written before the cut has no before-image; the copy reads zeros, not the new data."""
    lab.author.mark()
    lab.author.write((lab.volume, 0, A), (lab.volume, BLOCK, b"part"))
    lab.apply()
    (copy,) = lab.store.copies()
    assert lab.store.read(copy.volumes[0], 0, 3 * BLOCK, copy) == bytes(3 * BLOCK)
    lab.check(digests=True)


@pytest.mark.usefixtures("small_steps")
def test_c2_a_middle_drop_hands_no_image_to_a_generation_that_has_the_bit(lab: Lab) -> None:
    """Absent at c1, written, cut c2, written, cut c3: dropping c2 leaves zeros in c1, at every step."""
    lab.author.mark("c1")
    lab.author.write((lab.volume, 0, A), (lab.volume, BLOCK, A), (lab.volume, 2 * BLOCK, A))
    second = lab.author.mark("c2")
    lab.author.write((lab.volume, 0, B), (lab.volume, BLOCK, B), (lab.volume, 2 * BLOCK, B))
    lab.author.mark("c3")
    lab.author.drop(second)
    lab.apply()
    assert lab.finish_drops() > 1
    lab.check(digests=True)


@pytest.mark.usefixtures("small_steps")
def test_c2_a_middle_drop_hands_on_what_the_elder_lacks(lab: Lab) -> None:
    """The other half: a block that only the dropped generation named goes to the elder, present or absent."""
    lab.author.write((lab.volume, 0, A))
    lab.author.mark("c1")
    second = lab.author.mark("c2")
    lab.author.write((lab.volume, 0, B), (lab.volume, BLOCK, B))
    lab.author.mark("c3")
    lab.author.drop(second)
    lab.apply()
    lab.finish_drops()
    lab.check(digests=True)


def test_c3_the_newest_copy_waits_for_the_next_cut_to_be_dropped(lab: Lab) -> None:
    """While the newest generation collects it is not handed over, so the elder loses no before-image."""
    lab.author.write((lab.volume, 0, A), (lab.volume, BLOCK, A))
    lab.author.mark("c1")
    second = lab.author.mark("c2")
    lab.author.write((lab.volume, 0, B))
    lab.author.drop(second)
    lab.apply()
    assert not lab.applier.maintain()
    lab.author.write((lab.volume, BLOCK, C))
    lab.apply()
    lab.check()
    lab.author.mark("c3")
    lab.apply()
    assert lab.finish_drops()
    assert [copy.name for copy in lab.store.copies(dropping=True)] == ["c1", "c3"]
    lab.check(digests=True)


def test_c4_l6_a_cut_lost_in_a_rewind_takes_the_bitmaps_in_memory_with_it(memory_lab: Lab) -> None:
    """The store goes back behind a cut without cutting connections: the applier must not go on with what it knows."""
    lab, keyspace = memory_lab, memory_lab.keyspace
    assert isinstance(keyspace, MemoryKeyspace)
    lab.author.write((lab.volume, 0, A))
    lab.apply()
    before = keyspace.snapshot()
    lab.author.mark()
    lab.author.write((lab.volume, 0, B))
    lab.apply()
    keyspace.restore(before, lose_connections=False)
    lab.author.write((lab.volume, 0, C))
    with pytest.raises(PositionMoved):
        lab.apply()
    lab.apply(lab.store.applier(CLUSTER))
    lab.check(digests=True)


def test_c5_a_volume_made_anew_shows_nothing_of_the_old_one(lab: Lab) -> None:
    """Keys go by id: delete and create under the same name reads zeros, the copy reads the old data."""
    lab.author.write((lab.volume, 0, A))
    marker = lab.author.mark("old")
    lab.author.add(VolumeDeleted, volume=lab.volume)
    lab.author.create("v", 2 * BLOCK)
    lab.apply()
    assert not lab.applier.maintain()  # the copy still lists the deleted volume: nothing may be collected
    assert lab.store.read(lab.store.volume("v"), 0, 2 * BLOCK) == bytes(2 * BLOCK)
    lab.check(digests=True)
    lab.author.mark("new")
    lab.author.drop(marker)
    lab.apply()
    assert lab.finish_drops() > 1
    keys, (left,) = Keys(IDENTITY.group), lab.keyspace.transact([(b"HGETALL", Keys(IDENTITY.group).deleted)])
    assert left == [] and lab.keyspace.transact([(b"GET", keys.block_format(lab.volume) % 0)]) == [None]


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("size", [BLOCK, BLOCK + 100, 100])
def test_c6_shrink_then_grow_shows_zeros(lab: Lab, size: int) -> None:
    """What a shrink cuts off is gone, the rest of the last block included, and counts as changed."""
    lab.author.write((lab.volume, 0, A + B + C))
    lab.author.mark("before")
    lab.author.add(VolumeResized, volume=lab.volume, size=size)
    lab.author.mark("small")
    lab.author.add(VolumeResized, volume=lab.volume, size=3 * BLOCK)
    lab.author.mark("large")
    lab.apply()
    assert lab.store.read(lab.store.volume("v"), 0, 3 * BLOCK) == (A + B + C)[:size].ljust(3 * BLOCK, b"\0")
    for copy in lab.store.copies():
        lab.store.digest(copy)
    lab.check(digests=True)


def test_c11_the_digest_of_a_copy_after_a_delete_is_that_of_its_volumes(lab: Lab) -> None:
    """Incremental digests go by volume, so a deleted one takes its share with it."""
    other = lab.author.create("w", BLOCK)
    lab.author.write((lab.volume, 0, A), (other, 0, B))
    lab.author.mark("both")
    lab.author.add(VolumeDeleted, volume=other)
    lab.author.write((lab.volume, BLOCK, C))
    lab.author.mark("one")
    lab.apply()
    both, one = lab.store.copies()
    assert lab.store.digest(both) == lab.store.verify(both)
    assert lab.store.digest(one) == lab.store.verify(one)
    assert lab.store.digest(one) != lab.store.digest(both)


@pytest.mark.parametrize("point", ["exec", "watch", "get"])
def test_l5_another_workers_exec_before_the_watch_is_noticed(memory_lab: Lab, point: str) -> None:
    """Worker 2 applies between worker 1's EXEC and its WATCH (and around them): no event is applied twice.

    Applied twice, the second write would move the first one's content over the copy's image.
    """
    lab, keyspace = memory_lab, memory_lab.keyspace
    assert isinstance(keyspace, MemoryKeyspace)
    lab.author.write((lab.volume, 0, A))
    lab.apply()
    other = lab.store.applier(CLUSTER)
    lab.author.mark()
    lab.author.write((lab.volume, 0, B))

    def between(at: str) -> None:
        if at == point:
            keyspace.between = lambda _point: None
            if point == "exec":
                other.settle()
                lab.apply(other)
            else:
                lab.apply(lab.store.applier(CLUSTER))

    def two_runs() -> None:
        lab.apply()  # the marker is one transaction, the write the next
        lab.author.write((lab.volume, 0, C))
        lab.apply()

    keyspace.between = between
    with pytest.raises(PositionMoved):
        two_runs()
    lab.apply(lab.store.applier(CLUSTER))
    lab.check(digests=True)


def test_l5_two_workers_one_of_them_wins(lab: Lab) -> None:
    """On any keyspace: the worker that finds another's position gives up, and what it planned takes no effect."""
    other = lab.store.applier(CLUSTER)
    lab.author.write((lab.volume, 0, A))
    lab.author.mark()
    lab.author.write((lab.volume, 0, B))
    lab.apply()
    with pytest.raises(PositionMoved):
        lab.apply(other)
    with pytest.raises(PositionMoved):
        other.settle()
    lab.check(digests=True)


def test_l6_a_drop_from_another_process_is_noticed(lab: Lab) -> None:
    """Marking the newest copy as dropping raises the layout: the applier's picture of the copies is thrown away."""
    lab.author.write((lab.volume, 0, A))
    lab.author.mark("c1")
    lab.author.mark("c2")
    lab.apply()
    newest = lab.store.copies()[-1]
    assert lab.store.mark_dropping(newest)
    lab.author.write((lab.volume, 0, B))
    with pytest.raises(PositionMoved):
        lab.apply()
    lab.apply(lab.store.applier(CLUSTER))
    lab.check(dropped=[newest.sequence])


@pytest.mark.parametrize("point", ["watch", "get"])
@pytest.mark.parametrize("change", ["mark", "drop step"])
def test_l6_a_layout_that_changes_between_exec_and_watch_is_noticed(memory_lab: Lab, point: str, change: str) -> None:
    """WATCH does not see it, so the position that GET reads must tell: every change of the copies raises the layout."""
    lab, keyspace = memory_lab, memory_lab.keyspace
    assert isinstance(keyspace, MemoryKeyspace)
    lab.author.write((lab.volume, 0, A))
    first = lab.author.mark("c1")
    lab.author.mark("c2")
    lab.apply()
    dropped = lab.store.copies()[0]
    if change == "drop step":
        lab.author.drop(first)
        lab.apply()

    def between(at: str) -> None:
        if at == point:
            keyspace.between = lambda _point: None
            if change == "mark":
                assert lab.store.mark_dropping(dropped)
            else:
                assert lab.store.applier(CLUSTER).maintain()

    keyspace.between = between
    lab.author.write((lab.volume, 0, B))
    with pytest.raises(PositionMoved):
        lab.apply()
    lab.apply(lab.store.applier(CLUSTER))
    lab.check(dropped=[dropped.sequence])


def test_l10_a_command_that_fails_inside_exec_halts(lab: Lab) -> None:
    """EXEC does not roll back: an error of any command means that the store is damaged."""
    lab.author.write((lab.volume, 0, A))
    lab.apply()
    keys = Keys(IDENTITY.group)
    block = keys.block_format(lab.volume) % 0
    lab.keyspace.transact([(b"DEL", block), (b"HSET", block, b"not", b"ours")])
    lab.author.write((lab.volume, 0, b"part"))
    with pytest.raises(StoreDamaged, match="SETRANGE"):
        lab.apply()


def test_l10_renaming_an_absent_block_is_no_damage(lab: Lab) -> None:
    """The one error that is expected: a block that was discarded has nothing to move to the copy."""
    lab.author.write((lab.volume, 0, A))
    lab.author.add(VolumeResized, volume=lab.volume, size=100)
    lab.author.add(VolumeResized, volume=lab.volume, size=3 * BLOCK)
    lab.author.write((lab.volume, BLOCK, A))
    lab.author.add(VolumeResized, volume=lab.volume, size=BLOCK)
    lab.author.add(VolumeResized, volume=lab.volume, size=3 * BLOCK)
    lab.author.mark()
    lab.author.write((lab.volume, BLOCK, B))
    lab.apply()
    lab.check(digests=True)
