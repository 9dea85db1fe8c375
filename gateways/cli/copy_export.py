"""`tidelog pitc export`: a copy taken away, as Avro files or as raw images."""

from pathlib import Path

from tidelog.consumers.process_settings import set_for_worker
from tidelog.errors import UsageError
from tidelog.gateways.cli.copy_archive import stored_copy
from tidelog.gateways.cli.copy_images import export_image, export_images
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, size_text
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import opened_store
from tidelog.gateways.exports.writing import content_bytes, write_export

ALL_VOLUMES = "all"


def export_copy(
    invocation: Invocation,
    name: str,
    group: str,
    site: str | None,
    *,
    to: str | None,
    since: str | None,
    raw: list[str],
    json: bool,
) -> None:
    """Raises `UsageError` for options that do not go together, and what the ways of exporting raise."""
    if raw and since is not None:
        raise UsageError("a raw image is of a whole volume", hint="leave out --since, or --raw")
    if raw and raw != [ALL_VOLUMES]:
        _export_files(invocation, name, group, site, to, raw, json=json)
    elif to is None:
        raise UsageError("--to is missing", hint="say where to: --to DIR, or --to URL such as s3://bucket/folder")
    elif raw:
        export_images(invocation, name, group, site, Path(to), json=json)
    else:
        _export_avro(invocation, name, group, site, to, since, json=json)


def _export_avro(
    invocation: Invocation, name: str, group: str, site: str | None, to: str, since: str | None, *, json: bool
) -> None:
    set_for_worker()  # its threads read, write and prove at once
    with opened_store(invocation, group, site) as store:
        copy = stored_copy(invocation, store, name)
        elder = None if since is None else stored_copy(invocation, store, since)
        with byte_bar(invocation, f"exporting {copy.name}", content_bytes(store, copy, elder)) as advance:
            manifest = write_export(store, copy, to, elder, advance)
    if json:
        emit_json(invocation, {"place": to, "manifest": manifest.model_dump(mode="json")})
        return
    what = "" if elder is None else f", what changed since copy {elder.name}"
    files = "1 file" if len(manifest.files) == 1 else f"{len(manifest.files)} files"
    invocation.say(
        f"exported copy {copy.name} of group {group}{what} to {to}: {files}, {size_text(manifest.size)}, verified"
    )


def _export_files(
    invocation: Invocation, name: str, group: str, site: str | None, to: str | None, raw: list[str], *, json: bool
) -> None:
    if to is not None:
        raise UsageError("--raw VOLUME=FILE says where to already", hint=f"leave out --to, or say --raw {ALL_VOLUMES}")
    pairs = [text.partition("=") for text in raw]
    for volume, _, file in pairs:
        if not volume or not file:
            raise UsageError(
                f"--raw takes VOLUME=FILE, or {ALL_VOLUMES} for every volume", hint="such as --raw ledger=ledger.img"
            )
    images = [export_image(invocation, name, group, site, volume, Path(file)) for volume, _, file in pairs]
    if json:
        emit_json(invocation, {"group": group, "name": name, "images": images})
