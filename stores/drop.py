"""Dropping copies, collecting what deleted volumes left, and making late copies, in steps of a few ms on the worker's
own session.

Each step is one EXEC that raises ``layout``, so a crash anywhere leaves a store whose formed copies read right, and the
work is found again in the tables: there is nothing to resume. Rules: DESIGN section 5, "Drop" and "Volumes"; schedules
C2 and C3 of the protocol notes. Why block by block is safe in any order of drops: for a copy at or before the elder,
the first generation with the bit set holds the same image before and after a step; copies behind the dropped one never
look at it; the dropped one is unreadable.

A dropped copy that somebody holds waits, whole, for the last hold (`tidelog.stores.holds`); meanwhile it is an elder
like any other. The first step takes the holds that have ended away: nobody takes it for held who looks later.
"""

from dataclasses import dataclass, replace
from typing import cast

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import write_bits
from tidelog.stores.cut import real
from tidelog.stores.handing import HandOver, TakeAway
from tidelog.stores.healing import Healing
from tidelog.stores.holds import read_holds
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Argument, Command, Keyspace
from tidelog.stores.late_orders import LateCopies
from tidelog.stores.plan import Planner
from tidelog.stores.scars import healed, waiting
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyState
from tidelog.stores.transaction import Transaction

# Blocks of one step: some ms of Redis's time, so that a cut in between waits no longer than that.
STEP_BLOCKS = 1024


@dataclass(slots=True)
class _Drop:
    """A copy being dropped, and what is left of it: its bitmaps and the elder generation's, by volume id."""

    copy: Copy
    elder: int
    own: dict[int, ChangeBitmap]
    elders: dict[int, ChangeBitmap]
    ended: list[str]  # holds on it, which the first step takes away


@dataclass(slots=True)
class _Collection:
    """A deleted volume that no copy lists, and the blocks of it that are left, by generation."""

    volume: VolumeInfo
    bitmaps: dict[int, ChangeBitmap]


_Work = _Drop | _Collection | HandOver | TakeAway | Healing


class Maintenance:
    """Plans the next step of what is due: one work at a time, late copies behind all others. The bitmaps that it reads
    are of generations that no event changes any more, so they stay true for as long as the applier's position does."""

    def __init__(self, keyspace: Keyspace, keys: Keys, planner: Planner) -> None:
        self._keyspace = keyspace
        self._keys = keys
        self._planner = planner
        self._work: _Work | None = None
        self.late = LateCopies(keyspace, keys, planner)

    def step(self) -> Transaction | bool:
        """The next step's transaction, already counted in the planner's image; True for a step that needs none, False
        if nothing is due."""
        image = self._planner.image
        if image.position.step:  # an event is applied in part: nothing comes in between
            return False
        if self._work is None and not self.late.busy:
            self._work = self._next(image)
        commands = self.late.step() if self._work is None else self._advance(self._work)
        if isinstance(commands, bool):
            return commands
        position = image.position
        return self._planner.close(commands, replace(position, layout=position.layout + 1))

    def _advance(self, work: _Work) -> list[Command]:
        if isinstance(work, _Drop):
            return self._drop(work)
        if isinstance(work, _Collection):
            return self._collect(work)
        commands = work.step()
        if work.done:
            self._work = None
            self.late.formed += isinstance(work, HandOver)
        return commands

    def _next(self, image: Image) -> _Work | None:
        if image.forming is not None:
            return TakeAway(image, self._keys, self._read_keys, image.forming)
        for copy in image.copies.values():
            if copy.state is CopyState.FORMING:
                return HandOver(image, self._keys, self._read_keys, copy)
        if (drop := self._next_drop(image)) is not None:
            return drop
        if (end := healed(image.copies)) is not None:
            return Healing(image, self._keys, self._read, end)
        listed = {volume.id for copy in image.copies.values() for volume in copy.volumes}
        for volume in image.deleted.values():
            if volume.id not in listed:
                found = self._read({(generation, volume.id) for generation in (0, *image.copies)})
                return _Collection(volume, {generation: bitmap for (generation, _), bitmap in found.items()})
        return None

    def _next_drop(self, image: Image) -> _Drop | None:
        """The eldest copy that is to be dropped, and that nobody holds."""
        # The newest one still collects before-images: it waits for the next cut (C3). So does the newest that is a copy
        # when a generation has begun behind it that is none: the changed blocks of the next are counted from it.
        waits = {image.position.generation, next((one for one in reversed(image.copies) if real(image.copies[one])), 0)}
        waits |= waiting(image.copies)
        due = {one for one, copy in image.copies.items() if copy.state is CopyState.DROPPING} - waits
        holds, now_us = read_holds(self._keyspace, self._keys) if due else ([], 0)
        ids = [volume.id for volume in image.volumes] + list(image.deleted)
        elder = 0
        for generation, copy in image.copies.items():
            of_it = [hold for hold in holds if hold.of(copy)]
            if generation in due and not any(hold.live(now_us) for hold in of_it):
                own, elders = self._read({(generation, volume) for volume in ids}), {}
                if own:
                    elders = self._read({(elder, volume) for _, volume in own})
                return _Drop(
                    copy,
                    elder,
                    {volume: bitmap for (_, volume), bitmap in own.items()},
                    {volume: elders.get((elder, volume), ChangeBitmap()) for _, volume in own},
                    [hold.id for hold in of_it],
                )
            elder = generation
        return None

    def _read_keys(self, keys: list[bytes]) -> list[ChangeBitmap]:
        replies = self._keyspace.transact([(b"GET", key) for key in keys]) if keys else []
        return [ChangeBitmap(cast("bytes | None", reply)) for reply in replies]

    def _read(self, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], ChangeBitmap]:
        """The bitmaps, by (generation, volume id), that have any bit set."""
        order = sorted(wanted)
        replies = self._keyspace.transact([(b"GET", self._keys.bitmap(*place)) for place in order])
        found = {place: ChangeBitmap(cast("bytes | None", reply)) for place, reply in zip(order, replies, strict=True)}
        return {place: bitmap for place, bitmap in found.items() if bitmap.count}

    def _drop(self, work: _Drop) -> list[Command]:
        ended: list[Command] = []
        if work.ended:
            ended.append((b"HDEL", self._keys.holds, *(hold.encode() for hold in work.ended)))
            work.ended = []
        for volume, own in work.own.items():
            if own.count:
                return ended + self._hand_over(work, volume, own)
        return ended + self._forget(work.copy)

    def _hand_over(self, work: _Drop, volume: int, own: ChangeBitmap) -> list[Command]:
        generation, elder, theirs = work.copy.generation, work.elder, work.elders[volume]
        before_of = self._keys.before_format(generation, volume)
        elder_of = self._keys.before_format(elder, volume)
        commands: list[Command] = []
        gone: list[Argument] = [b"DEL"]
        blocks = own.take(STEP_BLOCKS)
        theirs.reserve(blocks[-1])
        for block in blocks:
            if block in theirs:
                gone.append(before_of % block)
                continue
            theirs.add(block)
            if elder:  # never RENAMENX: what the elder has or lacks is told by its bit, not by its keys (C2)
                commands.append((b"RENAME", before_of % block, elder_of % block))
            else:
                gone.append(before_of % block)
        if len(gone) > 1:
            commands.append(tuple(gone))
        for bits_of, bitmap in ((elder, theirs), (generation, own)):
            commands.append(write_bits(self._keys.bitmap(bits_of, volume), bitmap, blocks[0], blocks[-1] + 1))
        return commands

    def _forget(self, copy: Copy) -> list[Command]:
        """The end of a drop: nothing of the copy is left but its record."""
        image, keys = self._planner.image, self._keys
        del image.copies[copy.generation]
        self._work = None
        self.late.has_room()
        ids = [volume.id for volume in image.volumes] + list(image.deleted)
        commands: list[Command] = [
            (b"HDEL", keys.copies, b"%d" % copy.generation),
            (b"DEL", keys.copied_pairs(copy.generation), *(keys.bitmap(copy.generation, volume) for volume in ids)),
        ]
        if copy.volumes:
            commands.append((b"HDEL", keys.digests, *(keys.digest_field(copy, volume) for volume in copy.volumes)))
        return commands

    def _collect(self, work: _Collection) -> list[Command]:
        keys, number = self._keys, work.volume.id
        for generation, bitmap in work.bitmaps.items():
            if bitmap.count:
                blocks = bitmap.take(STEP_BLOCKS)
                key_of = keys.block_format(number)
                return [
                    (b"DEL", *(key_of % block for block in blocks)),
                    write_bits(keys.bitmap(generation, number), bitmap, blocks[0], blocks[-1] + 1),
                ]
        self._work = None
        image = self._planner.image
        del image.deleted[number]
        return [
            (b"DEL", *(keys.bitmap(generation, number) for generation in (0, *image.copies))),
            (b"HDEL", keys.deleted, b"%d" % number),
        ]
