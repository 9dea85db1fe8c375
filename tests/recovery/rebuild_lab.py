"""A group in memory with a random history at tokyo, and osaka rebuilt from what there is."""

from collections.abc import Callable
from random import Random

from tests.consumers.conftest import KIB, Lab, until
from tests.reference import Reference
from tidelog.consumers.replica import Replica
from tidelog.errors import UsageError
from tidelog.gateways.exports.bases import ExportBases
from tidelog.producers.group import Group
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import RebuildPlan, plan_rebuild
from tidelog.recovery.rebuild_report import Phase, RebuildReport
from tidelog.recovery.rebuild_survey import survey
from tidelog.stores.image import Store
from tidelog.stores.loading import Loading

BLOCK = 512


class RebuildLab(Lab):
    """Tokyo is served by a replica, osaka by nobody. What `trim` takes from the log the reference still knows."""

    def __init__(self) -> None:
        super().__init__()
        self._trimmed: list[tuple[int, bytes]] = []
        self.tokyo: Replica = self.replica("tokyo")
        self.open = self.group("tokyo")

    def trim(self, offset: int) -> None:
        """Deletes the records below an offset."""
        self._trimmed += [(record.offset, record.value) for record in self.log._records if record.offset < offset]
        self.log.trim(offset)

    def reference(self, until_sequence: int | None = None) -> Reference:
        records = self._trimmed + [(record.offset, record.value) for record in self.log._records]
        return Reference(self.record.group_id).fold(records, until_sequence)

    def told(self, *sites: str) -> None:
        """Waits until sites have applied all that was written and told every digest."""
        self.open.flush()
        for site in sites or ("tokyo",):
            self.caught_up(site)
            wanted = [copy.sequence for copy in self.store(site).copies()]
            until(lambda site=site, wanted=wanted: all(self.receipt(one, site) for one in wanted), "receipts")

    def plan(self, source: str = "", copy: str = "", **options: bool) -> RebuildPlan:
        found = survey(self.deployment, "osaka", "bank", Wanted(source, copy), ExportBases())
        return plan_rebuild(found, **options)

    def rebuilt(self, source: str = "", copy: str = "", **options: bool) -> tuple[RebuildPlan, RebuildReport]:
        plan = self.plan(source, copy, **options)
        done = Rebuild(self.deployment, plan, ExportBases())
        for _ in done:
            pass
        done.report.check()
        return plan, done.report

    def compare_from(self, base: int, site: str = "osaka", *, bits: bool = True) -> Store:
        """A site that began at the copy of sequence ``base`` is the fold at its position, and has all copies since;
        with ``bits`` it names the blocks that tokyo names, and knows of the same pairs of volumes."""
        store = self.store(site)
        assert store.rebuilding() is None and store.loading() is None
        head = store.position().head
        reference = self.reference(head.sequence)
        assert (reference.sequence, reference.seal) == (head.sequence, head.seal)
        live = {info.id: (info.name, info.block_size, store.read(info, 0, info.size)) for info in store.volumes()}
        assert live == reference.image()
        copies = {copy.sequence: copy for copy in store.copies()}
        assert copies.keys() == {sequence for sequence in reference.copies if sequence >= base}
        for sequence, copy in copies.items():
            cut = reference.copies[sequence]
            content = {one.id: (one.name, one.block_size, store.read(one, 0, one.size, copy)) for one in copy.volumes}
            assert content == cut.volumes and store.digest(copy) == store.verify(copy) == cut.digest
            assert (copy.name, copy.blocks_changed, copy.timestamp_us) == (
                cut.name,
                cut.blocks_changed,
                cut.timestamp_us,
            )
            assert (copy.locked_until_us, copy.kept) == (cut.locked_until_us, cut.kept)
        if bits:
            self._compare_bits(store)
        return store

    def _compare_bits(self, store: Store) -> None:
        tokyo = self.store("tokyo")
        there = {(copy.sequence, copy.seal): copy for copy in tokyo.copies()}
        for copy in store.copies():
            other = there.get((copy.sequence, copy.seal))
            if other is not None:
                assert store.pairs(copy) == tokyo.pairs(other)
                for volume in copy.volumes:
                    assert store.contents(copy).named(volume) == tokyo.contents(other).named(volume)


def random_history(group: Group, random: Random, steps: int, prefix: str) -> None:
    """A bit of everything, with a copy at the end."""
    names = [volume.name for volume in group.volumes()]
    for step in range(steps):
        if len(names) < 2:
            names.append(f"{prefix}v{step}")
            group.create_volume(names[-1], random.choice([8, 20]) * KIB, BLOCK)
        volume = group.volume(random.choice(names))
        what = random.choice(
            ["write", "write", "write", "discard", "resize", "mark", "mark", "copy", "restore", "other"]
        )
        offset = random.randrange(volume.size)
        if what == "write":
            volume.write(offset, random.randbytes(min(random.randint(1, 4000), volume.size - offset)))
        elif what == "discard":
            volume.discard(offset, min(3000, volume.size - offset))
        elif what == "resize":
            volume.resize(random.choice([8, 12, 20]) * KIB)
        elif what == "mark":
            group.mark(f"{prefix}m{step}")
        elif what == "copy" and len(names) > 1:
            _try(lambda: group.copy_volume(*random.sample(names, 2)))
        elif what == "restore":
            copies = group.session.state.copies()
            if copies:
                _try(lambda volume=volume, name=copies[-1].name: group.restore_volume(volume.name, name))
        else:
            _other(group, random, names)
    group.mark(f"{prefix}end")
    group.flush()


def _other(group: Group, random: Random, names: list[str]) -> None:
    copies = group.session.state.copies()
    if len(names) > 2:
        group.delete_volume(names.pop(random.randrange(len(names))))
    elif len(copies) > 2:
        copy = random.choice(copies[:-1])
        _try(lambda: group.drop_copy(copy.name))
        group.keep_copy(copies[-1].name, kept=random.random() < 0.7)


def _try(change: Callable[[], object]) -> None:
    """What cannot be in this history is left out."""
    try:
        change()
    except UsageError:
        pass


def cut_short(lab: RebuildLab, source: str, copy: str = "", after: int = 3) -> Loading:
    """Begins a rebuild, and ends it when some parts are loaded: what the store says of it."""
    parts = 0
    for progress in iter(Rebuild(lab.deployment, lab.plan(source, copy, from_scratch=True), ExportBases())):
        parts += progress.phase is Phase.LOADING
        if parts == after:
            break
    loading = lab.store("osaka").loading()
    assert loading is not None and loading.block >= 0
    return loading
