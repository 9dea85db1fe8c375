"""Copies onto volumes: the schedules that broke earlier rules (protocol-schedules.md, C8 to C12); what is refused."""

import zlib
from random import Random
from typing import Any

import pytest
from store_lab import CLUSTER, Lab

from tidelog.errors import CopyMissing, CorruptEvent, LogDiverged, SiteBehind
from tidelog.schemas.events import Event, VolumeCopied, VolumeDeleted, VolumeResized
from tidelog.stores import reading, volume_copy
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.plan import Transaction

BLOCK = Lab.BLOCK
A, B, C, D = (bytes([letter]) * BLOCK for letter in b"ABCD")


class CopyLab(Lab):
    """Two more volumes, and what a writer would ship, asked of the store as a writer does."""

    def __init__(self, keyspace: Keyspace) -> None:
        super().__init__(keyspace)
        self.second = self.author.create("w", 3 * BLOCK)
        self.third = self.author.create("x", 4 * BLOCK)

    def ship(self, source: int, target: int, marker: Event | None = None) -> set[int]:
        """Copies; what was shipped."""
        self.apply()
        identity = (marker.sequence, marker.seal) if marker else None
        changes, head = self.store.changes(source, target, identity)
        assert head == self.author.head
        (end,) = (info.blocks for info in self.store.volumes() if info.id == target)
        changes.discard_range(end, 2 * end)
        self.author.copy(source, target, changes.blocks(), marker)
        self.apply()
        self.check(digests=True)
        return set(changes.blocks())

    def content(self, volume: int) -> bytes:
        (info,) = (info for info in self.store.volumes() if info.id == volume)
        return self.store.read(info, 0, info.size)


@pytest.fixture
def lab(keyspace: Keyspace) -> CopyLab:
    """A store on each kind of keyspace in turn."""
    return CopyLab(keyspace)


@pytest.fixture
def memory_lab() -> CopyLab:
    """A store in memory."""
    return CopyLab(MemoryKeyspace())


def test_a_copy_is_the_source_and_stays_so(lab: CopyLab) -> None:
    """The first one brings what either volume ever held, the next what has changed; later writes do not leak in."""
    lab.author.write((lab.volume, 0, A + B), (lab.third, BLOCK, C + C + C))
    lab.author.mark("before")
    assert lab.ship(lab.volume, lab.third) == {0, 1, 2, 3}
    assert lab.content(lab.third) == A + B + bytes(2 * BLOCK)
    lab.author.write((lab.volume, 0, D), (lab.third, 3 * BLOCK, D))
    lab.apply()
    assert lab.content(lab.third) == A + B + bytes(BLOCK) + D
    assert lab.content(lab.volume) == D + B + bytes(BLOCK)
    before = lab.store.copy("before")
    assert lab.store.read(before.volumes[-1], 0, 4 * BLOCK, before) == bytes(BLOCK) + C + C + C
    assert lab.ship(lab.volume, lab.third) == {0, 3}
    assert lab.content(lab.third) == D + B + bytes(2 * BLOCK)
    assert lab.ship(lab.volume, lab.third) == set()


def test_c8_changes_since_the_source_copy_are_shipped_later(lab: CopyLab) -> None:
    """From a copy first, then from the live source: what changed between the two must come along."""
    lab.author.write((lab.volume, 0, A + B))
    marker = lab.author.mark()
    lab.author.write((lab.volume, BLOCK, C))
    lab.ship(lab.volume, lab.second, marker)
    assert lab.content(lab.second) == A + B + bytes(BLOCK)
    assert lab.ship(lab.volume, lab.second) == {1}
    assert lab.content(lab.second) == A + C + bytes(BLOCK)
    lab.author.write((lab.volume, 0, D))
    assert lab.ship(lab.volume, lab.second, marker) == {0, 1}
    assert lab.content(lab.second) == A + B + bytes(BLOCK)


def test_c9_a_copy_onto_the_source_counts_as_a_write_to_it(lab: CopyLab) -> None:
    """Chains: what X brought to V must go on to W, and back."""
    lab.ship(lab.volume, lab.second)
    lab.author.write((lab.second, 2 * BLOCK, D), (lab.third, 0, A))
    lab.author.add(VolumeResized, volume=lab.third, size=3 * BLOCK)
    lab.ship(lab.third, lab.volume)
    assert lab.ship(lab.volume, lab.second) == {0, 2}
    assert lab.content(lab.second) == A + bytes(2 * BLOCK)
    lab.author.write((lab.second, BLOCK, B))
    assert 1 in lab.ship(lab.second, lab.volume)
    assert lab.content(lab.volume) == A + B + bytes(BLOCK)
    assert lab.ship(lab.volume, lab.second) == {0, 1, 2}  # the way back named them on the source


def test_c10_a_site_without_the_source_copy_halts(lab: CopyLab) -> None:
    """Dropped here alone, ahead of the log: nothing of the event is applied, and what to do is said."""
    lab.author.write((lab.volume, 0, A))
    marker = lab.author.mark()
    lab.author.copy(lab.volume, lab.second, {0}, marker)
    lab.applier.submit(lab.author.log[:-1])
    lab.applier.settle()
    assert lab.store.mark_dropping(lab.store.copies()[0])
    applier = lab.store.applier(CLUSTER)
    with pytest.raises(CopyMissing) as caught:
        lab.apply(applier)
    assert caught.value.sequence == lab.author.head.sequence and "rebuild" in caught.value.hint
    assert applier.settle().head.sequence == marker.sequence
    assert lab.content(lab.second) == bytes(3 * BLOCK)
    with pytest.raises(CopyMissing):
        lab.store.changes(lab.volume, lab.second, (marker.sequence, marker.seal))


def test_c10_a_copy_of_another_history_is_no_source(memory_lab: CopyLab) -> None:
    """The same sequence with another seal is another copy."""
    lab = memory_lab
    lab.author.mark()
    marker = lab.author.mark()
    fields = {"source_copy_sequence": marker.sequence, "source_copy_seal": b"s" * 16, "bitmap": zlib.compress(b"")}
    lab.author.add(VolumeCopied, source=lab.volume, target=lab.second, **fields)
    with pytest.raises(CopyMissing):
        lab.apply()


def test_c12_what_is_shipped_must_contain_what_may_differ_here_and_may_be_more(lab: CopyLab) -> None:
    """Equality would halt a site whose bitmaps are smaller for a good reason."""
    lab.author.write((lab.volume, 0, A), (lab.second, BLOCK, B))
    lab.author.mark()
    lab.author.copy(lab.volume, lab.second, {0, 1, 2})
    lab.apply()
    lab.check(digests=True)
    lab.author.write((lab.volume, 0, A), (lab.second, 2 * BLOCK, B))
    lab.apply()
    good = lab.author.head.sequence
    lab.author.copy(lab.volume, lab.second, {0, 1})
    with pytest.raises(LogDiverged, match="1 more may differ, the first of them block 2") as caught:
        lab.apply()
    assert caught.value.sequence == lab.author.head.sequence and caught.value.hint
    assert lab.applier.settle().head.sequence == good


@pytest.mark.usefixtures("small_steps")
def test_a_large_copy_goes_in_steps_with_nothing_in_between(
    memory_lab: CopyLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps there is no live image to read, no drop begins, and the source may be marked for one; another
    worker goes on from where the position says."""
    lab, keyspace = memory_lab, memory_lab.keyspace
    assert isinstance(keyspace, MemoryKeyspace)
    lab.author.write((lab.volume, 0, A + B + C))
    marker = lab.author.mark()
    lab.author.mark("newer")
    lab.author.write((lab.volume, 0, D + D + D), (lab.third, 0, D + D + D + D))
    lab.apply()
    lab.author.copy(lab.volume, lab.third, {0, 1, 2, 3}, marker)
    keyspace.fail(2, applied=False)
    with pytest.raises(Exception, match="connection"):
        lab.apply()
    position = lab.store.position()
    assert position.step == 2 and position.head.sequence == lab.author.head.sequence - 1
    monkeypatch.setattr(reading, "STEP_WAIT_SECONDS", 0.01)
    with pytest.raises(SiteBehind):
        lab.content(lab.third)
    assert lab.store.mark_dropping(lab.store.copies()[0])
    lab.applier = lab.store.applier(CLUSTER)
    assert not lab.applier.maintain()
    lab.apply()
    assert lab.content(lab.third) == A + B + C + bytes(BLOCK)
    assert lab.applier.maintain()


@pytest.mark.parametrize("seed", range(6))
def test_steps_are_bounded_however_the_blocks_lie(
    memory_lab: CopyLab, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each names at most so many blocks, the last but one exactly so many, and together all that were shipped."""
    random, lab = Random(seed), memory_lab
    monkeypatch.setattr(volume_copy, "STEP_BLOCKS", 5)
    monkeypatch.setattr(volume_copy, "_WINDOW_BLOCKS", random.choice((8, 13, 64)))
    large = [lab.author.create(name, 300 * BLOCK) for name in ("m", "n")]
    shipped = sorted(random.sample(range(300), random.choice((0, 1, 5, 6, 70))))
    for block in shipped:
        lab.author.write((large[0], block * BLOCK, block.to_bytes(2) * (BLOCK // 2)))
    lab.apply()
    lab.author.copy(*large, shipped)
    before, steps = lab.applier.position, []
    submit = lab.applier._send

    def send(transaction: Transaction) -> None:
        steps.append(transaction.position.step)
        submit(transaction)

    monkeypatch.setattr(lab.applier, "_send", send)
    lab.apply()
    assert lab.applier.position.head.sequence == before.head.sequence + 1
    assert len(steps) == max(1, -(-len(shipped) // 5)) and steps[:-1] == shipped[5::5] and steps[-1] == 0
    lab.check(digests=True)


def _copied(**fields: Any) -> dict[str, Any]:
    plain = {"source": 2, "source_copy_sequence": 0, "source_copy_seal": bytes(16), "target": 3}
    return plain | {"bitmap": zlib.compress(b"\xe0")} | fields


CORRUPT = {
    "onto itself": _copied(target=2),
    "from no volume": _copied(source=77),
    "to no volume": _copied(target=77),
    "to a smaller volume": _copied(source=4),
    "to another block size": _copied(target=5),
    "a block behind the end": _copied(bitmap=zlib.compress(b"\x10")),
    "more bits than blocks": _copied(bitmap=zlib.compress(b"\xff" * 1000)),
    "a bomb": _copied(bitmap=zlib.compress(bytes(1 << 24) + b"\x80")),
    "no bitmap": _copied(bitmap=b""),
    "half a bitmap": _copied(bitmap=zlib.compress(b"\xe0")[:-2]),
    "zeros at its end": _copied(bitmap=zlib.compress(b"\xe0\0")),
    "bytes behind the bitmap": _copied(bitmap=zlib.compress(b"\xe0") + b"x"),
}


@pytest.mark.parametrize("kind", CORRUPT)
def test_what_no_writer_sends_halts(memory_lab: CopyLab, kind: str) -> None:
    """What stands before it is applied, nothing of it is."""
    lab = memory_lab
    lab.author.create("large", 8 * BLOCK, 1024)
    lab.author.write((lab.volume, 0, A))
    lab.author.add(VolumeCopied, **CORRUPT[kind])
    with pytest.raises(CorruptEvent):
        lab.apply()
    assert lab.applier.settle().head.sequence == lab.author.head.sequence - 1
    lab.author.log.pop()
    lab.check()


def test_a_volume_that_is_only_in_a_copy_is_no_source(memory_lab: CopyLab) -> None:
    """Nothing is tracked of a deleted volume, so nothing can be copied from it, or onto it."""
    lab = memory_lab
    marker = lab.author.mark()
    lab.author.add(VolumeDeleted, volume=lab.volume)
    lab.author.copy(lab.volume, lab.second, {0}, marker)
    with pytest.raises(CorruptEvent):
        lab.apply()


def test_restoring_touches_what_was_named_since(lab: CopyLab) -> None:
    """Also to a copy that is not the newest, to a shorter volume, and again."""
    lab.author.write((lab.volume, 0, A + B))
    first = lab.author.mark("first")
    lab.author.write((lab.volume, BLOCK, C))
    second = lab.author.mark("second")
    lab.author.write((lab.volume, 0, D))
    lab.author.add(VolumeResized, volume=lab.volume, size=5 * BLOCK)
    lab.author.write((lab.volume, 4 * BLOCK, D))
    assert lab.ship(lab.volume, lab.volume, first) == {0, 1, 4}
    assert lab.content(lab.volume) == A + B + bytes(3 * BLOCK)
    assert lab.ship(lab.volume, lab.volume, second) == {0, 1, 4}
    assert lab.content(lab.volume) == A + C + bytes(3 * BLOCK)
    lab.author.drop(first)
    lab.author.mark("last")
    lab.apply()
    assert lab.finish_drops()
    assert lab.ship(lab.volume, lab.volume, second) == {0, 1, 4}
    lab.check(digests=True)
