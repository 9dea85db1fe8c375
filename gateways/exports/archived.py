"""Reading an archived copy, straight from its export.

A file is read whole and must be what the manifest says before a byte of it is given out. Which file holds a block is
guessed by the first block of each, and is certain once the files that the block lies in or between are read.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterator

from tidelog.consumers.archives import find_archive
from tidelog.consumers.deployment import Deployment
from tidelog.errors import ExportDamaged, NotFound, OutOfBounds, UsageError
from tidelog.gateways.exports.blocks import read_file
from tidelog.gateways.exports.checking import check_export
from tidelog.gateways.exports.manifest import ExportedVolume, Manifest, damaged, read_manifest
from tidelog.gateways.exports.place import Place, place_of
from tidelog.gateways.files import Advance
from tidelog.schemas.control import CopyArchived
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.store import Copy, Identity

PART_BYTES = 4 << 20
# Files of a volume whose blocks are kept: some 64 MiB of content each.
FILES_KEPT = 2


def find_in_archive(deployment: Deployment, group: str, site: str, name: str) -> "tuple[ArchivedCopy, Copy] | None":
    """The newest archived copy of that name, at ``site`` if that has archived it; None if there is none. Raises as
    `open_archive`."""
    record = find_archive(deployment.cluster.control.snapshot(), group, name, site)
    if record is None:
        return None
    found = open_archive(record)
    return found, found.copy


def open_archive(record: CopyArchived) -> "ArchivedCopy":
    """The copy that a site has archived. Raises `ExportDamaged` if it is not there any more, or is not that copy."""
    place = place_of(record.place)
    try:
        manifest = read_manifest(place)
    except UsageError as error:
        raise ExportDamaged(
            f"the archive of copy {record.name} (sequence {record.sequence}) is not at {record.place}: {error.message}",
            group=record.group,
            hint=f"it was put there by site {record.site}; can this machine reach the place?",
        ) from error
    said = manifest.pitc
    told = record.group_id, record.sequence, record.seal.hex(), record.digest.hex()
    if (manifest.group_id, said.sequence, said.seal, said.digest) != told or manifest.since is not None:
        raise damaged(place.url, f"it is not copy {record.name} (sequence {record.sequence}) of group {record.group}")
    return ArchivedCopy(place, manifest)


def verify_archive(record: CopyArchived, advance: Advance) -> "ArchivedCopy":
    """The same, every block of it read and checked. Raises `ExportDamaged`, naming every damaged file."""
    found = open_archive(record)
    place = place_of(record.place)
    check_export(place, read_manifest(place), advance).check(place)
    return found


class ArchivedCopy:
    """One copy in an export. See `tidelog.consumers.archives.CopySource`. Thread-safe.

    Reading raises `ExportDamaged` for a file that is not what was written, OSErrors of the place.
    """

    def __init__(self, place: Place, manifest: Manifest) -> None:
        """A whole export, as `open_archive` has looked at it."""
        self.identity = Identity(manifest.group, manifest.group_id, manifest.site)
        self.copy = manifest.copy_record
        self.place = place.url
        self._manifest = manifest
        self._volumes = {volume.id: _Blocks(place, volume) for volume in manifest.volumes}

    def read(self, volume: VolumeInfo, offset: int, length: int, copy: Copy | None = None) -> bytes:
        """Bytes of a volume. Raises `OutOfBounds`, `NotFound`, `ExportDamaged`."""
        return b"".join(self.stream(volume, copy or self.copy, offset, length))

    def stream(
        self,
        volume: VolumeInfo,
        copy: Copy,
        offset: int = 0,
        length: int | None = None,
    ) -> Iterator[bytes]:
        """The same in parts of at most 4 MiB."""
        of = self._of(volume, copy)
        info = of.info
        end = info.size if length is None else offset + length
        if not 0 <= offset <= end <= info.size:
            raise OutOfBounds(f"{offset} to {end} is outside volume {info.name} of {info.size} bytes")
        step = PART_BYTES // info.block_size * info.block_size
        for start in range(offset - offset % info.block_size, end, step):
            stop = min(end, start + step)
            part = of.read(start // info.block_size, -(-stop // info.block_size))
            yield part[max(0, offset - start) : stop - start]

    def digest(self, copy: Copy) -> bytes:
        """The copy's digest, as the manifest has it: every file was verified against it when it was written."""
        self._check(copy)
        return bytes.fromhex(self._manifest.pitc.digest)

    def volume_digest(self, volume: VolumeInfo, copy: Copy) -> bytes:
        """One volume's, likewise."""
        return bytes.fromhex(self._of(volume, copy).volume.digest)

    def _check(self, copy: Copy) -> None:
        if (copy.sequence, copy.seal) != (self.copy.sequence, self.copy.seal):
            raise NotFound(f"copy {copy.name} (sequence {copy.sequence}) is not the one at {self.place}")

    def _of(self, volume: VolumeInfo, copy: Copy) -> "_Blocks":
        self._check(copy)
        found = self._volumes.get(volume.id)
        if found is None:
            raise NotFound(f"copy {self.copy.name} has no volume {volume.name}")
        return found


class _Blocks:
    """The blocks of one volume, by the files that hold them."""

    def __init__(self, place: Place, volume: ExportedVolume) -> None:
        self._place, self.volume, self.info = place, volume, volume.info
        self._files = [file for file in volume.files if file.blocks]
        self._firsts: list[int] = []  # of each file, as its beginning says, which nothing vouches for
        self._kept: dict[int, dict[int, bytes]] = {}
        self._lock = threading.Lock()

    def read(self, first: int, end: int) -> bytes:
        """Blocks ``first`` to ``end`` - 1, padded."""
        size = self.info.block_size
        zeros = bytes(size)
        with self._lock:
            found = self._find(first, end)
        return b"".join(found.get(block, zeros).ljust(size, b"\0") for block in range(first, end))

    def _find(self, first: int, end: int) -> dict[int, bytes]:
        count = len(self._files)
        if not count:
            return {}
        index = max(0, bisect_right(self._guesses(), first) - 1)
        while index and min(self._blocks(index)) > first:  # a guess that was wrong
            index -= 1
        found: dict[int, bytes] = {}
        while index < count:
            blocks = self._blocks(index)
            if min(blocks) >= end:
                break
            found.update((block, blocks[block]) for block in range(first, end) if block in blocks)
            if max(blocks) >= end - 1:
                break
            index += 1
        return found

    def _guesses(self) -> list[int]:
        if not self._firsts:
            for file in self._files:
                parts = read_file(self._place, self.info, file, -1, _ignore)
                self._firsts.append(next(parts)[0][0])  # one that holds none raises, as it is damaged
                parts.close()  # type: ignore[attr-defined]  # it is a generator
        return self._firsts

    def _blocks(self, index: int) -> dict[int, bytes]:
        """A file's blocks; all of it was read, and is what the manifest says."""
        if index not in self._kept:
            parts = read_file(self._place, self.info, self._files[index], -1, _ignore)
            blocks = {block: data for part in parts for block, data in part}
            while len(self._kept) >= FILES_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[index] = blocks
        return self._kept[index]


def _ignore(_: int) -> None:
    """Nobody looks at the progress."""
