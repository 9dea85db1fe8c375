"""The same random log at two sites, and at a third store that nobody damages: what a site must be after a resync."""

import random
from collections.abc import Iterable, Mapping

from late_lab import AuthorEvents
from store_lab import IDENTITY, Author, apply

from tidelog.consumers.catalogue import Answer, CatalogueCopy
from tidelog.consumers.receipts import receipt_for
from tidelog.recovery.resync import Resync, ResyncReport
from tidelog.recovery.resync_plan import ResyncPlan
from tidelog.recovery.resync_survey import Resyncing
from tidelog.schemas.control import CopyFormed
from tidelog.schemas.events import Discard, Marker, VolumeDeleted, VolumeResized
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.state import Tables, read_tables
from tidelog.stores.store import Copy, Identity

KEYS = Keys(IDENTITY.group)
BLOCK = 512
BLOCKS = 24
OTHER = Identity(IDENTITY.group, IDENTITY.group_id, "osaka")
THIRD = Identity(IDENTITY.group, IDENTITY.group_id, "london")


def ignore(_: int) -> None:
    """Nobody looks at the progress."""


class Sites:
    """``site`` will be damaged, ``other`` has dropped other copies, ``twin`` is the site as it must be."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.author = Author()
        self.keyspaces = {name: MemoryKeyspace() for name in ("site", "other", "twin")}
        identity = {"site": IDENTITY, "other": OTHER, "twin": IDENTITY}
        self.stores = {name: Store.create(keyspace, identity[name]) for name, keyspace in self.keyspaces.items()}
        self.sizes = {self.author.create(name, BLOCKS * BLOCK): BLOCKS for name in ("one", "two")}
        self.markers: list[Marker] = []

    @property
    def site(self) -> Store:
        return self.stores["site"]

    @property
    def data(self) -> dict[bytes, object]:
        return self.keyspaces["site"].data  # type: ignore[return-value]

    def happen(self, events: int) -> None:
        """Random events, applied by all three."""
        for _ in range(events):
            self._event()
        for store in self.stores.values():
            apply(store, self.author)

    def mark(self) -> None:
        """A copy, everywhere."""
        self.markers.append(self.author.mark(f"m{len(self.markers)}"))  # type: ignore[arg-type]
        for store in self.stores.values():
            apply(store, self.author)

    def _event(self) -> None:
        chance, author = self.chance, self.author
        volume = chance.choice(sorted(self.sizes))
        size = self.sizes[volume]
        kind = chance.randrange(12)
        if kind < 7:
            at = chance.randrange(size * BLOCK)
            whole = chance.randrange(2)
            at = at // BLOCK * BLOCK if whole else at
            length = min(size * BLOCK - at, BLOCK * chance.randrange(1, 4) if whole else chance.randrange(1, 2 * BLOCK))
            author.write((volume, at, chance.randbytes(length)))
        elif kind == 7:
            first = chance.randrange(size)
            author.add(
                Discard, volume=volume, offset=first * BLOCK, length=chance.randrange(1, size - first + 1) * BLOCK
            )
        elif kind == 8:
            self.sizes[volume] = chance.randrange(8, BLOCKS + 8)
            if self.sizes[volume] != size:
                author.add(VolumeResized, volume=volume, size=self.sizes[volume] * BLOCK)
        elif kind == 9 and not chance.randrange(3):
            if len(self.sizes) > 2:
                author.add(VolumeDeleted, volume=volume)
                del self.sizes[volume]
            else:
                self.sizes[author.create(f"v{author.head.sequence}", BLOCKS * BLOCK)] = BLOCKS
        elif kind == 9 and len(self.markers) > 2:
            author.drop(self.markers.pop(chance.randrange(len(self.markers) - 1)))
        else:
            self.markers.append(author.mark(f"m{len(self.markers)}"))  # type: ignore[arg-type]

    def drop_alone(self, *names: str) -> None:
        """A copy goes at these stores alone."""
        copies = self.stores[names[0]].copies()[:-1]
        if copies:
            gone = self.chance.choice(copies)
            for name in names:
                self.stores[name].mark_dropping(gone)
                apply(self.stores[name], self.author)

    def told(self, wrong: Iterable[tuple[str, str]] = ()) -> list[CatalogueCopy]:
        """What the control topic says: right digests, by the site and by the other; ``wrong`` are those (site, copy)
        that have said something else."""
        found = []
        for copy in self.stores["twin"].copies() + self._only("other"):
            store = self.stores["twin"] if copy in self.stores["twin"].copies() else self.stores["other"]
            digest = store.digest(copy)
            receipts: dict[str, CopyFormed] = {}
            for identity in (IDENTITY, OTHER, THIRD):
                told = bytes(16) if (identity.site, copy.name) in set(wrong) else digest
                receipts[identity.site] = receipt_for(identity, copy, told, 0)
            answers = dict.fromkeys(receipts, Answer.FORMED)
            found.append(
                CatalogueCopy("bank", copy.sequence, copy.seal, copy.name, copy.timestamp_us, receipts, answers)
            )
        return found

    def _only(self, name: str) -> list[Copy]:
        there = {copy.sequence for copy in self.stores["twin"].copies()}
        return [copy for copy in self.stores[name].copies() if copy.sequence not in there]

    def damage(self, kinds: Iterable[bytes] = (b"b:", b"g:", b"m:")) -> bytes | None:
        """One value of the site's store: a bit of it, and of a block also a shorter one, another type, or none."""
        marks = tuple(KEYS.prefix + kind for kind in kinds)
        keys = sorted(key for key in self.data if key.startswith(marks))
        if not keys:
            return None
        key = self.chance.choice(keys)
        value = self.data[key]
        kind = self.chance.randrange(8)
        of_blocks = not key.startswith(KEYS.prefix + b"m:")
        if not isinstance(value, bytes) or not value:
            return None
        if kind == 0 and of_blocks:
            del self.data[key]
        elif kind == 1 and of_blocks:
            self.data[key] = value[: self.chance.randrange(len(value))]
        elif kind == 2 and of_blocks:
            self.data[key] = value + b"more"
        else:
            at = self.chance.randrange(len(value))
            self.data[key] = value[:at] + bytes([value[at] ^ 1 << self.chance.randrange(8)]) + value[at + 1 :]
        return key

    def resync(self, told: list[CatalogueCopy] | None = None) -> tuple[ResyncPlan, ResyncReport]:
        """Surveys and mends the site by the other."""
        told = self.told() if told is None else told
        between = Resyncing(self.site, self.stores["other"], told, lambda copy: AuthorEvents(self.author, copy))
        try:
            plan = between.survey(ignore)
            return plan, Resync(between, ignore).drive()
        finally:
            between.close()

    def survey(self) -> ResyncPlan:
        """Looks, and mends nothing."""
        events = lambda copy: AuthorEvents(self.author, copy)  # noqa: E731
        between = Resyncing(self.site, self.stores["other"], self.told(), events)
        try:
            return between.survey(ignore)
        finally:
            between.close()

    def wrong(self) -> set[bytes]:
        """The keys of blocks and bitmaps that are not what the twin's are, as they are read; not those of generations
        and volumes that are no more, nor the bits before the first copy, of which a store may have more or fewer."""
        twin, tables = self.keyspaces["twin"].data, read_tables(self.keyspaces["twin"], KEYS)
        found = set()
        for key in twin.keys() | self.data.keys():
            if _read(tables, twin, key):
                mine, right = (_plain(data.get(key)) for data in (self.data, twin))
                if mine != right:
                    found.add(key)
        return found


def _read(tables: Tables, data: Mapping[bytes, object], key: bytes) -> bool:
    """Whether the key is a bitmap or a block that somebody can read: of a deleted volume, through a copy."""
    part = key.removeprefix(KEYS.prefix).split(b":")
    if part[0] in (b"g", b"m"):
        listed = {volume.id for copy in tables.copies.values() for volume in copy.volumes}
        listed |= {volume.id for volume in tables.volumes}
        return int(part[1]) in tables.copies and int(part[2]) in listed
    if part[0] != b"b" or tables.volumes.get(int(part[1])) is not None:
        return part[0] == b"b"
    number, block = int(part[1]), int(part[2], 16)
    listing = [one for one, copy in tables.copies.items() if number in {volume.id for volume in copy.volumes}]
    behind = [one for one in tables.copies if listing and one >= listing[-1]]
    named = (ChangeBitmap(data.get(KEYS.bitmap(one, number))) for one in behind)  # type: ignore[arg-type]
    return bool(listing) and not any(block in bitmap for bitmap in named)


def _plain(value: object) -> bytes:
    return value.rstrip(b"\0") if isinstance(value, bytes) else b""
