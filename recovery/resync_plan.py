"""What a resync has found and has to do, as data."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.digest import digest_bytes
from tidelog.stores.store import Copy

Key = tuple[int, bytes, str]


@dataclass(slots=True)
class Pair:
    """A copy that both sites hold, each as that site has it, and what was found of it.

    ``sums`` is what each volume adds up to at the other site, proved by receipts. ``differing`` are the blocks that
    were compared here and differ, by volume; ``seen`` all that differ through this copy, by volume id, whichever copy
    they were compared at; ``seen_live``, of the newest copy, those of them that are live blocks. ``missing`` and
    ``spurious`` are the blocks that this site's bitmaps leave out, or name too many, between this copy and the next
    newer one, by volume id.
    """

    mine: Copy
    theirs: Copy
    sums: dict[int, int] = field(default_factory=dict)
    differing: dict[VolumeInfo, ChangeBitmap] = field(default_factory=dict)
    seen: dict[int, ChangeBitmap] = field(default_factory=dict)
    seen_live: dict[int, ChangeBitmap] = field(default_factory=dict)
    missing: dict[int, ChangeBitmap] = field(default_factory=dict)
    spurious: dict[int, ChangeBitmap] = field(default_factory=dict)
    digest_wrong: bool = False  # what this site keeps, or has said, of it

    @property
    def digests(self) -> list[tuple[VolumeInfo, bytes]]:
        """Each volume's right digest."""
        return [(volume, digest_bytes((self.sums[volume.id],))) for volume in self.theirs.volumes]


@dataclass(frozen=True, slots=True)
class DamagedBlock:
    """A block that holds something else at the site, and what it is seen through: copies, oldest first, and whether the
    live volume."""

    volume: VolumeInfo
    block: int
    copies: tuple[str, ...]
    live: bool


@dataclass(slots=True)
class ResyncPlan:
    """What was compared and what differs. ``pairs`` are the common copies, newest first. ``before`` are blocks that
    this site's bitmaps do not name before the eldest of them though they hold data, ``since`` those that they do not
    name behind the newest though the log does, ``since_spurious`` the other way round, ``live`` the live blocks written
    since then that are not what the log says; ``unfollowed`` is why the log could not be asked, if it could not.
    ``here_alone`` are copies of this site that could not be compared, since the other has none of that identity or no
    receipt of it yet; ``broken`` says in sentences what cannot be mended. Bytes are those of blocks read to compare
    them, at both sites.
    """

    site: str
    other: str
    group: str
    pairs: list[Pair] = field(default_factory=list)
    before: dict[int, ChangeBitmap] = field(default_factory=dict)
    here_alone: list[Copy] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    since: dict[int, ChangeBitmap] = field(default_factory=dict)
    since_spurious: dict[int, ChangeBitmap] = field(default_factory=dict)
    live: dict[VolumeInfo, ChangeBitmap] = field(default_factory=dict)
    unfollowed: str = ""
    unconfirmed: bool = False  # no third site has a receipt of the newest copy
    bytes_compared: int = 0

    @property
    def blocks_differing(self) -> int:
        """Blocks that hold something else: each counted once for each place that it is kept in."""
        return sum(found.count for _, found in self._differing())

    @property
    def bytes_differing(self) -> int:
        """Their size."""
        return sum(found.count * volume.block_size for volume, found in self._differing())

    @property
    def bits_differing(self) -> int:
        """Bits of change bitmaps that are wrong."""
        found = [one for pair in self.pairs for of in (pair.missing, pair.spurious) for one in of.values()]
        found += [one for of in (self.before, self.since, self.since_spurious) for one in of.values()]
        return sum(bitmap.count for bitmap in found)

    @property
    def digests_wrong(self) -> list[str]:
        """Copies of which this site keeps, or has told, another digest than the right one."""
        return [pair.mine.name for pair in reversed(self.pairs) if pair.digest_wrong]

    @property
    def clean(self) -> bool:
        """Whether all that was compared is right."""
        return not (self.mendable or self.broken)

    @property
    def mendable(self) -> bool:
        """Whether there is something that a resync mends."""
        return bool(self.blocks_differing or self.bits_differing or self.digests_wrong)

    def damaged(self, most: int) -> list[DamagedBlock]:
        """The first blocks that differ, by volume and number."""
        volumes = {volume.id: volume for pair in self.pairs for volume in pair.theirs.volumes}
        volumes.update((volume.id, volume) for volume in self.live)
        written = {volume.id: blocks for volume, blocks in self.live.items()}
        found: list[DamagedBlock] = []
        for number, volume in sorted(volumes.items()):
            now = written.get(number, ChangeBitmap())
            every = ChangeBitmap(now.bits)
            for pair in self.pairs:
                every.merge(pair.seen.get(number, ChangeBitmap()))
            for block in every.blocks():
                if len(found) == most:
                    return found
                seen = (pair.mine.name for pair in reversed(self.pairs) if block in pair.seen.get(number, ()))
                live = block in now or block in self.pairs[0].seen_live.get(number, ())
                found.append(DamagedBlock(volume, block, tuple(seen), live))
        return found

    def _differing(self) -> Iterator[tuple[VolumeInfo, ChangeBitmap]]:
        for pair in self.pairs:
            yield from pair.differing.items()
        yield from self.live.items()


def names_in(bitmaps: Iterable[dict[int, ChangeBitmap]]) -> dict[int, ChangeBitmap]:
    """The union, by volume id."""
    found: dict[int, ChangeBitmap] = {}
    for one in bitmaps:
        for volume, bitmap in one.items():
            found.setdefault(volume, ChangeBitmap()).merge(bitmap)
    return found


def extents(found: Sequence[DamagedBlock]) -> Iterator[tuple[DamagedBlock, int]]:
    """Blocks in a row that are seen through the same copies as one: the first, and how many."""
    begun, count = None, 0
    for one in found:
        if begun is not None and replace(begun, block=begun.block + count) == one:
            count += 1
            continue
        if begun is not None:
            yield begun, count
        begun, count = one, 1
    if begun is not None:
        yield begun, count
