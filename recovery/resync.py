"""Making one site's copies what another site's are: only the blocks that differ move, each to where it is kept.

In this order, so that a kill anywhere leaves copies that read as they did or right, and a second resync begins anew:
the bits of change bitmaps, which say where a block is; the blocks, from the newest copy to the eldest; a comparison of
all that was touched; the digests that the site keeps. Everything else of the store is left alone, and writers, workers
and readers go on meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tidelog.errors import CopiesDiffer, OutOfWindow
from tidelog.recovery.live_check import WINDOW_BLOCKS
from tidelog.recovery.resync_plan import Pair, names_in
from tidelog.recovery.resync_survey import Resyncing
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.mending import in_pieces
from tidelog.stores.ranges import Advance, compared

# A writer may write where something was seen to be wrong, before it is mended: looked at so often.
ROUNDS = 10


@dataclass(slots=True)
class ResyncReport:
    """What a resync has done. ``bytes_moved`` were read at the other site, or in the log, to be put here; ``blocks``
    were, ``bytes_written`` in all. ``bytes_compared`` were read at both sites to look again at what was mended."""

    blocks: int = 0
    bytes_moved: int = 0
    bytes_written: int = 0
    bits: int = 0
    digests: int = 0
    bytes_compared: int = 0

    def add(self, other: "ResyncReport") -> None:
        """Counts what another round has done, too."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Resync:
    """One resync, from what a survey has found. `report` grows while it is driven."""

    def __init__(self, resyncing: Resyncing, advance: Advance) -> None:
        """``advance`` is told of the bytes moved since the last call."""
        self._between, self._plan, self._advance = resyncing, resyncing.plan, advance
        self._mending = resyncing.site.mending()
        self.report = ResyncReport()

    def drive(self) -> ResyncReport:
        """Mends what can be. Raises `CopiesDiffer` if something that was mended differs all the same; `OutOfWindow` if
        the log cannot be asked what was written since the newest copy, before anything is changed; `SiteBehind` while
        bits are wrong and a late copy is being made; `NotFound`, `StoreUnavailable`, `StoreDamaged`."""
        plan = self._plan
        if not plan.mendable:
            return self.report
        if plan.unfollowed:
            raise OutOfWindow(
                f"nothing is mended: what was written since copy {plan.pairs[0].mine.name} cannot be told from damage,"
                f" since {plan.unfollowed}",
                group=plan.group,
                hint=f"make a newer copy: tidelog pitc create NAME --group {plan.group} --wait; then again",
            )
        moved = self._mend_bits()
        touched = names_in([moved])
        newer: Pair | None = None
        for pair in plan.pairs:
            for volume in pair.theirs.volumes:
                self._mend(pair, newer, volume, self._wrong(pair, volume, moved.get(volume.id)))
            newer = pair
            touched = names_in([touched, {volume.id: found for volume, found in pair.differing.items()}])
        self._mend_live()
        self._look_again(touched)
        self._mend_digests()
        return self.report

    def _mend_bits(self) -> dict[int, ChangeBitmap]:
        """Brings the bitmaps to what the other site's are; the blocks that this may have moved, by volume id."""
        plan, changed = self._plan, list[dict[int, ChangeBitmap]]()
        for newer, pair in zip(plan.pairs, plan.pairs[1:], strict=False):
            for volume, missing, spurious in _bits(pair):
                self.report.bits += self._mending.bits(volume, pair.mine, newer.mine, missing, spurious)
            changed += [pair.missing, pair.spurious]
        for volume, absent in plan.before.items():
            for piece in in_pieces(absent):
                self.report.bits += self._mending.bits(volume, None, plan.pairs[-1].mine, piece, ())
        for volume, absent in plan.since.items():
            for piece in in_pieces(absent):
                self.report.bits += self._mending.bits(volume, plan.pairs[0].mine, None, piece, ())
        for volume in plan.since_spurious:
            while count := self._between.live.unname(volume):
                self.report.bits += count
        return names_in([*changed, plan.before, plan.since, plan.since_spurious])

    def _wrong(self, pair: Pair, volume: VolumeInfo, moved: ChangeBitmap | None) -> ChangeBitmap:
        """The blocks to be mended in a copy: those found, and of those that are elsewhere now the ones that differ."""
        found = pair.differing[volume]
        if moved is None:
            return found
        wrong = found - moved
        wrong.merge(compared(*self._between.contents(pair), volume, moved, self._compared)[0])
        return wrong

    def _mend(self, pair: Pair, newer: Pair | None, volume: VolumeInfo, wrong: ChangeBitmap) -> None:
        for blocks in self._between.contents(pair)[1].blocks(volume, wrong):
            count = len(blocks) * volume.block_size
            self.report.bytes_moved += count
            written = len(self._mending.blocks(pair.mine, newer.mine if newer else None, volume, blocks))
            self.report.blocks += written
            self.report.bytes_written += written * volume.block_size
            self._advance(count)

    def _mend_live(self) -> None:
        """What was written since the newest copy, by the log."""
        for _ in range(ROUNDS):
            wrong = list(self._between.live.wrong())
            if not wrong:
                return
            for volume in {one.volume for one in wrong}:
                blocks = [(one.block, one.there, one.right) for one in wrong if one.volume == volume]
                for start in range(0, len(blocks), WINDOW_BLOCKS):
                    written = self._mending.swap(volume, blocks[start : start + WINDOW_BLOCKS])
                    count = len(written) * volume.block_size
                    self.report.blocks += len(written)
                    self.report.bytes_moved += count
                    self.report.bytes_written += count
                    self._advance(count)
        raise self._again(f"{len(wrong)} live blocks differ")

    def _look_again(self, touched: dict[int, ChangeBitmap]) -> None:
        plan = self._plan
        for pair in plan.pairs:
            for volume in pair.theirs.volumes:
                wanted = touched.get(volume.id)
                if wanted is None:
                    continue
                left = compared(*self._between.contents(pair), volume, wanted, self._compared)[0]
                if left.count:
                    raise self._again(f"{left.count} blocks of volume {volume.name} in copy {pair.mine.name} differ")

    def _mend_digests(self) -> None:
        plan = self._plan
        right = [(pair.mine, volume, digest) for pair in plan.pairs for volume, digest in pair.digests]
        common = {(pair.mine.generation, pair.mine.sequence) for pair in plan.pairs}
        doubtful = []
        if self.report.blocks or self.report.bits:
            copies = self._between.site.copies()
            doubtful = [copy for copy in copies if (copy.generation, copy.sequence) not in common]
        tell = any(pair.digest_wrong for pair in plan.pairs)
        self.report.digests = self._mending.digests(right, doubtful, tell=tell)

    def _again(self, what: str) -> CopiesDiffer:
        site, group = self._plan.site, self._plan.group
        return CopiesDiffer(
            f"{what} again after they were mended",
            group=group,
            hint="something else changes that Redis, or loses what is written; when that has ended, resync again or"
            f" rebuild: tidelog site rebuild {site} --group {group}",
        )

    def _compared(self, count: int) -> None:
        self.report.bytes_compared += count


def _bits(pair: Pair) -> Iterator[tuple[int, list[int], list[int]]]:
    """What is wrong between a copy and the next newer one, in pieces: volume id, missing and spurious blocks."""
    for volume, missing in pair.missing.items():
        for piece in in_pieces(missing):
            yield volume, piece, []
    for volume, spurious in pair.spurious.items():
        for piece in in_pieces(spurious):
            yield volume, [], piece
