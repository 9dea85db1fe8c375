"""`tidelog clone`: writable clones, at one site. `tidelog pitc clone` and `group materialise` make them."""

from pathlib import Path
from typing import Annotated

import typer

from tidelog.clock import iso
from tidelog.consumers.archived_clone import clone_archived
from tidelog.errors import NotFound, UsageError
from tidelog.gateways.cli.clone_content import (
    clone_json,
    export_clone,
    export_whole,
    origin_of,
    read_clone,
    state_of,
    write_clone,
)
from tidelog.gateways.cli.copy_diff import diff_clone
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import Group, Json, Length, Offset
from tidelog.gateways.cli.output import emit_facts, emit_json, emit_table, size_text
from tidelog.gateways.cli.progress import progress_bar
from tidelog.gateways.cli.reading import opened_archive, opened_clone, opened_store
from tidelog.units import parse_size

app = typer.Typer(
    help="Writable clones of copies, for drills, and of any moment; made by `pitc clone` and `group materialise`.",
    no_args_is_help=True,
)

CloneName = Annotated[str, typer.Argument(help="The clone.")]
VolumeName = Annotated[str, typer.Argument(help="The volume.")]
CloneSite = Annotated[str | None, typer.Option("--site", "-s", help="The clone's site. Default: the primary.")]


def make_clone(invocation: Invocation, name: str, clone: str, group: str, site: str | None, *, json: bool) -> None:
    """Makes a clone of a copy at a site, or of an archived one. Raises `NotFound`, `AlreadyExists`, `InvalidName`,
    `UsageError`, and what `clone_archived` does."""
    with opened_store(invocation, group, site) as store:
        at = store.identity.site
        try:
            made = store.clones.create(store.clonable(name), clone)
            of_copy, kept = made.base.name, "its copy stays for as long as it does"
        except NotFound:
            with opened_archive(invocation, group, name, at) as source:
                if source is None:
                    raise
                made = clone_archived(store, source, source.copy, clone)
                of_copy, kept = source.copy.name, f"all its blocks were brought from {source.place}"
    if json:
        emit_json(invocation, {"group": group, "site": at} | clone_json(made))
        return
    invocation.say(f"clone {clone} of copy {of_copy} (sequence {made.image.sequence}) of group {group} at {at}; {kept}")


@app.command("list")
def list_clones(context: typer.Context, group: Group, site: CloneSite = None, json: Json = False) -> None:
    """The clones at a site, and what they are of; those that are still being materialised as `forming`."""
    invocation = of(context)
    with opened_store(invocation, group, site) as store:
        clones, at = store.clones.all(), store.identity.site
    if json:
        emit_json(invocation, {"group": group, "site": at, "clones": [clone_json(clone) for clone in clones]})
        return
    rows = [
        (
            clone.name,
            origin_of(clone),
            str(clone.image.sequence),
            state_of(clone),
            iso(clone.created_us),
            str(len(clone.image.volumes)),
        )
        for clone in clones
    ]
    emit_table(invocation, ("clone", "of", "sequence", "state", "made", "volumes"), rows, ("sequence", "volumes"))


@app.command()
def show(
    context: typer.Context,
    name: CloneName,
    group: Group,
    site: CloneSite = None,
    digest: Annotated[bool, typer.Option("--digest", help="Its digest too: all of it is read.")] = False,
    json: Json = False,
) -> None:
    """One clone: what it is of, its volumes, and how much of each was changed in it, or by the log since its copy."""
    invocation = of(context)
    with opened_clone(invocation, name, group, site) as clone:
        info, at = clone.info, site or invocation.config.primary
        computed = clone.digest().hex() if digest else None
        changed = [(volume.info, volume.diff()) for volume in clone.volumes()]
    if json:
        volumes = [
            {
                "id": volume.id,
                "name": volume.name,
                "size": volume.size,
                "block_size": volume.block_size,
                "blocks_changed": diff.blocks.count,
                "bytes_changed": diff.changed_bytes,
                "extents": [{"offset": offset, "length": length} for offset, length in diff.extents()],
            }
            for volume, diff in changed
        ]
        emit_json(
            invocation, {"group": group, "site": at} | clone_json(info) | {"digest": computed, "volumes": volumes}
        )
        return
    emit_facts(
        invocation,
        [
            ("clone", info.name),
            ("group", group),
            ("site", str(at)),
            ("of", f"{origin_of(info)}, sequence {info.image.sequence}, {iso(info.image.timestamp_us)}"),
            ("made", iso(info.created_us)),
            *([("digest", computed)] if computed else []),
        ],
    )
    rows = [
        (volume.name, str(volume.id), size_text(volume.size), str(diff.blocks.count), size_text(diff.changed_bytes))
        for volume, diff in changed
    ]
    columns = ("volume", "id", "size", "changed blocks", "changed")
    emit_table(invocation, columns, rows, columns[1:])


@app.command()
def read(
    context: typer.Context,
    name: CloneName,
    volume: VolumeName,
    group: Group,
    offset: Offset = "0",
    length: Length = None,
    site: CloneSite = None,
) -> None:
    """Bytes of a clone's volume, raw, to stdout."""
    read_clone(of(context), name, volume, group, site, offset, length)


@app.command()
def write(
    context: typer.Context,
    name: CloneName,
    volume: VolumeName,
    group: Group,
    offset: Offset = "0",
    source: Annotated[str, typer.Option("--input", "-i", help="A file, or - for stdin.")] = "-",
    site: CloneSite = None,
) -> None:
    """Writes bytes at an offset of a clone's volume; its copy does not change."""
    write_clone(of(context), name, volume, group, site, parse_size(offset), source)


@app.command()
def export(
    context: typer.Context,
    name: CloneName,
    group: Group,
    volume: Annotated[str | None, typer.Argument(help="The volume.")] = None,
    file: Annotated[Path | None, typer.Argument(help="The file to make; must not exist.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="All of it as Avro files, to a folder or URL.")] = None,
    site: CloneSite = None,
    json: Json = False,
) -> None:
    """Writes a clone's volume to a raw, sparse file; or with --to one that was materialised, and not written to, as
    Avro files with a manifest. A clone that is written to meanwhile is refused (exit code 3)."""
    if to is not None and volume is None:
        export_whole(of(context), name, to, group, site, json=json)
    elif to is None and volume is not None and file is not None:
        export_clone(of(context), name, volume, file, group, site)
    else:
        raise UsageError("say what to export: VOLUME FILE for a raw image, or --to PLACE for all of it")


@app.command()
def diff(
    context: typer.Context,
    name: CloneName,
    other: Annotated[str, typer.Argument(help="Another clone, or else a copy, at the same site.")],
    group: Group,
    site: CloneSite = None,
    json: Json = False,
) -> None:
    """Which extents differ between two clones, or a clone and a copy, by their contents."""
    diff_clone(of(context), name, other, group, site, json=json)


@app.command()
def drop(context: typer.Context, name: CloneName, group: Group, site: CloneSite = None, json: Json = False) -> None:
    """Drops a clone, and frees all that it took. Cut short, the site's worker goes on with it."""
    invocation = of(context)
    with opened_store(invocation, group, site) as store, progress_bar(invocation) as bar:
        task = bar.add_task(f"freeing clone {name}", total=None)
        store.clones.drop(name, lambda count: bar.update(task, description=f"freeing clone {name}", advance=count))
        at = store.identity.site
    if json:
        emit_json(invocation, {"group": group, "site": at, "name": name, "dropped": True})
    else:
        invocation.say(f"clone {name} of group {group} at {at} is dropped")
