"""`tidelog volume`: byte-addressed, thin volumes."""

from pathlib import Path
from typing import Annotated

import typer

from tidelog.errors import UsageError
from tidelog.gateways.cli.invocation import of
from tidelog.gateways.cli.options import AtSite, Group, Json, Length, Offset, TakeOver
from tidelog.gateways.cli.output import emit_facts, emit_json, emit_table, size_text
from tidelog.gateways.cli.reading import opened_store, send_copy, send_live
from tidelog.gateways.cli.volume_copies import copy_volume
from tidelog.gateways.cli.volume_export import export_volume
from tidelog.gateways.cli.volume_import import import_file, write_input
from tidelog.gateways.cli.volume_resize import resize_volume
from tidelog.gateways.cli.writers import writing
from tidelog.names import check_name
from tidelog.producers.rules import volume_to_create
from tidelog.schemas.volumes import DEFAULT_BLOCK_SIZE, VolumeInfo
from tidelog.units import parse_size

app = typer.Typer(help="Volumes of a group: byte-addressed and thin.", no_args_is_help=True)

VolumeName = Annotated[str, typer.Argument(help="The volume.")]
BlockSize = Annotated[str, typer.Option("--block-size", help="A power of two from 512 to 64KiB.")]
OfCopy = Annotated[str | None, typer.Option("--pitc", help="As it was in this copy, instead of live.")]


@app.command()
def create(
    context: typer.Context,
    name: VolumeName,
    group: Group,
    size: Annotated[str, typer.Option("--size", help="Bytes, or such as 64MiB or 1GiB.")],
    block_size: BlockSize = str(DEFAULT_BLOCK_SIZE),
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Makes a volume; one of that name with the same sizes is left as it is."""
    invocation = of(context)
    check_name("volume", name)
    wanted, block = parse_size(size), parse_size(block_size)
    with writing(
        invocation,
        group,
        take_over=take_over,
        check=lambda state, _: volume_to_create(state, name, wanted, block, group),
    ) as opened:
        there = opened.session.state.volumes.named(name) is not None
        info = opened.create_volume(name, wanted, block).info
    if json:
        emit_json(invocation, {"group": group, "created": not there} | _as_json(info))
    else:
        which = f"volume {name} of group {group}" + (" was there already" if there else "")
        invocation.say(f"{which}: {size_text(info.size)} in blocks of {info.block_size} bytes")


@app.command("list")
def list_volumes(context: typer.Context, group: Group, site: AtSite = None, json: Json = False) -> None:
    """The live volumes, as a site holds them."""
    invocation = of(context)
    with opened_store(invocation, group, site) as store:
        infos, at = store.volumes(), store.identity.site
    if json:
        emit_json(invocation, {"group": group, "site": at, "volumes": [_as_json(info) for info in infos]})
        return
    rows = [(info.name, str(info.id), size_text(info.size), str(info.block_size)) for info in infos]
    emit_table(invocation, ("volume", "id", "size", "block size"), rows, ("id", "size", "block size"))


@app.command()
def show(context: typer.Context, name: VolumeName, group: Group, site: AtSite = None, json: Json = False) -> None:
    """One live volume, as a site holds it."""
    invocation = of(context)
    with opened_store(invocation, group, site) as store:
        info, at = store.volume(name), store.identity.site
        sequence = store.position().head.sequence
    if json:
        emit_json(invocation, {"group": group, "site": at, "sequence": sequence} | _as_json(info))
        return
    facts = [
        ("volume", info.name),
        ("group", group),
        ("id", str(info.id)),
        ("size", f"{size_text(info.size)} ({info.size} bytes, {info.blocks} blocks)"),
        ("block size", str(info.block_size)),
        ("seen at", f"{at}, sequence {sequence}"),
    ]
    emit_facts(invocation, [(label, value) for label, value in facts])


@app.command()
def resize(
    context: typer.Context,
    name: VolumeName,
    group: Group,
    size: Annotated[str, typer.Option("--size", help="The new size: bytes, or such as 2GiB.")],
    shrink: Annotated[bool, typer.Option("--shrink", help="Allow a smaller size: what is cut off is lost.")] = False,
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Changes a volume's size at every site, by an event in the log. Copies keep theirs."""
    resize_volume(of(context), name, group, parse_size(size), shrink=shrink, take_over=take_over, json=json)


@app.command()
def write(
    context: typer.Context,
    name: VolumeName,
    group: Group,
    offset: Offset = "0",
    source: Annotated[str, typer.Option("--input", "-i", help="A file, or - for stdin.")] = "-",
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Writes bytes at an offset; ends when they are durable in the log."""
    write_input(of(context), name, group, parse_size(offset), source, take_over=take_over, json=json)


@app.command()
def read(
    context: typer.Context,
    name: VolumeName,
    group: Group,
    offset: Offset = "0",
    length: Length = None,
    site: AtSite = None,
    pitc: OfCopy = None,
) -> None:
    """Bytes of a volume at a site, raw, to stdout; all of one position."""
    invocation = of(context)
    if pitc is not None:
        send_copy(invocation, group, site, pitc, name, offset, length)
        return
    with opened_store(invocation, group, site) as store:
        send_live(invocation, store, name, offset, length)


@app.command("import")
def import_volume(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A raw image.")],
    name: VolumeName,
    group: Group,
    create: Annotated[bool, typer.Option("--create", help="Make the volume, as large as the file.")] = False,
    block_size: BlockSize = str(DEFAULT_BLOCK_SIZE),
    take_over: TakeOver = False,
) -> None:
    """Writes a file to the beginning of a volume. Zeros take no room: skipped in a new volume, discarded in another."""
    if not file.exists() or file.is_dir():
        raise UsageError(f"there is no file {file}")
    import_file(of(context), file, name, group, parse_size(block_size) if create else None, take_over=take_over)


@app.command("export")
def export(
    context: typer.Context,
    name: VolumeName,
    file: Annotated[Path, typer.Argument(help="The file to make; must not exist.")],
    group: Group,
    site: AtSite = None,
    pitc: OfCopy = None,
) -> None:
    """Writes a volume to a raw, sparse file, of one point in time.

    A live volume that is written to meanwhile is refused (exit code 3): export a copy, with --pitc.
    """
    export_volume(of(context), name, file, group, site, pitc)


@app.command()
def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="The volume to copy.")],
    target: Annotated[str, typer.Argument(help="The volume that becomes the same; must exist, and not be smaller.")],
    group: Group,
    pitc: OfCopy = None,
    incremental: Annotated[  # noqa: ARG001 (every copy is)
        bool, typer.Option("--incremental", help="Only what has changed since the last one: always so.")
    ] = False,
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Makes a volume the same as another at every site, by a command in the log: no data travel.

    The second copy between two volumes touches only what has changed on either since the first.
    """
    copy_volume(of(context), source, target, group, pitc, take_over=take_over, json=json)


@app.command()
def restore(
    context: typer.Context,
    name: VolumeName,
    group: Group,
    pitc: Annotated[str, typer.Option("--pitc", help="The copy to go back to.")],
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Makes a volume what it was in a copy, at every site, by a command in the log. Other volumes stay as they are."""
    copy_volume(of(context), name, name, group, pitc, take_over=take_over, json=json)


def _as_json(info: VolumeInfo) -> dict[str, object]:
    return {"name": info.name, "id": info.id, "size": info.size, "block_size": info.block_size}
