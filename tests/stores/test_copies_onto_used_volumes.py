"""A copy onto a volume that a clone, an export or an open work volume is using: carried out, and they see nothing of
it, nor does it take anything of theirs."""

import pytest
from store_lab import CLUSTER, Lab, Model

from tidelog.schemas.events import Event
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.holds import Lease
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.store import HoldKind

BLOCK = Lab.BLOCK
SIZE = 3 * BLOCK
A, B, C, D = (bytes([letter]) * BLOCK for letter in b"ABCD")
SOURCES = ["another volume", "another volume's copy", "its own past"]
OWN = A[:10] + b"own" + A[13:] + B + bytes(BLOCK)


class Used(Lab):
    """Copies ``past`` and ``used`` of volumes ``v`` and ``w``; ``used`` has a clone, an export and an open work volume,
    and ``v`` has been written to since."""

    def __init__(self, keyspace: Keyspace) -> None:
        super().__init__(keyspace)
        author = self.author
        self.other = author.create("w", SIZE)
        author.write((self.volume, 0, D + D), (self.other, 0, C + C + C))
        self.past = author.mark("past")
        author.write((self.volume, 0, A + B))
        author.mark("used")
        author.write((self.volume, BLOCK, C), (self.other, 2 * BLOCK, D))
        self.apply()
        copy = self.store.clonable("used")
        self.info = copy.volume("v")
        self.clone = self.store.clones.image(self.store.clones.create(copy, "drill"))
        self.clone.write(self.info, 10, b"own")
        self.leases = [self.store.hold(copy, kind, "me") for kind in (HoldKind.EXPORT, HoldKind.VOLUME)]
        self.applier = self.store.applier(CLUSTER)

    def copy_onto(self, source: str) -> None:
        """Copies onto ``v``, and applies it, in steps."""
        model = Model()
        model.fold(self.author.log)
        marker: Event | None = None if source == "another volume" else self.past
        number = self.volume if source == "its own past" else self.other
        blocks = model.may_differ(number, self.volume, marker.sequence if marker else 0)
        self.author.copy(number, self.volume, blocks, marker)
        self.apply()

    def undisturbed(self) -> None:
        """Clone, export and work volume read on, byte for byte; everything else is what the log says."""
        assert read_clone(self, self.clone) == OWN
        for lease in self.leases:
            assert read_held(self, lease) == A + B + bytes(BLOCK)
            assert self.store.digest(lease.copy) == self.store.verify(lease.copy)
        self.check(digests=True)


def read_clone(lab: Used, clone: CloneImage) -> bytes:
    return clone.read(lab.info, 0, SIZE)


def read_held(lab: Used, lease: Lease) -> bytes:
    return lab.store.read(lab.info, 0, SIZE, lease.copy)


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("source", SOURCES)
def test_a_copy_onto_a_volume_in_use_changes_neither_clone_nor_export_nor_work_volume(
    keyspace: Keyspace, source: str
) -> None:
    """Before their copy is dropped, and after; written on and copied onto again meanwhile. Once they let go, all that
    was theirs is gone."""
    lab = Used(keyspace)
    lab.copy_onto(source)
    content = {"another volume": C + C + D, "another volume's copy": C + C + C, "its own past": D + D + bytes(BLOCK)}
    assert lab.store.read_live(lab.info, 0, SIZE)[0] == content[source]
    lab.undisturbed()
    lab.author.write((lab.volume, 0, B + B + B))
    lab.author.mark("later")
    lab.author.drop(lab.store.copy("used"))
    lab.apply()
    lab.finish_drops()
    assert [copy.name for copy in lab.store.copies()] == ["past", "later"]
    lab.copy_onto(source)
    lab.undisturbed()
    for lease in lab.leases:
        lease.close()
    lab.store.clones.drop("drill")
    lab.applier = lab.store.applier(CLUSTER)
    assert lab.finish_drops()
    assert [copy.name for copy in lab.store.copies(dropping=True)] == ["past", "later"]
    lab.check(digests=True)


@pytest.mark.usefixtures("small_steps")
def test_what_is_written_in_a_clone_is_not_in_a_copy_onto_its_volume(keyspace: Keyspace) -> None:
    """The source of a restore is the copy, not its clone; and the clone can be written to in the midst of it."""
    lab = Used(keyspace)
    model = Model()
    model.fold(lab.author.log)
    used = lab.store.copy("used")
    marker = next(event for event, _ in lab.author.log if event.sequence == used.sequence)
    lab.author.write((lab.volume, 0, D + D + D))
    lab.apply()
    model.fold(lab.author.log)
    lab.author.copy(lab.volume, lab.volume, model.may_differ(lab.volume, lab.volume, used.sequence), marker)
    ((event, offset),) = lab.author.after(lab.applier.position.head.sequence)
    plan = lab.applier._planner.plan([(event, offset)])
    lab.applier._send(next(plan))
    lab.applier.settle()
    assert lab.store.position().step, "half done"
    lab.clone.write(lab.info, 2 * BLOCK, C)
    lab.applier = lab.store.applier(CLUSTER)
    lab.apply()
    assert read_clone(lab, lab.clone) == OWN[: 2 * BLOCK] + C
    assert lab.store.read_live(lab.info, 0, SIZE)[0] == A + B + bytes(BLOCK) == read_held(lab, lab.leases[0])
    lab.check(digests=True)
