"""A copy onto a mirrored volume: the blocks that the event ships, from this site's own source (DESIGN section 8).

Block n of the target becomes block n of the source, live or as it was in a copy, by Redis's own COPY: no data passes
through the worker. Where each source block is, is known before the first command, from bitmaps that stay what they are
until the last step: an event in steps lets nothing come in between, and a copy's blocks move only when the target is
the source, each after it was read. Before-images of the target follow `tidelog.stores.transaction`'s rules.
"""

from collections.abc import Callable
from itertools import islice
from typing import TypeAlias

from tidelog.errors import REBUILD, CopyMissing, LogDiverged
from tidelog.schemas.block_bitmap import unpack_bitmap
from tidelog.schemas.events import VolumeCopied
from tidelog.schemas.volumes import VolumeInfo, impossible_event
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.bits import name_blocks, set_bits
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Command
from tidelog.stores.pairs import Pair, may_differ, pairs_with
from tidelog.stores.reading import sources
from tidelog.stores.scars import present
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyOrigin, CopyState
from tidelog.stores.wire import Argument, Packed, VolumeFormats, copy_format

# Blocks of one step: a COPY and a RENAME or DEL each, some ms of Redis's time.
STEP_BLOCKS = 1024
# How much of a bitmap is looked through at a time: a step must not copy all the rest of a large one.
_WINDOW_BLOCKS = 1 << 16

# A volume id and generations older than the newest: their bitmaps, as of the applier's position.
ReadBitmaps: TypeAlias = Callable[[int, list[int]], list[ChangeBitmap]]


class VolumeCopy:
    """One `VolumeCopied`, checked against ``image``, and its commands, step by step.

    Raises, with nothing planned yet: `CorruptEvent` for one that no writer sends, `CopyMissing`, and `LogDiverged` if
    source and target may differ here where the event ships nothing.
    """

    def __init__(self, event: VolumeCopied, image: Image, keys: Keys, read: ReadBitmaps) -> None:
        self._event, self._image, self._keys = event, image, keys
        self._pair: Pair = (event.source, event.target)
        copy = _source_copy(event, image)
        target = _check_sizes(event, image, copy)
        layers = _layers(event.source, copy, image, read)
        shipped = ChangeBitmap(unpack_bitmap(event, target.blocks))
        self._since = ChangeBitmap()
        for bitmap in layers.values():
            self._since.merge(bitmap)
        if not image.position.step:  # in the midst of it, some of its own blocks are in the bitmaps
            self._check_contained(shipped, target)
        self._places = sources({generation: layer.bits for generation, layer in layers.items()}, shipped)
        self._shipped, self.end = shipped, target.blocks

    def limit(self, done: int) -> int:
        """How far one step may go from block ``done`` on."""
        left = STEP_BLOCKS
        for first in range(done, self.end, _WINDOW_BLOCKS):
            found = list(islice(self._shipped.blocks(first, min(self.end, first + _WINDOW_BLOCKS)), left + 1))
            if len(found) > left:
                return found[left]
            left -= len(found)
        return self.end

    def step(self, done: int, until: int) -> list[Command]:
        """The commands for blocks ``done`` to ``until`` - 1. Sets bits in memory as they will be set in Redis."""
        image, keys, (source, target) = self._image, self._keys, self._pair
        formats = VolumeFormats(keys, target, image.position.generation)
        changed, named, source_named = image.changed[target], image.named[target], image.named[source]
        before: list[Argument] = []
        gone: list[Argument] = [b"DEL"]
        copies: list[Argument] = []
        for place, blocks in self._places.items():
            stays = place is None and source == target
            from_format = keys.block_format(source) if place is None else keys.before_format(place, source)
            copy_of = copy_format(from_format, formats.block)
            for block in blocks.blocks(done, until):
                if block in named:  # else there was never anything there
                    if block not in changed:
                        before.append((formats.copy if stays else formats.rename) % (block, block))
                    elif not stays:
                        gone.append(formats.block % block)
                if not stays and block in source_named:
                    copies.append(copy_of % (block, block))
        commands: list[Command] = [Packed(len(before), before)] if before else []
        commands += [tuple(gone)] if len(gone) > 1 else []
        commands += [Packed(len(copies), copies)] if copies else []
        return commands + self._name(list(self._shipped.blocks(done, until)))

    def finish(self) -> list[Command]:
        """What goes into the last step's transaction: the pair, as it is from now on."""
        if self._pair[0] == self._pair[1]:
            return []
        keys = self._keys
        self._image.pairs[self._pair] = self._since
        return [
            (b"HSET", keys.pairs, keys.pair_field(*self._pair), b"%d" % self._event.sequence),
            (b"SET", keys.pair_bitmap(*self._pair), bytes(self._since.bits)),
        ]

    def _name(self, blocks: list[int]) -> list[Command]:
        image, keys, target = self._image, self._keys, self._pair[1]
        key = keys.bitmap(image.position.generation, target)
        commands = name_blocks(key, image.changed[target], blocks)
        set_bits(image.named[target], blocks)
        for key, bitmap in pairs_with(image.pairs, target, keys):
            commands += name_blocks(key, bitmap, blocks)
        return commands

    def _check_contained(self, shipped: ChangeBitmap, target: VolumeInfo) -> None:
        image, event = self._image, self._event
        named = image.named[event.source], image.named[event.target]
        own = may_differ(self._pair, image.pairs.get(self._pair), named, self._since, target.blocks)
        missing = own - shipped
        if missing.count:
            raise LogDiverged(
                f"{event.kind} ships {shipped.count} blocks, and at this site {missing.count} more may differ, the"
                f" first of them block {next(missing.blocks())}",
                sequence=event.sequence,
                hint="the store of this site or of the writer's lost track of changes; rebuild this site with:"
                f" {REBUILD}; if it halts here again, rebuild the writer's and copy anew",
            )


def _source_copy(event: VolumeCopied, image: Image) -> Copy | None:
    """The source copy; None for the live source."""
    wanted = event.source_copy_sequence, event.source_copy_seal
    if wanted == (0, bytes(16)):
        return None
    for copy in image.copies.values():
        # One that is marked while the event is under way is still whole: dropping waits for the event to end. A copy
        # by time may have the same identity, but not every site need have it.
        marked = (copy.sequence, copy.seal, copy.origin) == (*wanted, CopyOrigin.MARKER)
        if marked and (copy.state is CopyState.FORMED or image.position.step):
            return copy
    raise CopyMissing(
        f"{event.kind} needs the copy of sequence {event.source_copy_sequence}, which this site does not hold",
        sequence=event.sequence,
        hint="it was dropped at this site alone, or the site began from a later one. All of the log makes it again:"
        f" {REBUILD} --from-scratch --from log. If that was trimmed, make a copy behind this at a site that is well,"
        f" which needs it no more: tidelog pitc create NAME --group GROUP --wait; then: {REBUILD} --from-scratch",
    )


def _check_sizes(event: VolumeCopied, image: Image, copy: Copy | None) -> VolumeInfo:
    """The target, once it is known that the source fits into it."""
    source, target = image.volumes.get(event.source), image.volumes.get(event.target)
    if copy is not None and source is not None:
        source = next((volume for volume in copy.volumes if volume.id == event.source), None)
    if source is None or target is None:
        raise impossible_event(event, f"names volume {event.source} or {event.target}, which does not exist")
    if copy is None and source.id == target.id:
        raise impossible_event(event, f"copies volume {source.id} to itself")
    if source.block_size != target.block_size or source.size > target.size:
        raise impossible_event(
            event,
            f"copies {source.size} bytes in blocks of {source.block_size} to {target.size} in {target.block_size}",
        )
    return target


def _layers(source: int, copy: Copy | None, image: Image, read: ReadBitmaps) -> dict[int, ChangeBitmap]:
    """The source's bitmaps since the copy, by generation; of the live source none matters."""
    if copy is None:
        return {}
    newest = image.position.generation
    elder = [generation for generation in present(image.copies) if copy.generation <= generation < newest]
    layers = dict(zip(elder, read(source, elder), strict=True))
    layers[newest] = image.changed[source]
    return layers
