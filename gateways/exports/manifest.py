"""The manifest of an export: what it is, what is in it, and what a site needs to go on from it.

JSON, so that people can read it; with a checksum of its own, so that an edit shows. What a later version adds raises
the number, since who does not know it must not import without it.
"""

import json
import zlib
from base64 import b64decode, b64encode
from typing import Annotated, Any, Self

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import tidelog
from tidelog.clock import iso
from tidelog.errors import ExportDamaged, InvalidName, UsageError
from tidelog.gateways.exports.place import Place
from tidelog.names import check_name
from tidelog.schemas.volumes import MAX_BLOCKS, VolumeInfo, valid_block_size, valid_size
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.pairs import Pair
from tidelog.stores.store import Copy, CopyOrigin, Identity

MANIFEST = "manifest.json"
VERSION = 2  # 1 did not say which blocks events had named
FORMAT = "tidelog export"
# No export that tidelog writes comes near: 10,000 files take 2 MB.
_MANIFEST_BYTES_MAX = 1 << 28

Hex16 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Count = Annotated[int, Field(ge=0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExportedFile(_Record):
    """One file: its size in bytes, BLAKE3-128 of its bytes, how many blocks it holds, and what they add to the
    volume's digest."""

    name: str
    size: Count
    checksum: Hex16
    blocks: Count
    digest: Hex16


class ExportedVolume(_Record):
    """A row of the copy's volume table, the volume's digest in the copy, its files in order, and a bitmap, as of an
    `ExportedPair`, of all blocks that events had named, those that are zeros and so in no file among them: a site that
    begins from here must know of them when it copies volumes."""

    id: Annotated[int, Field(gt=0)]
    name: str
    size: int
    block_size: int
    digest: Hex16
    files: tuple[ExportedFile, ...]
    named: str

    @property
    def info(self) -> VolumeInfo:
        """The row."""
        return VolumeInfo(self.id, self.name, self.size, self.block_size)

    @property
    def named_blocks(self) -> ChangeBitmap:
        """The bitmap, which may go beyond the volume: it may have been larger. Raises `ExportDamaged`."""
        return _unpacked(self.named, MAX_BLOCKS, f"volume {self.name}", self.name)


class ExportedPair(_Record):
    """Two volumes, by id, that copies had gone between at the cut, and the bitmap of the blocks in which they may have
    differed: a bit a block, the most significant first, in zlib and base64."""

    source: Annotated[int, Field(gt=0)]
    target: Annotated[int, Field(gt=0)]
    bitmap: str

    @classmethod
    def of(cls, pair: Pair, bitmap: ChangeBitmap) -> Self:
        """As the store has it."""
        return cls(source=pair[0], target=pair[1], bitmap=packed(bitmap))


class CopyIdentity(_Record):
    """Which copy: (group, ``sequence``, ``seal``); the name is a label."""

    name: str
    sequence: Annotated[int, Field(gt=0)]
    seal: Hex16


class ExportedCopy(CopyIdentity):
    """The copy, its digest, and the head at its cut, from which a site goes on."""

    time: str
    timestamp_us: int
    epoch: Count
    writer: Hex16
    offset: Count
    cluster_id: str
    blocks_changed: Count
    digest: Hex16
    origin: CopyOrigin

    @property
    def what(self) -> str:
        """For people. An export of a moment is of a copy by time, or of a clone that was materialised."""
        return f"copy {self.name}" if self.origin is CopyOrigin.MARKER else f"{self.name}, as of {self.time},"


class Manifest(_Record):
    """Everything that an export says of itself. ``since`` is the copy whose blocks it builds on; None if it is whole.

    ``site`` and ``tidelog``, the version of the tool, say where it comes from and decide nothing.
    """

    format: str
    version: int
    tidelog: str
    group: str
    group_id: str
    site: str
    pitc: ExportedCopy
    since: CopyIdentity | None
    codec: str
    volumes: tuple[ExportedVolume, ...]
    pairs: tuple[ExportedPair, ...]

    @property
    def copy_record(self) -> Copy:
        """The copy as a store keeps it, whose first it will be."""
        pitc = self.pitc
        return Copy(
            generation=1,
            sequence=pitc.sequence,
            seal=bytes.fromhex(pitc.seal),
            name=pitc.name,
            timestamp_us=pitc.timestamp_us,
            volumes=tuple(volume.info for volume in self.volumes),
            blocks_changed=pitc.blocks_changed,
            epoch=pitc.epoch,
            writer=bytes.fromhex(pitc.writer),
            offset=pitc.offset,
            cluster_id=pitc.cluster_id,
            origin=pitc.origin,
        )

    @property
    def pair_bitmaps(self) -> dict[Pair, ChangeBitmap]:
        """The pairs, as a store keeps them. Raises `ExportDamaged` for a bitmap that cannot be."""
        blocks = {volume.id: volume.info.blocks for volume in self.volumes}
        found = {}
        for pair in self.pairs:
            most = max(blocks.get(pair.source, 0), blocks.get(pair.target, 0))
            found[pair.source, pair.target] = _unpacked(pair.bitmap, most, "a pair", self.group)
        return found

    @property
    def files(self) -> list[tuple[ExportedVolume, ExportedFile]]:
        """Every file, with its volume."""
        return [(volume, file) for volume in self.volumes for file in volume.files]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for _, file in self.files)

    def encode(self) -> bytes:
        """The file's bytes."""
        document = self.model_dump(mode="json")
        return json.dumps(document | {"checksum": _checksum(document)}, indent=2).encode() + b"\n"


def describe(
    who: Identity,
    copy: Copy,
    digest: bytes,
    since: Copy | None,
    codec: str,
    volumes: list[ExportedVolume],
    pairs: dict[Pair, ChangeBitmap],
) -> Manifest:
    """The manifest of a copy whose files are written."""
    return Manifest(
        format=FORMAT,
        version=VERSION,
        tidelog=tidelog.__version__,
        group=who.group,
        group_id=who.group_id,
        site=who.site,
        pitc=ExportedCopy(
            name=copy.name,
            sequence=copy.sequence,
            seal=copy.seal.hex(),
            time=iso(copy.timestamp_us),
            timestamp_us=copy.timestamp_us,
            epoch=copy.epoch,
            writer=copy.writer.hex(),
            offset=copy.offset,
            cluster_id=copy.cluster_id,
            blocks_changed=copy.blocks_changed,
            digest=digest.hex(),
            origin=copy.origin,
        ),
        since=None if since is None else CopyIdentity(name=since.name, sequence=since.sequence, seal=since.seal.hex()),
        codec=codec,
        volumes=tuple(volumes),
        pairs=tuple(ExportedPair.of(*found) for found in sorted(pairs.items())),
    )


def file_name(volume: str, index: int) -> str:
    """The name of a volume's file; no two of an export are the same."""
    return f"{volume}.{index:04}.avro"


def read_manifest(place: Place) -> Manifest:
    """Raises `UsageError` if there is none, or one of a later version; `ExportDamaged` if it is not as written."""
    try:
        with place.open(MANIFEST) as file:
            content = file.read(_MANIFEST_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"there is no {MANIFEST} in {place.url}: it is no export, or one that was never finished"
        ) from None
    return parse_manifest(content, place.url)


def parse_manifest(content: bytes, where: str) -> Manifest:
    """Raises as `read_manifest`."""
    try:
        document = json.loads(content)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise damaged(where, "it does not say that it is a tidelog export")
        if isinstance(version := document.get("version"), int) and version > VERSION:
            raise UsageError(f"{where} is an export of version {version}", hint="upgrade tidelog")
        if document.get("version") == 1:
            raise UsageError(f"{where} is an export of version 1, of a tidelog before 0.1", hint="export the copy anew")
        checksum = document.pop("checksum", None)
        if checksum != _checksum(document):
            raise damaged(where, "its checksum does not match: it was changed after it was written")
        manifest = Manifest.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        raise damaged(where, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise damaged(where, f"it is no JSON: {error}") from error
    for volume in manifest.volumes:
        _check_volume(where, volume)
    if len({volume.id for volume in manifest.volumes} | {volume.name for volume in manifest.volumes}) != 2 * len(
        manifest.volumes
    ):
        raise damaged(where, "it names a volume twice")
    return manifest


def damaged(where: str, what: str, file: str = MANIFEST) -> ExportDamaged:
    """The error for a file of an export."""
    error = ExportDamaged(f"{file} of {where}: {what}", hint="export the copy again, or use another export of it")
    error.problem = what
    return error


def packed(bitmap: ChangeBitmap) -> str:
    """A bitmap as a manifest has it."""
    return b64encode(zlib.compress(bytes(bitmap.bits))).decode()


def _unpacked(text: str, blocks: int, of: str, where: str) -> ChangeBitmap:
    limit, unpacker = -(-blocks // 8), zlib.decompressobj()
    try:
        bits = unpacker.decompress(b64decode(text, validate=True), limit + 1)
    except (ValueError, zlib.error) as error:
        raise damaged(where, f"the bitmap of {of} does not unpack: {error}") from error
    if not unpacker.eof or len(bits) > limit:
        raise damaged(where, f"the bitmap of {of} goes beyond its blocks")
    return ChangeBitmap(bits)


def _check_volume(where: str, volume: ExportedVolume) -> None:
    try:
        check_name("volume", volume.name)
    except InvalidName as error:
        raise damaged(where, str(error)) from error
    if not valid_block_size(volume.block_size) or not valid_size(volume.size, volume.block_size):
        raise damaged(where, f"volume {volume.name} cannot have size {volume.size}, block size {volume.block_size}")
    for index, file in enumerate(volume.files):
        if file.name != file_name(volume.name, index):  # so no name leads out of the place
            raise damaged(where, f"file {index} of volume {volume.name} cannot be {file.name!r}")


def _checksum(document: dict[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return blake3(canonical).digest(16).hex()
