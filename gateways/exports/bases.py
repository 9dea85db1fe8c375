"""Exports, archives among them, as what a rebuild begins from. See `tidelog.recovery.rebuild_bases.Exports`."""

from collections.abc import Iterator

from tidelog.errors import UsageError
from tidelog.gateways.exports.blocks import read_blocks
from tidelog.gateways.exports.checking import check_bytes
from tidelog.gateways.exports.manifest import Manifest, damaged, read_manifest
from tidelog.gateways.exports.place import Place, place_of
from tidelog.gateways.files import Advance
from tidelog.recovery.rebuild_bases import Base, BaseKind, ExportFound
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.contents import Block
from tidelog.stores.pairs import Pair


class ExportBases:
    """Whole exports, wherever fsspec reaches. ``advance`` is told of bytes of files whose checksums are looked at."""

    def __init__(self, advance: Advance = lambda _: None) -> None:
        self._advance = advance

    def find(self, place: str) -> ExportFound:
        """What is there, by its manifest. Raises `UsageError` for no export, or one that needs another under it;
        `ExportDamaged`, OSErrors of the place."""
        manifest = read_manifest(place_of(place))
        if manifest.since is not None:
            raise UsageError(
                f"{place} holds only what changed since copy {manifest.since.name}",
                hint="begin from a whole one; several on top of one another go into an empty site: tidelog pitc import",
            )
        size = sum(file.blocks * volume.block_size for volume, file in manifest.files)
        digest = bytes.fromhex(manifest.pitc.digest)
        base = Base(BaseKind.EXPORT, place, manifest.copy_record, digest, size)
        return ExportFound(manifest.group_id, base)

    def open(self, base: Base) -> "ExportSource":
        """Its blocks. Raises `ExportDamaged`, naming every file that is not what was written, before any is read."""
        place = place_of(base.source)
        manifest = read_manifest(place)
        if (manifest.copy_record, manifest.pitc.digest) != (base.copy, base.digest.hex()):
            raise damaged(place.url, "it is another export than a moment ago")
        check_bytes(place, manifest, self._advance).check(place)
        return ExportSource(place, manifest)


class ExportSource:
    """See `tidelog.recovery.rebuild_bases.BaseSource`."""

    def __init__(self, place: Place, manifest: Manifest) -> None:
        """A whole export, whose files are what was written."""
        self._place, self._manifest = place, manifest
        self._volumes = {volume.id: volume for volume in manifest.volumes}

    def blocks(self, volume: VolumeInfo, after: int) -> Iterator[list[Block]]:
        """Raises `ExportDamaged`."""
        for blocks in read_blocks(self._place, self._volumes[volume.id], lambda _: None):
            if blocks[-1][0] > after:
                yield [block for block in blocks if block[0] > after]

    def zeros(self, volume: VolumeInfo) -> ChangeBitmap:
        """Raises `ExportDamaged` for a manifest whose bitmap cannot be."""
        return self._volumes[volume.id].named_blocks

    def pairs(self) -> dict[Pair, ChangeBitmap]:
        """Those of the manifest."""
        return self._manifest.pair_bitmaps

    def close(self) -> None:
        """Nothing is held."""
