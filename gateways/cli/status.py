"""`tidelog status`: everything in one screen."""

import time
from typing import Annotated, NoReturn

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from tidelog.clock import iso
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import Json, OnlyGroup
from tidelog.gateways.cli.output import count_text, emit_json, emit_json_line, equal_text, short
from tidelog.gateways.cli.primary_text import primary_text
from tidelog.gateways.cli.rpo_text import mirrored_text, pacing_text, writer_text
from tidelog.gateways.cli.standing import exit_code, site_table
from tidelog.gateways.standing.documents import status_document
from tidelog.gateways.standing.observer import Observed, Observer
from tidelog.gateways.standing.sidefiles import sentence, state_word
from tidelog.units import parse_duration

ALARM_STYLE = "bold white on red"


app = typer.Typer()


@app.command("status")
def show(
    context: typer.Context,
    group: OnlyGroup = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew again and again, until Ctrl-C.")] = False,
    interval: Annotated[str, typer.Option("--interval", help="How often, with --watch.")] = "1s",
    json: Json = False,
) -> int:
    """Every group at every site: state, RPO, newest copy, alarms. Exit code 3 if degraded, 4 if a site halted, 5 if an
    objective is missed."""
    invocation = of(context)
    pause = parse_duration(interval)
    with Observer(invocation.deployment, group) as observer:
        if watch:
            _watch(invocation, observer, pause, json=json)
        observed = observer.observe()
    if json:
        emit_json(invocation, status_document(observed))
    else:
        invocation.out.print(_screen(observed))
    sites = [site for found in observed for site in found.standing.sites]
    alarms = [alarm for found in observed for alarm in found.alarms]
    return exit_code(sites, alarms, [missed for found in observed for missed in found.missed])


def _watch(invocation: Invocation, observer: Observer, pause: float, *, json: bool) -> NoReturn:
    if json or not invocation.out.is_terminal:
        while True:
            observed = observer.observe()
            if json:
                emit_json_line(invocation, status_document(observed))
            else:
                invocation.out.print(_screen(observed))
            time.sleep(pause)
    with Live(_screen(observer.observe()), console=invocation.out, screen=False) as live:
        while True:
            time.sleep(pause)
            live.update(_screen(observer.observe()))


def _screen(observed: list[Observed]) -> RenderableType:
    parts: list[RenderableType] = []
    for group in observed:
        alarms = [*group.alarms, *group.missed]
        parts += [Text(f"ALARM: {alarm}", style=ALARM_STYLE) for alarm in alarms]
    if not observed:
        parts.append(Text("no group yet; make one with: tidelog group create NAME"))
    for group in observed:
        standing = group.standing
        writer = writer_text(group.writer, group.newest, group.observed_us)
        if group.mirror is not None:
            writer = mirrored_text(group.mirror, group.newest, group.observed_us)
        parts.append(Text.assemble(("group ", "dim"), (standing.record.group, "bold"), "  ", writer))
        parts.append(Text(f"primary {primary_text(group.chosen, group.configured, group.mirror)}"))
        parts += [pacing] if (pacing := pacing_text(group.writer)) is not None else []
        waiting = (found for found in group.sidefiles if state_word(found) == "undrained")
        parts += [Text(sentence(found), style="bold yellow") for found in waiting]
        parts.append(site_table(group))
        for site in standing.sites:
            if site.reason:
                parts.append(Text(f"{site.site}: {site.reason}", style="red"))
                if site.hint:
                    parts.append(Text(f"  hint: {for_operators(site.hint, site.group)}"))
        parts += [_newest_copy(group), Text()]
    return Group(*parts)


def _newest_copy(group: Observed) -> Text:
    copies = group.standing.copies
    if not copies:
        return Text("no copy yet")
    copy = copies[-1]
    digests = ", ".join(short(digest) for digest in sorted(copy.digests))
    waiting = f" (no answer from {', '.join(copy.missing)})" if copy.missing else ""
    number = count_text(len(copies), "copy", "copies")
    made = f"{number}, the newest {copy.name} at sequence {copy.sequence}, {iso(copy.timestamp_us)}: "
    return Text.assemble(made, equal_text(copy.equal), f" {digests}{waiting}")
