"""`tidelog export`: exports themselves, with no group, site or log."""

from typing import Annotated

import typer
from rich.text import Text

from tidelog.gateways.cli.exit_codes import OK
from tidelog.gateways.cli.invocation import of
from tidelog.gateways.cli.options import Json
from tidelog.gateways.cli.output import emit_json, emit_table
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.exports.checking import check_export
from tidelog.gateways.exports.manifest import read_manifest
from tidelog.gateways.exports.place import place_of

app = typer.Typer(help="Exports of copies; made by `pitc export`, brought back by `pitc import`.", no_args_is_help=True)


@app.callback()
def exports() -> None:
    """Exports of copies; made by `pitc export`, brought back by `pitc import`."""


@app.command()
def verify(
    context: typer.Context,
    place: Annotated[str, typer.Argument(help="A folder, or a URL such as s3://bucket/folder.")],
    json: Json = False,
) -> int:
    """Reads an export and checks every block against its digests; exit code 3 if a file is damaged, which is named."""
    invocation = of(context)
    where = place_of(place)
    manifest = read_manifest(where)
    with byte_bar(invocation, f"checking {place}", manifest.size) as advance:
        found = check_export(where, manifest, advance)
    if json:
        document = {
            "place": place,
            "group": manifest.group,
            "name": manifest.pitc.name,
            "sequence": manifest.pitc.sequence,
            "digest": manifest.pitc.digest,
            "since": None if manifest.since is None else manifest.since.model_dump(mode="json"),
            "good": not found.problems,
            "files": [{"file": one.file, "problem": one.problem} for one in found.files],
        }
        emit_json(invocation, document)
    else:
        rows = [
            (one.file, Text("good", "green") if one.problem is None else Text(one.problem, "bold red"))
            for one in found.files
        ]
        emit_table(invocation, ("file", ""), rows)
    found.check(where)
    invocation.say(f"a good export of {manifest.pitc.what} (sequence {manifest.pitc.sequence}) of {manifest.group}")
    return OK
