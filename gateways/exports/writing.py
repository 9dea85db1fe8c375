"""Writing an export: blocks, read again and proved, and the manifest last."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Protocol

from tidelog.errors import CopiesDiffer, UsageError
from tidelog.gateways.exports.blocks import CODEC, Written, write_blocks
from tidelog.gateways.exports.checking import file_sum
from tidelog.gateways.exports.manifest import (
    MANIFEST,
    ExportedFile,
    ExportedVolume,
    Manifest,
    describe,
    packed,
    read_manifest,
)
from tidelog.gateways.exports.place import Place, new_place
from tidelog.gateways.files import Advance
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.ahead import ahead
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.contents import Block, CopyContents
from tidelog.stores.diff import changed_blocks
from tidelog.stores.digest import copy_digest, digest_bytes
from tidelog.stores.pairs import Pair
from tidelog.stores.store import Copy, HoldKind, Identity


class Held(Protocol):
    """What is held while it is exported: the copy as it is read."""

    @property
    def copy(self) -> Copy: ...


class ExportSource(Protocol):
    """What an export is made from: a site's store, or what stands in for one (`tidelog.gateways.exports.clones`)."""

    @property
    def identity(self) -> Identity:
        """Whose copies these are."""

    def hold(self, copy: Copy, kind: HoldKind) -> AbstractContextManager[Held]:
        """Keeps the copy."""

    def digest(self, copy: Copy) -> bytes:
        """The copy's digest."""

    def volume_digest(self, volume: VolumeInfo, copy: Copy) -> bytes:
        """One volume's."""

    def contents(self, copy: Copy) -> CopyContents:
        """The copy's blocks."""

    def pairs(self, copy: Copy) -> dict[Pair, ChangeBitmap]:
        """See `Store.pairs`."""


def write_export(store: ExportSource, copy: Copy, url: str, since: Copy | None, advance: Advance) -> Manifest:
    """Exports ``copy`` to ``url``, or with ``since``, an elder copy at the same site, what was named between the two.

    Memory is bounded whatever the size. What was written is read again, and must have the digest that the site's copy
    has, before the manifest makes it an export. ``advance`` is told of bytes of content. The export holds its copies:
    dropped meanwhile, they are exported all the same.

    Raises `AlreadyExists`; `UsageError`; `CopiesDiffer` if what was written is not what the site says; `ExportDamaged`
    if it is not what was written; `NotFound` if a copy is not there; OSErrors of the place. Nothing is left.
    """
    if since is not None and since.generation >= copy.generation:
        raise UsageError(
            f"copy {since.name} (sequence {since.sequence}) is not older than copy {copy.name}"
            f" (sequence {copy.sequence})",
            hint="--since takes a copy that was made before",
        )
    with ExitStack() as leases:
        held = leases.enter_context(store.hold(copy, HoldKind.EXPORT)).copy
        elder = None if since is None else leases.enter_context(store.hold(since, HoldKind.EXPORT)).copy
        return _write_held(store, held, url, elder, advance)


def content_bytes(store: ExportSource, copy: Copy, since: Copy | None = None) -> int:
    """How many bytes of content `write_export` tells of at most: blocks that are zeros are left out. Raises
    `NotFound`."""
    contents = store.contents(copy)
    named = [
        (contents.named(volume) if since is None else changed_blocks(contents, volume, since), volume.block_size)
        for volume in copy.volumes
    ]
    return sum(blocks.count * block_size for blocks, block_size in named)


def _write_held(store: ExportSource, copy: Copy, url: str, since: Copy | None, advance: Advance) -> Manifest:
    with new_place(url) as place:
        digest = store.digest(copy)
        volumes = [_export_volume(place, store, copy, since, volume, advance) for volume in copy.volumes]
        written = copy_digest([(volume.info, bytes.fromhex(volume.digest)) for volume in volumes])
        if written != digest:
            raise _differs(store, copy, f"digest {written.hex()}, and the site's copy {digest.hex()}")
        manifest = describe(store.identity, copy, digest, since, CODEC, volumes, store.pairs(copy))
        with place.create(MANIFEST) as file:
            file.write(manifest.encode())
        place.sync(MANIFEST)
        read_manifest(place)  # and its checksum
    return manifest


def _export_volume(
    place: Place, store: ExportSource, copy: Copy, since: Copy | None, volume: VolumeInfo, advance: Advance
) -> ExportedVolume:
    contents = store.contents(copy)
    if since is None:
        named = contents.named(volume)
        blocks = _with_content(contents.blocks(volume, named), volume.block_size)
    else:
        named = changed_blocks(contents, volume, since)
        blocks = contents.blocks(volume, named)
    about = {
        "tidelog.group_id": store.identity.group_id,
        "tidelog.sequence": str(copy.sequence),
        "tidelog.seal": copy.seal.hex(),
    }
    digest = store.volume_digest(volume, copy)
    # Closed here, not some time: elsewhere than on this machine a file that is closed is a file that is there.
    with (
        closing(ahead(blocks)) as parts,
        closing(write_blocks(place, volume, parts, about, named.count, advance)) as files,
    ):
        proved = _proved(place, volume, files)
    total = digest_bytes(int(file.digest, 16) for file in proved)
    if total != _expected(store, since, volume, named, digest):
        raise _differs(store, copy, f"volume {volume.name} has other blocks than its digest says")
    return ExportedVolume(
        id=volume.id,
        name=volume.name,
        size=volume.size,
        block_size=volume.block_size,
        digest=digest.hex(),
        files=tuple(proved),
        named=packed(contents.named(volume)),
    )


def _proved(place: Place, volume: VolumeInfo, files: Iterable[Written]) -> list[ExportedFile]:
    """The files, each brought to disk and read again while the next is written."""
    found: list[ExportedFile] = []
    reading: Future[ExportedFile] | None = None
    thread = ThreadPoolExecutor(1, "tidelog-proof")

    def prove(file: Written, after: int) -> ExportedFile:
        place.sync(file.name)
        digest, _ = file_sum(place, volume, file, after, lambda _: None)
        size, checksum, blocks = file.size, file.checksum, file.blocks
        return ExportedFile(name=file.name, size=size, checksum=checksum, blocks=blocks, digest=digest.hex())

    try:
        last = -1
        for file in files:
            if reading is not None:
                found.append(reading.result())
            reading, last = thread.submit(prove, file, last), file.last
        if reading is not None:
            found.append(reading.result())
    finally:
        thread.shutdown()
    return found


def _expected(store: ExportSource, since: Copy | None, volume: VolumeInfo, named: ChangeBitmap, digest: bytes) -> bytes:
    """What the blocks must add up to: the volume's digest; of a part, by how much that differs from the elder's, and
    what the same blocks added up to there."""
    before = None if since is None else next((row for row in since.volumes if row.id == volume.id), None)
    if since is None or before is None:
        return digest
    rest = int.from_bytes(store.contents(since).digest_of(before, named))
    return digest_bytes((int.from_bytes(digest), -int.from_bytes(store.volume_digest(before, since)), rest))


def _with_content(parts: Iterable[list[Block]], block_size: int) -> Iterator[list[Block]]:
    """Without the blocks that are all zeros: a whole copy needs none of them."""
    zeros = bytes(block_size)
    for part in parts:
        if kept := [block for block in part if block[1] != zeros[: len(block[1])]]:
            yield kept


def _differs(store: ExportSource, copy: Copy, what: str) -> CopiesDiffer:
    return CopiesDiffer(
        f"what was written of copy {copy.name} is not what site {store.identity.site} says it is: {what}",
        group=store.identity.group,
        hint="compare the sites with: tidelog pitc verify; nothing was kept of the export",
    )
