"""`tidelog sidefile`: what a writer of this machine has accepted while Kafka was away."""

import base64
import json as encoding
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from tidelog.clock import iso
from tidelog.consumers.access import open_group
from tidelog.errors import AlreadyExists, NotFound, SidefileDamaged, UsageError
from tidelog.gateways.cli.confirming import require_somebody
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import Group, GroupHere, GroupOption, Json, OnlyGroup, one_group
from tidelog.gateways.cli.output import emit_json, emit_json_line, emit_table, size_text, time_text
from tidelog.gateways.cli.sidefile_files import find
from tidelog.gateways.standing.documents import sidefile_json
from tidelog.gateways.standing.sidefiles import codec_of, configured, folder_of, state_word, summaries
from tidelog.producers.locked_file import remove, rename
from tidelog.producers.sidefile import SENT, Sidefile
from tidelog.producers.sidefile_folder import active_path, kept_path, list_writes, noted, set_aside
from tidelog.schemas.events import Discard, Marker, WriteBatch

app = typer.Typer(help="What a writer of this machine has accepted while Kafka was away.", no_args_is_help=True)

Name = Annotated[
    str | None, typer.Argument(help="A sidefile, as `sidefile list` names it. Default: the one not drained yet.")
]
COLUMNS = ("group", "name", "state", "writes", "in log", "from", "to", "size", "why")


@app.command("list")
def list_sidefiles(
    context: typer.Context,
    group: OnlyGroup = None,
    json: Json = False,
) -> int:
    """Every sidefile of this machine. Exit code 3 if one holds writes that are in no log, or is damaged."""
    invocation = of(context)
    groups = configured(invocation.config) if group is None else [group]
    found = [one for name in groups for one in summaries(invocation.config, name)]
    if json:
        emit_json(invocation, {"sidefiles": [sidefile_json(one) for one in found]})
    else:
        rows = [
            (
                one.group,
                sidefile_json(one)["name"],
                state_word(one),
                str(one.writes),
                str(one.in_log),
                time_text(one.since_us),
                time_text(one.until_us),
                size_text(one.bytes),
                one.problem or one.kept_because or "-",
            )
            for one in found
        ]
        emit_table(invocation, COLUMNS, rows, ("writes", "in log", "size"))
    return DEGRADED if any(state_word(one) in ("lost", "damaged") for one in found) else OK


@app.command()
def show(context: typer.Context, group: Group, name: Name = None, json: Json = False) -> int:
    """Every write of a sidefile, in order, with its time; up to where it is damaged, if it is (exit code 3)."""
    invocation = of(context)
    sidefile = _open(invocation, find(invocation.config, group, name), group)
    try:
        for line in _lines(sidefile):
            del line["data"]
            if json:
                emit_json_line(invocation, line)
            else:
                where = "" if line["kind"] == "marker" else f"volume {line['volume']} at {line['offset']}"
                what = line["name"] if line["kind"] == "marker" else f"{line['length']} bytes {where}"
                placed = "  in the log" if line["in_log"] else ""
                invocation.out.print(f"{line['time']}  {line['kind']}  {what}{placed}", soft_wrap=True, highlight=False)
        return _damage(invocation, sidefile)
    finally:
        sidefile.close()


@app.command()
def export(
    context: typer.Context,
    group: Group,
    to: Annotated[Path, typer.Option("--to", help="A file that is not there yet: a line of JSON for each write.")],
    name: Name = None,
) -> int:
    """Writes out every write of a sidefile, with its bytes (base64), for people and programs to use as they see fit."""
    invocation = of(context)
    sidefile = _open(invocation, find(invocation.config, group, name), group)
    temporary = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        if to.exists():
            raise AlreadyExists(f"there is a file {to}", hint="nothing that exists is overwritten")
        count = 0
        with temporary.open("x") as out:
            for count, line in enumerate(_lines(sidefile), 1):  # noqa: B007 (said below)
                out.write(encoding.dumps(line) + "\n")
            out.flush()
            os.fsync(out.fileno())
        rename(temporary, to)
        invocation.say(f"{count} writes of {sidefile.path} are in {to}")
        return _damage(invocation, sidefile)
    finally:
        temporary.unlink(missing_ok=True)
        sidefile.close()


@app.command()
def drain(context: typer.Context, group: GroupHere = None, group_option: GroupOption = None) -> None:
    """Puts a sidefile into the log, in order, for an application that does not run any more. Kafka must answer."""
    invocation, group = of(context), one_group(group, group_option)
    path = find(invocation.config, group, None)
    open_group(group, deployment=invocation.deployment, schedule=False).close()
    invocation.say(f"all of {path} is in the log of group {group}")


@app.command()
def keep(context: typer.Context, group: GroupHere = None, group_option: GroupOption = None) -> None:
    """Keeps a sidefile under another name, so that the group can be opened without what stands in it."""
    invocation, group = of(context), one_group(group, group_option)
    path = active_path(folder_of(invocation.config, group), group)
    try:
        sidefile = Sidefile.open(path, codec_of(invocation.config, group), whole=False)
    except SidefileDamaged:  # its very header
        target = kept_path(path, group, 0)
        rename(path, target)
    else:
        if sidefile is None:
            raise NotFound(f"group {group} has no sidefile that is not drained", hint="see: tidelog sidefile list")
        target = set_aside(sidefile, "it was set aside by a command", 0)
    invocation.say(f"kept as {target}; the group can be opened without it")


@app.command()
def drop(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A kept sidefile, as `sidefile list` names it.")],
    group: Group,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Deletes a kept sidefile: what it holds and the log does not is gone."""
    invocation = of(context)
    path = find(invocation.config, group, name)
    if path == active_path(path.parent, group):
        raise UsageError(
            f"{path} is not drained yet", group=group, hint=f"drain it, or first say: tidelog sidefile keep {group}"
        )
    if not yes:
        require_somebody(invocation, plan=False)
        typer.confirm(f"Delete {path} for ever?", abort=True, err=True)
    remove(path)
    invocation.say(f"{path} is deleted")


def _open(invocation: Invocation, path: Path, group: str) -> Sidefile:
    sidefile = Sidefile.open(path, codec_of(invocation.config, group), looking=True, whole=False)
    if sidefile is None:
        raise NotFound(f"nothing stands in {path}")
    return sidefile


def _damage(invocation: Invocation, sidefile: Sidefile) -> int:
    if sidefile.damage is None:
        return OK
    invocation.say(f"{sidefile.damage.message}; what is shown is whole")
    return DEGRADED


def _lines(sidefile: Sidefile) -> Iterator[dict[str, Any]]:
    until, _ = noted(sidefile)
    for entry, _ in list_writes(sidefile):
        event, common = entry.event, {"in_log": entry.after.position <= until, "sent": entry.kind == SENT}
        if isinstance(event, WriteBatch):
            at = 0
            for volume, offset, length, time_us in zip(
                event.volumes, event.offsets, event.lengths, event.timestamps_us, strict=True
            ):
                data = base64.b64encode(event.data[at : at + length]).decode()
                where = {"volume": volume, "offset": offset, "length": length}
                yield {"kind": "write", "time": iso(time_us), **where, "data": data, **common}
                at += length
        elif isinstance(event, Discard):
            where = {"volume": event.volume, "offset": event.offset, "length": event.length}
            yield {"kind": "discard", "time": iso(event.timestamp_us), **where, "data": None, **common}
        elif isinstance(event, Marker):
            yield {"kind": "marker", "time": iso(event.timestamp_us), "name": event.name, "data": None, **common}
