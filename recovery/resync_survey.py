"""Where one site's store is not what another site's is, which is proved first; nothing is changed.

Both sites hold copies of the same identity, and a copy does not change: so they are compared copy by copy, while
writers and workers go on, whatever positions the two stand at. The newest one is compared in every block that events
have named; each elder one only in the blocks that were named between it and the next, by a lost history too, since all
others are, at both sites, the very same blocks. Change bitmaps between two such copies name what the log's events did,
so they must be equal as well. What is live and was written since the newest common copy is in no copy yet: the log says
what it must be.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial

from tidelog.consumers.catalogue import CatalogueCopy
from tidelog.errors import CopiesDiffer, NotFound, OutOfWindow
from tidelog.recovery.live_check import LiveCheck, OpenEvents
from tidelog.recovery.resync_plan import Pair, ResyncPlan
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.contents import CopyContents
from tidelog.stores.digest import copy_digest
from tidelog.stores.image import Store
from tidelog.stores.ranges import Advance, compared, range_sums
from tidelog.stores.store import Copy, HoldKind

Key = tuple[int, bytes, str]


class Resyncing:
    """The two stores of a resync, and their common copies, held until it is closed."""

    def __init__(self, site: Store, other: Store, told: Iterable[CatalogueCopy], open_events: OpenEvents) -> None:
        """``told`` is what the control topic says of the group's copies; ``open_events`` reads the log.

        Raises `NotFound` without a common copy that the other site has sent a receipt of, `StoreUnavailable`,
        `StoreDamaged`."""
        self.site, self.other = site, other
        self.told = {(copy.sequence, copy.seal, copy.name): copy for copy in told}
        self.plan = ResyncPlan(site.identity.site, other.identity.site, site.identity.group)
        self._holding = ExitStack()
        try:
            self.plan.pairs = self._hold()
            newest = self.plan.pairs[0]
            self.live = LiveCheck(site, newest.mine, partial(_read, other.contents(newest.theirs)), open_events)
            self._holding.callback(self.live.close)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets the copies go."""
        self._holding.close()

    def survey(self, advance: Advance) -> ResyncPlan:
        """Compares, and changes nothing. Raises `CopiesDiffer` if the other site's copies are not what the receipts
        say; `SiteBehind` while either site is being rebuilt; `StoreUnavailable`, `StoreDamaged`."""

        def counted(count: int) -> None:
            self.plan.bytes_compared += count
            advance(count)

        newer: Pair | None = None
        for pair in self.plan.pairs:
            self._compare(pair, newer, counted)
            self._prove(pair)
            newer = pair
        if newer is not None:
            self.plan.before = self._before(newer)
        try:
            self._follow()
        except OutOfWindow as error:
            self.plan.unfollowed = str(error)
        return self.plan

    def _follow(self) -> None:
        plan, newest = self.plan, self.plan.pairs[0]
        plan.since, plan.since_spurious = self.live.bits()
        for one in self.live.wrong():
            plan.live.setdefault(one.volume, ChangeBitmap()).add(one.block)
        for number, seen in newest.seen.items():
            newest.seen_live[number] = seen - self.live.named.get(number, ChangeBitmap())

    def contents(self, pair: Pair) -> tuple[CopyContents, CopyContents]:
        """The copy's blocks at the site and at the other."""
        return self.site.contents(pair.mine), self.other.contents(pair.theirs)

    def _hold(self) -> list[Pair]:
        plan, found = self.plan, list[Pair]()
        theirs = {_key(copy): copy for copy in self.other.copies()}
        for copy in self.site.copies():
            same = theirs.get(_key(copy))
            told = self.told.get(_key(copy))
            if same is None or told is None or plan.other not in told.receipts:
                plan.here_alone.append(copy)
            elif record := _unlike(copy, same):
                what = f"copy {copy.name} (sequence {copy.sequence})"
                plan.broken.append(f"the record of {what} has another {record} than at {plan.other}")
            elif not found or found[-1].theirs.generation < same.generation:
                try:
                    found.append(Pair(self._held(self.site, copy), self._held(self.other, same)))
                except NotFound:  # dropped at one of them meanwhile
                    continue
        if not found:
            if plan.broken:
                raise NotFound(
                    f"nothing can be compared: {'; '.join(plan.broken)}",
                    group=plan.group,
                    hint=f"make a copy: tidelog pitc create NAME --group {plan.group} --wait; if its record differs as"
                    f" well, rebuild: tidelog site rebuild {plan.site} --group {plan.group}",
                )
            raise NotFound(
                f"sites {plan.site} and {plan.other} have no copy of group {plan.group} in common of which {plan.other}"
                " has sent a receipt",
                group=plan.group,
                hint=f"make one: tidelog pitc create NAME --group {plan.group} --wait",
            )
        return found[::-1]

    def _held(self, store: Store, copy: Copy) -> Copy:
        return self._holding.enter_context(store.hold(copy, HoldKind.VOLUME)).copy

    def _compare(self, pair: Pair, newer: Pair | None, advance: Advance) -> None:
        mine, theirs = self.contents(pair)
        if newer is not None:
            self._compare_bits(pair, newer)
        for volume in pair.theirs.volumes:
            total, carried = 0, ChangeBitmap()
            if newer is None or volume.id not in newer.sums:
                wanted = mine.named(volume)
                wanted.merge(theirs.named(volume))
            else:
                after = self.contents(newer)
                wanted = after[0].unshared(volume, pair.mine)
                wanted.merge(after[1].unshared(volume, pair.theirs))
                span = 0, len(wanted.bits) * 8
                sums = range_sums(after[1], volume, wanted, span, max(8, span[1]), advance)
                total, carried = newer.sums[volume.id] - sum(sums.values()), newer.seen[volume.id] - wanted
            pair.differing[volume], added = compared(mine, theirs, volume, wanted, advance)
            pair.sums[volume.id] = total + added
            carried.merge(pair.differing[volume])
            pair.seen[volume.id] = carried

    def _compare_bits(self, pair: Pair, newer: Pair) -> None:
        after = self.contents(newer)
        for volume in {one.id: one for one in (*pair.theirs.volumes, *newer.theirs.volumes)}.values():
            mine, theirs = after[0].named(volume, pair.mine), after[1].named(volume, pair.theirs)
            if mine != theirs:
                pair.missing[volume.id], pair.spurious[volume.id] = theirs - mine, mine - theirs

    def _before(self, eldest: Pair) -> dict[int, ChangeBitmap]:
        """A store that began from an export names only what held data then, so that alone can be asked for."""
        found: dict[int, ChangeBitmap] = {}
        mine, theirs = self.contents(eldest)
        for volume in eldest.theirs.volumes:
            absent = theirs.named(volume) - mine.named(volume)
            for blocks in theirs.blocks(volume, absent):
                for block, content in blocks:
                    if any(content):
                        found.setdefault(volume.id, ChangeBitmap()).add(block)
        return found

    def _prove(self, pair: Pair) -> None:
        """The other site's blocks against the receipts: its own must say so, and of the rest more than say otherwise;
        this site's counts where it agrees, since a digest of damage agrees with nobody."""
        plan, told = self.plan, self.told[_key(pair.theirs)]
        digest = copy_digest(pair.digests)
        said = {site: receipt.digest for site, receipt in told.receipts.items()}
        said.update((f"the archive of {site}", archive.digest) for site, archive in told.archives.items())
        own = said.pop(plan.site, None)
        against = [name for name, other in said.items() if other != digest]
        agreeing = len(said) - len(against) + (own == digest)
        if plan.other in against or agreeing <= len(against):
            raise CopiesDiffer(
                f"copy {pair.theirs.name} at site {plan.other} is not what the receipts of {', '.join(against)} say, so"
                f" nothing is taken from there",
                group=plan.group,
                hint=f"tidelog site verify {plan.other} --group {plan.group}; then resync from a site that is right",
            )
        if pair is plan.pairs[0]:
            plan.unconfirmed = own != digest and not said.keys() - {plan.other}
        kept = self.site.mending().kept(pair.mine)
        wrong = any(kept.get(volume.id, right) != right for volume, right in pair.digests)
        pair.digest_wrong = wrong or own not in (None, digest)


def _read(contents: CopyContents, volume: VolumeInfo, wanted: ChangeBitmap) -> dict[int, bytes]:
    return {block: content for blocks in contents.blocks(volume, wanted) for block, content in blocks}


def _key(copy: Copy) -> Key:
    return copy.sequence, copy.seal, copy.name


def _unlike(mine: Copy, theirs: Copy) -> str:
    """The first field of a copy's record that says something else though it comes from the log alone; else empty. Not
    where the event stands: a log that has moved is followed from there by a site that was rolled back, by another from
    where it was."""
    fields = ("timestamp_us", "volumes", "epoch", "writer", "origin")
    return next((name for name in fields if getattr(mine, name) != getattr(theirs, name)), "")
