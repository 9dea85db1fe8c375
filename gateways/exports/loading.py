"""Bringing an export back: into an empty store of a site, as its base."""

from collections.abc import Sequence
from contextlib import closing

from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.errors import ExportDamaged, UsageError
from tidelog.gateways.exports.blocks import read_blocks
from tidelog.gateways.exports.checking import check_bytes
from tidelog.gateways.exports.manifest import Manifest, read_manifest
from tidelog.gateways.exports.place import Place, place_of
from tidelog.gateways.files import Advance
from tidelog.stores.ahead import ahead
from tidelog.stores.digest import copy_digest
from tidelog.stores.image import Store
from tidelog.stores.loading import Loading
from tidelog.stores.placing import placed
from tidelog.stores.store import Copy, CopyOrigin

Export = tuple[Place, Manifest]

# What `tidelog.stores.loading.Loading` calls these: several exports on top of one another, which no load goes on with.
IMPORTED = "import"


def open_exports(urls: Sequence[str], group: str | None) -> list[Export]:
    """The exports at these places: a whole one, and then those that were made since the one before each.

    Raises `UsageError` if that is not what they are, or one is of another group than ``group``; `ExportDamaged`.
    """
    found = [(place, read_manifest(place)) for place in map(place_of, urls)]
    before: Manifest | None = None
    for place, manifest in found:
        if group is not None and manifest.group != group:
            raise UsageError(f"{place.url} is an export of group {manifest.group}, not {group}")
        _check_follows(place, manifest, before)
        before = manifest
    return found


def import_exports(deployment: Deployment, site: str, exports: Sequence[Export], advance: Advance) -> Copy:
    """Loads exports from `open_exports` into the empty store of ``site``; the last one's copy is then the site's only
    copy, and its position. A worker goes on from there.

    All files' checksums are looked at first. Until the digest of what stands in the store is the copy's, the store has
    no position, and is not served; killed or failed, the import is to be run again. ``advance`` is told of
    `work` bytes in all.

    Raises `NotFound` for an unknown site or group; `UsageError` if the group there is another one; `ExportDamaged`,
    with nothing changed if a file is; `AlreadyExists` if the store is not empty; `StoreUnavailable`, `WrongStore`.
    """
    find_site(deployment.config, site)
    last = exports[-1][1]
    record = deployment.cluster.find_group(last.group)
    if record.group_id != last.group_id:
        raise UsageError(
            f"{exports[-1][0].url} is an export of another group {last.group} ({last.group_id}), not of the one there"
            f" is ({record.group_id})",
            hint="a group that was made anew is another group, whatever its name",
        )
    if last.pitc.origin is CopyOrigin.TIME:
        raise UsageError(
            f"{exports[-1][0].url} is an export of a copy by time, which may end inside a write batch",
            hint="a site can begin from a marker's copy; its blocks can be read from this one all the same",
        )
    if last.pitc.origin is CopyOrigin.LOST:
        raise UsageError(
            f"{exports[-1][0].url} is an export of a lost history, which the log does not go on from",
            hint="its blocks can be read all the same, and written to a volume: tidelog volume import",
        )
    for place, manifest in exports:
        check_bytes(place, manifest, advance).check(place)
    store = open_store(deployment, site, last.group, create=True)
    try:
        return _load(store, exports, advance)
    finally:
        store.close()


def work(exports: Sequence[Export]) -> int:
    """What `import_exports` tells ``advance`` in all: every file twice, and then every volume."""
    volumes = sum(volume.size for volume in exports[-1][1].volumes)
    return 2 * sum(manifest.size for _, manifest in exports) + volumes


def _load(store: Store, exports: Sequence[Export], advance: Advance) -> Copy:
    place, last = exports[-1]
    kept = {volume.id for volume in last.volumes}
    copy, digest = last.copy_record, bytes.fromhex(last.pitc.digest)
    with placed(store.identity), store.load_base(Loading.of(IMPORTED, place.url, copy, digest)) as base:
        for _ in base.erase():
            pass
        for part, manifest in exports:
            for volume in manifest.volumes:
                if volume.id in kept:  # else it was deleted since
                    with closing(ahead(read_blocks(part, volume, advance))) as parts:
                        for blocks in parts:
                            base.put(volume.info, blocks)
        for volume in last.volumes:
            base.name(volume.info, volume.named_blocks)
        proved = []
        for info in copy.volumes:
            proved.append((info, base.prove(info)))
            advance(info.size)
        if copy_digest(proved) != digest:
            base.withdraw()
            raise ExportDamaged(
                f"what was imported from {place.url} has another digest than copy {last.pitc.name}",
                hint="check it with: tidelog export verify; the site is not served until an import is whole",
            )
        return base.finish(copy, proved, last.pair_bitmaps, None)


def _check_follows(place: Place, manifest: Manifest, before: Manifest | None) -> None:
    since = manifest.since
    if before is None:
        if since is not None:
            raise UsageError(
                f"{place.url} holds only what changed since copy {since.name} (sequence {since.sequence})",
                hint="name an export of that copy first",
            )
        return
    if manifest.group_id != before.group_id:
        raise UsageError(f"{place.url} is of another group than the export before it")
    if since is None:
        raise UsageError(f"{place.url} is a whole export, and does not go on from another", hint="import it alone")
    if (since.sequence, since.seal) != (before.pitc.sequence, before.pitc.seal):
        raise UsageError(
            f"{place.url} goes on from copy {since.name} (sequence {since.sequence}), and the export before it is of"
            f" copy {before.pitc.name} (sequence {before.pitc.sequence})"
        )
