"""`tidelog log`: a group's events, decoded and judged."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import typer
from rich.text import Text

from tidelog.errors import UsageError
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.log_reading import Judged, judged_records, lost_stretch
from tidelog.gateways.cli.log_text import HEADINGS, as_json, as_text, counts_as_heartbeat, heartbeats_text
from tidelog.gateways.cli.log_trim import trim_log
from tidelog.gateways.cli.options import GroupHere, GroupOption, Json, one_group
from tidelog.gateways.cli.output import emit_json_line
from tidelog.recovery.trim import DURABILITY_MARGIN
from tidelog.units import parse_duration

app = typer.Typer(help="A group's log, event by event.", no_args_is_help=True)


@app.command()
def show(
    context: typer.Context,
    group: GroupHere = None,
    from_sequence: Annotated[int | None, typer.Option("--from", help="Begin at this sequence.", min=1)] = None,
    offset: Annotated[int | None, typer.Option("--offset", help="Begin at this offset.", min=0)] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="Show so many lines at most.", min=1)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as records come, until Ctrl-C.")] = False,
    data: Annotated[bool, typer.Option("--data", help="Show the first bytes of each write, in hexadecimal.")] = False,
    heartbeats: Annotated[
        bool, typer.Option("--heartbeats", help="A line for each, not one for a row of them.")
    ] = False,
    lost: Annotated[
        bool,
        typer.Option("--lost", help="What this region's sealed log has that the log the group goes on in has not."),
    ] = False,
    group_option: GroupOption = None,
    json: Json = False,
) -> None:
    """Every record, decoded, with its verdict: what a site that has applied everything before it does with it.

    counts, void, redelivered, held (an event before it is missing), diverged or undecodable (a site halts there).
    """
    if from_sequence is not None and offset is not None:
        raise UsageError("--from and --offset exclude each other")
    if lost and (follow or from_sequence is not None or offset is not None):
        raise UsageError("--lost shows one stretch of a log that has ended: neither --follow, --from nor --offset")
    invocation, group = of(context), one_group(group, group_option)
    cluster = invocation.deployment.cluster
    record = cluster.find_group(group)
    if lost:
        record, from_sequence = lost_stretch(cluster, record)
    records = judged_records(cluster, record, follow=follow)
    wanted = _selected(invocation, group, records, from_sequence, offset)
    if json:
        for found in islice(filter(None, wanted), limit):
            emit_json_line(invocation, as_json(found, data=data))
        return
    each = (as_text(judged, data=data) for judged in wanted if judged is not None)
    lines = each if heartbeats else _folded(wanted, data=data)
    if invocation.out.is_terminal:
        invocation.out.print(HEADINGS, soft_wrap=True)
    for line in islice(lines, limit):
        invocation.out.print(line, soft_wrap=True)


@app.command()
def trim(
    context: typer.Context,
    group: GroupHere = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go and who holds it back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    margin: Annotated[
        str, typer.Option("--margin", help="For so long each site must have had the copy that is trimmed to.")
    ] = f"{DURABILITY_MARGIN:g}s",
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A site that does not count; may be given more than once.")
    ] = None,
    group_option: GroupOption = None,
    json: Json = False,
) -> int:
    """Deletes the records of a log that nobody needs: those before a marker's copy that every site has had for a while.

    A site whose Redis is lost then begins from another site's copy or an export, no longer from the log's beginning.
    """
    seconds, group = parse_duration(margin), one_group(group, group_option)
    return trim_log(of(context), group, seconds, without or [], dry_run=dry_run, yes=yes, json=json)


def _selected(
    invocation: Invocation,
    group: str,
    records: Iterable[Judged | None],
    from_sequence: int | None,
    offset: int | None,
) -> Iterator[Judged | None]:
    """Those asked for. Where there is none up to the log's end, that is said on stderr, with where it ends."""
    last, silent = None, True
    for judged in records:
        if judged is None:
            if silent:
                invocation.say(f"{_ends(group, last)}; waiting for what comes")
            silent = False
            yield None
            continue
        last = judged
        if _wanted(judged, from_sequence, offset):
            silent = False
            yield judged
    if silent:
        invocation.say(f"nothing to show: {_ends(group, last)}")


def _ends(group: str, last: Judged | None) -> str:
    if last is None:
        return f"the log of group {group} is empty"
    return f"the log of group {group} ends at sequence {last.head.sequence}, offset {last.offset}"


def _folded(records: Iterable[Judged | None], *, data: bool) -> Iterator[Text]:
    """A line for each record, but one for all heartbeats in a row: an idle log is mostly those. A row ends where the
    next record is still to come (None): while a log is followed nothing is held back."""
    row: tuple[Judged, Judged, int] | None = None  # the first and last of the heartbeats in a row, and how many
    for judged in records:
        if judged is not None and counts_as_heartbeat(judged):
            row = (row[0], judged, row[2] + 1) if row else (judged, judged, 1)
            continue
        if row:
            yield heartbeats_text(*row)
            row = None
        if judged is not None:
            yield as_text(judged, data=data)
    if row:
        yield heartbeats_text(*row)


def _wanted(judged: Judged, from_sequence: int | None, offset: int | None) -> bool:
    if offset is not None:
        return judged.offset >= offset
    if from_sequence is None:
        return True
    if judged.event is None:
        return judged.head.sequence >= from_sequence - 1
    return judged.event.last_sequence >= from_sequence
