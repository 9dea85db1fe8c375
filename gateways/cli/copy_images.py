"""`tidelog pitc export --raw`: a copy as raw, sparse images, verified."""

import json as json_format
import os
from pathlib import Path
from typing import Any

import tidelog
from tidelog.clock import iso
from tidelog.consumers.archives import CopySource
from tidelog.errors import CopiesDiffer
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, size_text
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import PART_BYTES, copied_volume, opened_copy
from tidelog.gateways.files import Advance, new_file, new_folder, refuse_existing, write_sparse
from tidelog.gateways.standing.documents import JSON_VERSION
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.digest import DIGEST_SIZE, block_digest, copy_digest
from tidelog.stores.store import Copy, HoldKind

MANIFEST = "manifest.json"


def export_images(invocation: Invocation, name: str, group: str, site: str | None, place: Path, *, json: bool) -> None:
    """Writes a folder with an image of each volume and a manifest.

    Raises `AlreadyExists`; `CopiesDiffer` if what stands on disk is not what the site says.
    """
    refuse_existing(place)
    with opened_copy(invocation, group, site, name, HoldKind.EXPORT) as (store, copy):
        digest = store.digest(copy)
        size = sum(volume.size for volume in copy.volumes)
        with new_folder(place) as folder, byte_bar(invocation, f"exporting {copy.name}", 2 * size) as advance:
            for volume in copy.volumes:
                _write_image(folder / _image(volume), store, volume, copy, advance)
            written = [(volume, image_digest(folder / _image(volume), volume, advance)) for volume in copy.volumes]
            if copy_digest(written) != digest:
                raise CopiesDiffer(
                    f"the images of copy {copy.name} have digest {copy_digest(written).hex()}, and the site's copy"
                    f" {digest.hex()}",
                    group=group,
                    hint="compare the sites with: tidelog pitc verify; nothing was kept of the export",
                )
            manifest = _manifest(store, copy, digest, written)
            _write_durably(folder / MANIFEST, json_format.dumps(manifest, indent=2).encode() + b"\n")
    if json:
        emit_json(invocation, {"folder": str(place), "manifest": manifest})
    else:
        images = "1 image" if len(copy.volumes) == 1 else f"{len(copy.volumes)} images"
        invocation.say(f"exported copy {copy.name} of group {group} to {place}: {images}, {size_text(size)}, verified")


def export_image(
    invocation: Invocation, name: str, group: str, site: str | None, volume_name: str, place: Path
) -> dict[str, Any]:
    """Writes one volume's image; what there is to say of it. Raises as `export_images`."""
    with opened_copy(invocation, group, site, name, HoldKind.EXPORT) as (store, copy):
        volume = copied_volume(copy, volume_name)
        digest = store.volume_digest(volume, copy)
        with new_file(place) as file, byte_bar(invocation, f"exporting {volume.name}", 2 * volume.size) as advance:
            write_sparse(file, volume.size, store.stream(volume, copy), advance)
            file.flush()
            written = image_digest(Path(file.name), volume, advance)
            if written != digest:
                raise CopiesDiffer(
                    f"the image of volume {volume.name} has digest {written.hex()}, and the site's copy {digest.hex()}",
                    group=group,
                    hint="compare the sites with: tidelog pitc verify; nothing was kept of the export",
                )
    invocation.say(f"exported volume {volume.name} of copy {copy.name} to {place}, {size_text(volume.size)}, verified")
    return {"volume": volume.name, "file": str(place), "size": volume.size, "digest": digest.hex()}


def image_digest(path: Path, volume: VolumeInfo, advance: Advance) -> bytes:
    """The digest of a raw image as that of the volume that it was made from (DESIGN section 5)."""
    total = block = 0
    part_bytes = PART_BYTES - PART_BYTES % volume.block_size
    with path.open("rb") as file:
        while part := file.read(part_bytes):
            if part.count(0) == len(part):
                block += -(-len(part) // volume.block_size)
            else:
                for start in range(0, len(part), volume.block_size):
                    content = part[start : start + volume.block_size]
                    total += block_digest(volume.id, block, content, volume.block_size)
                    block += 1
            advance(len(part))
    return (total % (1 << 8 * DIGEST_SIZE)).to_bytes(DIGEST_SIZE)


def _write_image(path: Path, store: CopySource, volume: VolumeInfo, copy: Copy, advance: Advance) -> None:
    with path.open("xb") as file:
        write_sparse(file, volume.size, store.stream(volume, copy), advance)
        file.flush()
        os.fsync(file.fileno())


def _manifest(store: CopySource, copy: Copy, digest: bytes, written: list[tuple[VolumeInfo, bytes]]) -> dict[str, Any]:
    return {
        "version": JSON_VERSION,
        "tidelog": tidelog.__version__,
        "group": store.identity.group,
        "group_id": store.identity.group_id,
        "site": store.identity.site,
        "name": copy.name,
        "sequence": copy.sequence,
        "seal": copy.seal.hex(),
        "time": iso(copy.timestamp_us),
        "digest": digest.hex(),
        "volumes": [
            {
                "id": volume.id,
                "name": volume.name,
                "size": volume.size,
                "block_size": volume.block_size,
                "digest": volume_digest.hex(),
                "image": _image(volume),
            }
            for volume, volume_digest in written
        ],
    }


def _image(volume: VolumeInfo) -> str:
    return f"{volume.name}.img"


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
