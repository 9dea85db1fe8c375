"""Putting a copy into an archive: an export, verified where it stands and told to everybody; dropping comes after.

Each step leaves a state from which the same call goes on: an export that is there and whole is not written again, one
that is not is left alone and another place taken, and the copy is dropped last, by whoever called.
"""

from collections.abc import Collection
from pathlib import Path

from tidelog.clock import wall_us
from tidelog.consumers.archive_policy import Archive
from tidelog.errors import ExportDamaged, UsageError
from tidelog.gateways.exports.checking import check_export
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import place_of
from tidelog.gateways.exports.writing import write_export
from tidelog.gateways.files import Advance
from tidelog.producers.archived import require_equal
from tidelog.producers.control import Control
from tidelog.schemas.control import CopyArchived
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, CopyOrigin

# Places that are tried for one copy: each is taken by an export that was cut short, or was damaged since.
TRIES = 100


def archive_copy(
    store: Store, copy: Copy, base: str, control: Control, advance: Advance, sites: Collection[str]
) -> CopyArchived:
    """Exports a copy to a place of its own under ``base``, a folder or URL, reads all of it again, and tells the
    control topic. The store still has the copy. ``advance`` is told of bytes written, and of bytes of files read again.

    A copy by marker goes from every one of the configured ``sites`` for this archive, so it must be what they have:
    see `tidelog.producers.archived.require_equal`, asked before and after. Raises as that and `write_export` do, and
    `ExportDamaged` if what stands there is not the copy: then nothing was told.
    """
    digest = store.digest(copy)
    who = store.identity

    def compare() -> None:
        if copy.origin is CopyOrigin.MARKER:
            identity = copy.sequence, copy.seal, copy.name
            require_equal(control.snapshot(), who.group, identity, digest, who.site, sites)

    compare()
    place = _whole_export(store, copy, base, digest, advance)
    compare()
    record = CopyArchived(
        site=who.site,
        group=who.group,
        group_id=who.group_id,
        sequence=copy.sequence,
        seal=copy.seal,
        name=copy.name,
        timestamp_us=copy.timestamp_us,
        digest=digest,
        place=place,
        archived_us=wall_us(),
    )
    control.publish(record)
    return record


def archiving(control: Control, sites: Collection[str]) -> Archive:
    """What a site's worker archives with; ``sites`` are the configured ones."""

    def archive(store: Store, copy: Copy, base: str, advance: Advance) -> CopyArchived:
        return archive_copy(store, copy, base, control, advance, sites)

    return archive


def place_under(base: str, store: Store, copy: Copy, attempt: int) -> str:
    """``BASE/GROUP-COPY-SEQUENCE-SEAL``, with a number behind it from the second attempt on; of a folder of this
    machine the absolute path, since others read it, too."""
    root = base if "://" in base else str(Path(base).resolve())
    name = f"{store.identity.group}-{copy.name}-{copy.sequence}-{copy.seal.hex()[:8]}"
    return f"{root.rstrip('/')}/{name}" + (f".{attempt}" if attempt > 1 else "")


def _whole_export(store: Store, copy: Copy, base: str, digest: bytes, advance: Advance) -> str:
    for attempt in range(1, TRIES + 1):
        url = place_under(base, store, copy, attempt)
        if place_of(url).exists():
            if _is_good(url, store, copy, digest, advance):
                return url
            continue
        write_export(store, copy, url, None, advance)
        place = place_of(url)
        check_export(place, read_manifest(place), advance).check(place)
        return url
    raise UsageError(
        f"{TRIES} places for copy {copy.name} under {base} are taken, and none is a whole export of it",
        hint="look what is there, and take away what is not needed",
    )


def _is_good(url: str, store: Store, copy: Copy, digest: bytes, advance: Advance) -> bool:
    """Whether a whole export of this very copy stands there already."""
    place = place_of(url)
    try:
        manifest = read_manifest(place)
        if check_export(place, manifest, advance).problems:
            return False
    except (UsageError, ExportDamaged):
        return False
    said = manifest.pitc
    found = manifest.group_id, said.sequence, said.seal, said.digest, manifest.since
    return found == (store.identity.group_id, copy.sequence, copy.seal.hex(), digest.hex(), None)
