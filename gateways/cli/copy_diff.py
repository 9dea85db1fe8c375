"""`tidelog pitc diff`: which extents of which volumes changed between two copies."""

from contextlib import ExitStack
from dataclasses import replace

from rich.text import Text

from tidelog.gateways.cli.copy_archive import stored_copy
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, emit_table, size_text
from tidelog.gateways.cli.reading import opened_store
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.contents import CopyContents
from tidelog.stores.diff import Change, VolumeDiff, diff, diff_contents
from tidelog.stores.store import Copy, HoldKind

_STYLES = {Change.CREATED: "green", Change.DELETED: "red", Change.RESIZED: "yellow"}


def diff_copies(
    invocation: Invocation, first: str, second: str, group: str, site: str | None, *, exact: bool, json: bool
) -> None:
    """From the elder copy to the newer, in whichever order they are named. Raises `NotFound`, `UsageError`."""
    with opened_store(invocation, group, site) as store:
        elder, newer = sorted(
            (stored_copy(invocation, store, name) for name in (first, second)), key=lambda copy: copy.generation
        )
        found = diff(store.contents(elder), store.contents(newer), exact=exact)
        at = store.identity.site
    how = "blocks whose content differs" if exact else "blocks that were written to"
    show_diff(invocation, {"group": group, "site": at}, elder, newer, found, how, exact=exact, json=json)


def diff_clone(invocation: Invocation, name: str, other: str, group: str, site: str | None, *, json: bool) -> None:
    """By contents, from the elder moment to the newer. ``other`` is a clone, or else a copy. Raises `NotFound`."""
    with opened_store(invocation, group, site) as store, ExitStack() as opened:

        def contents(of: str) -> CopyContents:
            image = store.clones.image(store.clones.find(of))
            opened.callback(image.close)
            return image.contents()

        first = contents(name)
        if any(clone.name == other for clone in store.clones.all()):
            second = contents(other)
        else:
            second = store.contents(opened.enter_context(store.hold(store.copy(other), HoldKind.VOLUME)).copy)
        elder, newer = sorted(((other, second), (name, first)), key=lambda one: one[1].copy.sequence)
        found, at = diff_contents(elder[1], newer[1]), store.identity.site
    of = {"group": group, "site": at}
    before, after = (replace(contents.copy, name=label) for label, contents in (elder, newer))
    show_diff(invocation, of, before, after, found, "blocks whose content differs", exact=True, json=json)


def show_diff(
    invocation: Invocation,
    where: dict[str, str],
    elder: Copy,
    newer: Copy,
    found: list[VolumeDiff],
    how: str,
    *,
    exact: bool,
    json: bool,
) -> None:
    """What changed, as a table or for programs."""
    if json:
        between = {"from": _copy_json(elder), "to": _copy_json(newer), "exact": exact}
        emit_json(invocation, {**where, **between, "volumes": [_volume_json(one) for one in found]})
        return
    invocation.say(f"{elder.name} (sequence {elder.sequence}) to {newer.name} (sequence {newer.sequence}): {how}")
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
