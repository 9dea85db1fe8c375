"""What changed between two copies at a site: from change bitmaps alone, or from the contents."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tidelog.errors import UsageError
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.contents import WINDOW_BYTES, CopyContents
from tidelog.stores.named import windows
from tidelog.stores.store import Copy


class Change(StrEnum):
    """What became of a volume between two copies."""

    CREATED = "created"
    DELETED = "deleted"
    RESIZED = "resized"
    CHANGED = "changed"  # the same volume, of the same size


@dataclass(frozen=True, slots=True)
class VolumeDiff:
    """One volume in two copies. ``before`` is its row in the elder copy, ``after`` in the newer; None where it is not.

    ``blocks`` are those that changed: of a created volume all that were written; of a deleted one none.
    """

    before: VolumeInfo | None
    after: VolumeInfo | None
    blocks: ChangeBitmap

    @property
    def volume(self) -> VolumeInfo:
        """Its newest row."""
        found = self.after or self.before
        assert found is not None  # `diff` makes none without both
        return found

    @property
    def change(self) -> Change:
        """What became of it."""
        if self.before is None:
            return Change.CREATED
        if self.after is None:
            return Change.DELETED
        return Change.CHANGED if self.before.size == self.after.size else Change.RESIZED

    @property
    def changed_bytes(self) -> int:
        """The sum of the extents' lengths."""
        size = self.volume.block_size
        beyond = max(0, (self.blocks.last + 1) * size - self._end)
        return self.blocks.count * size - beyond

    def extents(self) -> Iterator[tuple[int, int]]:
        """Offset and length of each run of changed blocks, in bytes and ascending; none touches the next."""
        size, end = self.volume.block_size, self._end
        start = stop = 0
        for block in self.blocks.blocks():
            if block != stop:
                if stop > start:
                    yield start * size, (stop - start) * size
                start = block
            stop = block + 1
        if stop > start:
            yield start * size, min(end, stop * size) - start * size

    @property
    def _end(self) -> int:
        return max(row.size for row in (self.before, self.after) if row is not None)


def diff(elder: CopyContents, newer: CopyContents, *, exact: bool = False) -> list[VolumeDiff]:
    """Every volume that is not the same in both copies, by id.

    A block counts if an event between the copies *named* it, whatever it wrote; with ``exact`` only if its content
    differs, which reads every named block twice. Raises `UsageError` if ``elder`` is not the elder one, `NotFound` if
    one of them is dropped meanwhile, `SiteBehind` while the site is being rebuilt.
    """
    if elder.copy.generation >= newer.copy.generation:
        raise UsageError(
            f"copy {elder.copy.name} (sequence {elder.copy.sequence}) is not older than copy {newer.copy.name}"
            f" (sequence {newer.copy.sequence})",
            hint="name two different copies, the elder first",
        )
    before = {volume.id: volume for volume in elder.copy.volumes}
    after = {volume.id: volume for volume in newer.copy.volumes}
    found = []
    for number in sorted(before.keys() | after.keys()):
        old, new = before.get(number), after.get(number)
        blocks = ChangeBitmap()
        if new is not None:
            blocks = changed_blocks(newer, new, elder.copy)
            if exact:
                blocks = _differing(elder, newer, old, new, blocks)
        one = VolumeDiff(old, new, blocks)
        if one.change is not Change.CHANGED or blocks.count:
            found.append(one)
    return found


def diff_contents(elder: CopyContents, newer: CopyContents) -> list[VolumeDiff]:
    """Every volume that is not the same in both, by id, whether they are copies or clones: by their contents, so all
    blocks that were ever named are read. Raises as `diff`, but for `UsageError`."""
    before = {volume.id: volume for volume in elder.copy.volumes}
    after = {volume.id: volume for volume in newer.copy.volumes}
    found = []
    for number in sorted(before.keys() | after.keys()):
        old, new = before.get(number), after.get(number)
        blocks = ChangeBitmap()
        if new is not None:
            blocks = newer.named(new)
            if old is not None:
                blocks.merge(elder.named(old))
                blocks.discard_range(max(old.blocks, new.blocks), len(blocks.bits) * 8)
            blocks = _differing(elder, newer, old, new, blocks)
        one = VolumeDiff(old, new, blocks)
        if one.change is not Change.CHANGED or blocks.count:
            found.append(one)
    return found


def changed_blocks(newer: CopyContents, volume: VolumeInfo, elder: Copy) -> ChangeBitmap:
    """The blocks of ``volume``, as in ``newer``, that were named since ``elder``, and lie within it in either copy: a
    volume that grew and shrank again in between has named blocks that neither knows."""
    blocks = newer.named(volume, elder)
    before = next((row for row in elder.volumes if row.id == volume.id), volume)
    blocks.discard_range(max(before.blocks, volume.blocks), len(blocks.bits) * 8)
    return blocks


def _differing(
    elder: CopyContents, newer: CopyContents, before: VolumeInfo | None, after: VolumeInfo, named: ChangeBitmap
) -> ChangeBitmap:
    size = after.block_size
    old_reader, new_reader = None if before is None else elder.reader(before), newer.reader(after)
    differing = ChangeBitmap()
    for base, part in windows(named, WINDOW_BYTES // size):
        old = {} if old_reader is None else old_reader.blocks(base, part)
        new = new_reader.blocks(base, part)
        for block in (base + index for index in part.blocks()):
            if new.get(block, b"").ljust(size, b"\0") != old.get(block, b"").ljust(size, b"\0"):
                differing.add(block)
    return differing
