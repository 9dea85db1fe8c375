"""Whether an export is what its manifest says, file by file; what is not is named."""

from dataclasses import dataclass, field

from tidelog.errors import ExportDamaged
from tidelog.gateways.exports.blocks import FileRecord, bytes_checksum, read_file
from tidelog.gateways.exports.manifest import MANIFEST, ExportedFile, ExportedVolume, Manifest
from tidelog.gateways.exports.place import Place
from tidelog.gateways.files import Advance
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.digest import block_digest, copy_digest, digest_bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """A file of an export, and what is wrong with it; None if nothing is."""

    file: str
    problem: str | None


@dataclass(slots=True)
class Findings:
    """What a check has found, in the manifest's order, the manifest itself last."""

    files: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> list[Finding]:
        """Only those with something wrong."""
        return [found for found in self.files if found.problem is not None]

    def check(self, place: Place) -> None:
        """Raises `ExportDamaged`, naming every damaged file."""
        if self.problems:
            told = "; ".join(f"{found.file}: {found.problem}" for found in self.problems)
            raise ExportDamaged(
                f"the export at {place.url} is damaged: {told}",
                hint="export the copy again, or use another export of it",
            )


def check_bytes(place: Place, manifest: Manifest, advance: Advance) -> Findings:
    """Every file's presence, size and checksum; nothing is decoded."""
    found = Findings()
    for _, file in manifest.files:
        found.files.append(Finding(file.name, _wrong_bytes(place, manifest, file, advance)))
    return found


def check_export(place: Place, manifest: Manifest, advance: Advance) -> Findings:
    """Every block: that files hold what they held when they were written, in order, and digests follow from them."""
    found = Findings()
    for volume in manifest.volumes:
        found.files += _check_volume(place, manifest, volume, advance)
    if not found.problems:
        found.files.append(Finding(MANIFEST, _wrong_digests(manifest)))
    return found


def file_sum(place: Place, volume: VolumeInfo, file: FileRecord, after: int, advance: Advance) -> tuple[bytes, int]:
    """What the blocks of a file add to the volume's digest, 16 bytes, and the number of the last one (``after`` if
    there is none), by reading them all. Raises `ExportDamaged` as `read_file`."""
    sums = []
    for blocks in read_file(place, volume, file, after, advance):
        sums.append(sum(block_digest(volume.id, *block, volume.block_size) for block in blocks if block[1]))
        after = blocks[-1][0]
    return digest_bytes(sums), after


def _check_volume(place: Place, manifest: Manifest, volume: ExportedVolume, advance: Advance) -> list[Finding]:
    found = []
    last = -1
    for file in volume.files:
        try:
            digest, last = file_sum(place, volume.info, file, last, advance)
            problem = None if digest.hex() == file.digest else "its blocks have another digest"
        except ExportDamaged as error:
            problem = _wrong_bytes(place, manifest, file, lambda _: None) or error.problem
        found.append(Finding(file.name, problem))
    return found


def _wrong_bytes(place: Place, manifest: Manifest, file: ExportedFile, advance: Advance) -> str | None:
    try:
        size, checksum = bytes_checksum(place, file, advance)
    except ExportDamaged as error:
        return error.problem
    if (size, checksum) == (file.size, file.checksum):
        return None
    for _, other in manifest.files:
        if (size, checksum) == (other.size, other.checksum):
            return f"it is {other.name} under this name"
    if size < file.size:
        return f"it is truncated: {size} of {file.size} bytes"
    if size > file.size:
        return f"it has {size} bytes, and {file.size} were written"
    return "its bytes were changed: the checksum does not match"


def _wrong_digests(manifest: Manifest) -> str | None:
    if manifest.since is None:
        for volume in manifest.volumes:
            if digest_bytes(int(file.digest, 16) for file in volume.files).hex() != volume.digest:
                return f"the files of volume {volume.name} do not add up to its digest"
    if copy_digest([(volume.info, bytes.fromhex(volume.digest)) for volume in manifest.volumes]).hex() != (
        manifest.pitc.digest
    ):
        return "the volumes' digests do not add up to the copy's"
    return None
