"""`tidelog pitc diff`: which extents of which volumes changed between two copies."""

from rich.text import Text

from tidelog.gateways.cli.copy_archive import stored_copy
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, emit_table, size_text
from tidelog.gateways.cli.reading import opened_store
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.diff import Change, VolumeDiff, diff
from tidelog.stores.store import Copy

_STYLES = {Change.CREATED: "green", Change.DELETED: "red", Change.RESIZED: "yellow"}


def diff_copies(
    invocation: Invocation, first: str, second: str, group: str, site: str | None, *, exact: bool, json: bool
) -> None:
    """From the elder copy to the newer, in whichever order they are named. Raises `NotFound`, `UsageError`."""
    with opened_store(invocation, group, site) as store:
        elder, newer = sorted(
            (stored_copy(invocation, store, name) for name in (first, second)), key=lambda copy: copy.sequence
        )
        found = diff(store.contents(elder), store.contents(newer), exact=exact)
        at = store.identity.site
    if json:
        document = {
            "group": group,
            "site": at,
            "from": _copy_json(elder),
            "to": _copy_json(newer),
            "exact": exact,
            "volumes": [_volume_json(one) for one in found],
        }
        emit_json(invocation, document)
        return
    how = "blocks whose content differs" if exact else "blocks that were written to"
    invocation.say(f"copy {elder.name} (sequence {elder.sequence}) to {newer.name} (sequence {newer.sequence}): {how}")
    if not found:
        invocation.say("no volume changed")
        return
    rows: list[tuple[str | Text, ...]] = [
        (
            one.volume.name,
            Text(one.change.value, style=_STYLES.get(one.change, "")),
            _sizes(one),
            str(one.blocks.count),
            str(sum(1 for _ in one.extents())),
            size_text(one.changed_bytes),
        )
        for one in found
    ]
    columns = ("volume", "change", "size", "blocks", "extents", "changed")
    emit_table(invocation, columns, rows, ("size", "blocks", "extents", "changed"))


def _sizes(one: VolumeDiff) -> str:
    if one.change is Change.RESIZED and one.before is not None:
        return f"{size_text(one.before.size)} -> {size_text(one.volume.size)}"
    return size_text(one.volume.size)


def _copy_json(copy: Copy) -> dict[str, object]:
    return {"name": copy.name, "sequence": copy.sequence, "seal": copy.seal.hex()}


def _volume_json(one: VolumeDiff) -> dict[str, object]:
    def size(volume: VolumeInfo | None) -> int | None:
        return None if volume is None else volume.size

    return {
        "id": one.volume.id,
        "name": one.volume.name,
        "change": one.change.value,
        "block_size": one.volume.block_size,
        "size_before": size(one.before),
        "size_after": size(one.after),
        "blocks": one.blocks.count,
        "bytes": one.changed_bytes,
        "extents": [{"offset": offset, "length": length} for offset, length in one.extents()],
    }
