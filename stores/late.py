"""A late copy: one by time at a site that is past that time, made from an elder copy and the log (DESIGN section 6.2).

It becomes what a cut in time would have left, and then it is a copy like any other and holds no base. That is the drop
of a copy run backwards. The elder generation holds what was named up to the next copy; it is split at the time:

1. The log between the two copies is read again. Blocks named up to the time get their content at the time, under the
   late copy's own generation (`LateValues`); nobody sees it yet, since only the key ``forming`` names the generation.
2. What was not named again behind the time is taken away: the next copy, or a later one, holds it. The blocks that were
   named behind the time only are noted (``h:``): what they were at the time is the elder generation's before-image.
3. One EXEC puts the copy among the others, unreadable yet.
4. Block by block those before-images and their bits go over (`tidelog.stores.handing`). Then it is formed.

Until (3) whoever finds a generation under ``forming`` takes its keys away and begins anew; from then on the tables and
bitmaps say what is left to do. No other maintenance comes in between, so the generations that are read stay there;
events do. Memory: the bitmaps of the volumes; values are in Redis.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol, TypeAlias

from tidelog.errors import OutOfWindow
from tidelog.schemas.events import Event, Marker, VolumeCreated, WriteBatch
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import write_bits
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.late_fold import LateFold
from tidelog.stores.late_values import LateValues
from tidelog.stores.pairs import Pair, copied_pairs
from tidelog.stores.plan import Planner
from tidelog.stores.records import encode_copy, encode_volume
from tidelog.stores.store import Copy, CopyOrigin, CopyState
from tidelog.stores.timed import DueCopy, by_time, part, placed
from tidelog.stores.transaction import Limits

STEP_BLOCKS = 1024
_BITMAP_BYTES = 1 << 20  # of one transaction


class LateEvents(Protocol):
    """The events that count behind a copy, in order, the rest of a batch that it was cut in included."""

    def take(self) -> list[tuple[Event, int]]:
        """The next ones, with the offsets of their records; [] if none has come in yet. Raises `OutOfWindow`."""

    def close(self) -> None:
        """Ends."""


# Opens the log behind a copy, or from its origin; `take` raises `OutOfWindow` if it does not reach back to there.
OpenLateEvents: TypeAlias = Callable[[Copy | None], LateEvents]
# The commands of one transaction (none: something was done, and there is nothing to send), or None: wait for the log.
Step: TypeAlias = list[Command] | None


class LateCopy:
    """The making of one late copy up to the EXEC that puts it among the others. `steps` raises `OutOfWindow` when it
    turns out that it cannot be made; what was written then is found again under ``forming``."""

    def __init__(
        self,
        planner: Planner,
        keys: Keys,
        order: DueCopy,
        between: tuple[Copy | None, Copy],
        events: LateEvents,
        pairs: dict[Pair, ChangeBitmap],
    ) -> None:
        self.order = order
        self._planner, self._keys, self._events = planner, keys, events
        self._elder, self._younger = between
        first = self._first = self._elder.generation if self._elder else 0
        self.generation = (first + self._younger.generation) // 2
        image = self._image = planner.image
        self._fold = LateFold(self._elder, pairs)
        self._values = LateValues(image, keys, planner.read, self._fold, first, self.generation, Limits())
        self._there = {volume.id for volume in image.volumes} | image.deleted.keys()
        cut = placed(self._elder) if self._elder else (0, "")
        self._cuts = [one for one in sorted(set(planner.orders), key=by_time) if by_time(one) > cut]
        self._record = replace(
            self._younger,
            generation=self.generation,
            name=order.name,
            timestamp_us=order.at_us,
            volumes=self._elder.volumes if self._elder else (),
            state=CopyState.FORMING,
            origin=CopyOrigin.TIME,
            locked_until_us=0,
            kept=False,
        )
        self._made: Copy | None = None
        self._made_pairs: dict[Pair, ChangeBitmap] = {}
        self.steps = self._steps()

    def close(self) -> None:
        """Lets go of the log."""
        self._events.close()

    def _steps(self) -> Iterator[Step]:
        yield self._noted()
        yield from self._read_log()
        while self._made is None:
            yield from self._cut(self._cuts.pop(0))
        made = self._made
        self._check_bitmaps()
        handed = {volume: bits - self._fold.bits(volume) for volume, bits in self._fold.after.items()}
        yield from self._prune(made)
        for volume in handed.keys() & self._there:
            bits = handed[volume].bits
            for start in range(0, len(bits) if handed[volume].count else 0, _BITMAP_BYTES):
                chunk = bytes(bits[start : start + _BITMAP_BYTES])
                yield [(b"SETRANGE", self._keys.handed(self.generation, volume), b"%d" % start, chunk)]
        yield self._put_among_copies(made)

    # --- the log, from the elder copy to the next one ---

    def _read_log(self) -> Iterator[Step]:
        at, end = (self._elder.sequence if self._elder else 0), self._younger.sequence
        seal = b""
        while at < end:
            run = self._events.take()
            if not run:
                yield None
                continue
            for whole, offset in run:
                if whole.last_sequence <= at:
                    continue
                event, first = _between(whole, at, end)
                yield from self._take(event, first, offset)
                at, seal = min(whole.last_sequence, end), whole.seal
                if at == end:
                    break
            yield self._values.flush()
        if seal and seal != self._younger.seal:
            raise OutOfWindow("the log is not the one that this site's copies were cut from", sequence=end)

    def _take(self, event: Event, first: int, offset: int) -> Iterator[Step]:
        """One event, or a part of one, with the cuts that a site in time would have made before it and inside it."""
        stamps = event.timestamps_us if isinstance(event, WriteBatch) else [event.timestamp_us]
        done = 0
        while self._cuts and self._cuts[0].at_us < stamps[-1]:
            count = bisect_right(stamps, self._cuts[0].at_us)
            if isinstance(event, WriteBatch) and count > done:
                yield from self._carry_out(part(event, done, count), first + done, offset)
                done = count
            yield from self._cut(self._cuts.pop(0))
        if isinstance(event, WriteBatch) and done:
            event = part(event, done, len(stamps))
        yield from self._carry_out(event, first + done, offset)

    def _carry_out(self, event: Event, first: int, offset: int) -> Iterator[Step]:
        if self._made is not None:
            yield from self._values.apply_behind(event)
            self._fold.name_after(event, self._values.gone)  # those it has named itself
        else:
            if isinstance(event, VolumeCreated) and event.sequence not in self._there:
                yield self._note(VolumeInfo(event.sequence, event.name, event.size, event.block_size))
            yield from self._values.apply(event)
        self._fold.take(event, first, offset)
        if isinstance(event, Marker):
            yield self._values.flush()
            self._fold.since.clear()

    def _note(self, volume: VolumeInfo) -> list[Command]:
        """A volume whose blocks are gone: what is written of it must be found again."""
        self._values.gone.add(volume.id)
        self._record = replace(self._record, volumes=(*self._record.volumes, volume))
        return self._noted()

    def _noted(self) -> list[Command]:
        """What finds all that is written until the copy is among the others."""
        self._image.forming = self._record
        return [(b"SET", self._keys.forming, encode_copy(self._record))]

    def _cut(self, order: DueCopy) -> Iterator[Step]:
        yield self._values.flush()
        fold = self._fold
        if order == self.order:
            if fold.head is None:
                raise OutOfWindow("that time is before the group's first event")
            at = fold.head
            self._made = replace(
                self._record,
                sequence=at.sequence,
                seal=at.seal,
                volumes=tuple(fold.table),
                blocks_changed=fold.count(),
                epoch=at.epoch,
                writer=at.writer,
                offset=at.offset,
            )
            self._made_pairs = {pair: ChangeBitmap(bitmap.bits) for pair, bitmap in fold.pairs.items()}
            self._cuts.clear()
            self._values.behind = True
            self._values.gone &= {volume.id for volume in fold.table}
        fold.since.clear()

    # --- what becomes of it ---

    def _check_bitmaps(self) -> None:
        """What the log names between the copies is what the elder generation says that it named."""
        for volume in self._there:
            both = ChangeBitmap(self._fold.bits(volume).bits)
            both.merge(self._fold.after.get(volume, ChangeBitmap()))
            if self._planner.read(volume, [self._first]) != [both]:
                raise OutOfWindow(f"what the log names of volume {volume} is not what this site's store knows of it")

    def _prune(self, made: Copy) -> Iterator[Step]:
        """Takes away what was not named again behind the time, and all of a volume made and deleted before it."""
        listed = {volume.id for volume in made.volumes}
        for volume, bits in self._fold.named.items():
            gone, generation = bits - self._fold.after.get(volume, ChangeBitmap()), self.generation
            block_of = self._keys.before_format(generation, volume)
            if volume not in self._there:
                if volume in listed:
                    continue
                generation, block_of = self._first, self._keys.block_format(volume)
            left = ChangeBitmap(bits.bits)
            while gone.count:
                blocks = gone.take(STEP_BLOCKS)
                for block in blocks:
                    left.discard_range(block, block + 1)
                yield [
                    (b"DEL", *(block_of % block for block in blocks)),
                    write_bits(self._keys.bitmap(generation, volume), left, blocks[0], blocks[-1] + 1),
                ]

    def _put_among_copies(self, made: Copy) -> list[Command]:
        image, keys = self._image, self._keys
        commands: list[Command] = [
            (b"HSET", keys.copies, b"%d" % self.generation, encode_copy(made)),
            (b"DEL", keys.forming),
            *copied_pairs(self._made_pairs, self.generation, keys),
        ]
        listed = {volume.id: volume for volume in made.volumes}
        for volume in {volume.id for volume in self._record.volumes} - self._there:
            if volume in listed:  # it is here again, deleted, for as long as the copy is
                image.deleted[volume] = listed[volume]
                commands.append((b"HSET", keys.deleted, b"%d" % volume, encode_volume(listed[volume])))
            else:
                commands.append((b"DEL", keys.bitmap(self._first, volume)))
        image.copies[self.generation] = made
        image.copies = dict(sorted(image.copies.items()))
        image.forming = None
        return commands


def _between(event: Event, at: int, end: int) -> tuple[Event, int]:
    """What of an event lies behind sequence ``at``, up to ``end``, and the first sequence of that."""
    if not isinstance(event, WriteBatch) or event.sequence > at + 1:
        if event.sequence != at + 1:
            raise OutOfWindow(f"the log lacks sequence {at + 1}, which this site had applied", sequence=at + 1)
        return event, event.sequence
    first, behind = at + 1 - event.sequence, min(len(event.lengths), end + 1 - event.sequence)
    if behind - first == len(event.lengths):
        return event, at + 1
    return part(event, first, behind), at + 1
