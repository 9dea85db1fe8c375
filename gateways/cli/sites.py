"""`tidelog site`: sites, their workers and their stores."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tidelog.consumers.deployment import find_site
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.cli.invocation import of
from tidelog.gateways.cli.options import Group, Json, OnlyGroup
from tidelog.gateways.cli.output import emit_json, emit_table
from tidelog.gateways.cli.site_promote import promote_site
from tidelog.gateways.cli.site_rebuild import rebuild_site
from tidelog.gateways.cli.site_resync import resync_site, verify_site
from tidelog.gateways.cli.site_rollback import roll_back_site
from tidelog.gateways.cli.site_run import run_worker
from tidelog.gateways.cli.standing import COLUMNS, NUMBERS, exit_code, site_row
from tidelog.gateways.standing.documents import site_json
from tidelog.gateways.standing.observer import Observer
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rpo import missed

app = typer.Typer(help="Sites: each applies the groups' logs to a Redis of its own.", no_args_is_help=True)

Groups = Annotated[
    list[str] | None,
    typer.Option("--group", "-g", help="Only this group; may be given more than once. Default: all."),
]
SiteName = Annotated[str, typer.Argument(help="A configured site.")]


@app.command()
def run(
    context: typer.Context,
    site: SiteName,
    group: Annotated[
        list[str] | None, typer.Option("--group", "-g", help="Serve only this group; may be given more than once.")
    ] = None,
    sole: Annotated[
        bool, typer.Option("--sole", help="Serve every group, without sharing them with other workers of the site.")
    ] = False,
) -> int:
    """Runs a worker of a site until it is told to stop: SIGTERM (exit code 0) or Ctrl-C (130)."""
    return run_worker(of(context), site, group or [], sole=sole)


@app.command()
def status(
    context: typer.Context,
    site: Annotated[str | None, typer.Argument(help="Only this site.")] = None,
    group: OnlyGroup = None,
    json: Json = False,
) -> int:
    """Where sites stand with each group. Exit code 3 if one is degraded, 4 if one has halted, 5 for a missed RPO."""
    invocation = of(context)
    if site is not None:
        find_site(invocation.config, site)
    with Observer(invocation.deployment, group) as observer:
        observed = observer.observe()
    found = [
        (standing, one.exposures[standing.site], one.rates[standing.site])
        for one in observed
        for standing in one.standing.sites
        if site in (None, standing.site)
    ]
    standings = [standing for standing, _, _ in found]
    if json:
        emit_json(invocation, {"sites": [site_json(*each) for each in found]})
    else:
        rows = [(standing.group, *site_row(standing, exposed)) for standing, exposed, _ in found]
        emit_table(invocation, ("group", *COLUMNS), rows, NUMBERS)
        for standing in standings:
            if standing.reason:
                where = f"{standing.group} at {standing.site}"
                invocation.out.print(Text(f"{where}: {standing.reason}", style="red"))
                if standing.hint:
                    invocation.out.print(Text(f"  hint: {for_operators(standing.hint, standing.group)}"))
    unseen = [one.alarms[0] for one in observed if one.problem]
    alarms = [
        alarm
        for one in observed
        for alarm in missed(
            one.standing.record.group,
            [exposed for exposed in one.exposures.values() if site in (None, exposed.site)],
            one.writer,
        )
    ]
    for alarm in () if json else [*unseen, *alarms]:
        invocation.out.print(Text(f"ALARM: {alarm}", style="red"))
    for one in () if json else observed:
        if one.hint:
            name = one.standing.record.group
            invocation.out.print(Text(f"  hint for group {name}: {for_operators(one.hint, name)}"))
    return exit_code(standings, unseen, alarms)


@app.command()
def rebuild(
    context: typer.Context,
    site: SiteName,
    group: Group,
    source: Annotated[
        str, typer.Option("--from", help="log, a site, or an export's place. Default: what leaves least to replay.")
    ] = "",
    copy: Annotated[str, typer.Option("--copy", help="Which copy of that site. Default: the newest that can be.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Erase also what an interrupted rebuild has loaded or replayed.")
    ] = False,
    drop_clones: Annotated[
        bool, typer.Option("--drop-clones", help="Go on although there are clones: an erase takes them away.")
    ] = False,
    leave_locked: Annotated[
        bool, typer.Option("--leave-locked", help="Go on although copies that are locked there do not come back.")
    ] = False,
    json: Json = False,
) -> int:
    """Erases a group's store at a site and makes it anew; goes on if an earlier one was interrupted.

    From the log's beginning, or from another site's copy or an export, and the log behind that. Refused while the site
    has clones of the group, which the log knows nothing of, unless --drop-clones. Copies made along the way are
    compared with their receipts: exit code 3 if one differs.
    """
    options = {"yes": yes, "dry_run": dry_run, "from_scratch": from_scratch, "json": json}
    options |= {"drop_clones": drop_clones, "leave_locked": leave_locked}
    return rebuild_site(of(context), site, group, Wanted(source, copy), **options)


@app.command()
def rollback(
    context: typer.Context,
    site: SiteName,
    group: Group,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    export: Annotated[
        str | None, typer.Option("--export", metavar="PLACE", help="Export lost-tail as well, as pitc export does.")
    ] = None,
    drop_clones: Annotated[
        bool, typer.Option("--drop-clones", help="Where the store must be erased: go on although there are clones.")
    ] = False,
    json: Json = False,
) -> int:
    """Takes a site whose history is not the log's (LogDiverged) back to its newest copy that is in the log.

    All that it holds is kept at the site as the copy lost-tail; then it follows the log. Where none of its copies is in
    the log the store is erased and rebuilt from it. Run again it goes on where it was cut short.
    """
    said = {"yes": yes, "dry_run": dry_run, "drop_clones": drop_clones, "json": json}
    return roll_back_site(of(context), site, group, export=export, **said)


@app.command()
def verify(
    context: typer.Context,
    site: SiteName,
    group: Groups = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Compare with this site. Default: the first that can be had.")
    ] = None,
    json: Json = False,
) -> int:
    """Compares all copies of a site, block by block, with another site's, and names the blocks that differ.

    Changes nothing; workers and writers go on. Exit code 3 if anything differs.
    """
    return verify_site(of(context), site, group or [], against, json=json)


@app.command()
def resync(
    context: typer.Context,
    site: SiteName,
    other: Annotated[str, typer.Option("--from", help="The site that holds the right blocks.")],
    group: Groups = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what differs and change nothing.")] = False,
    json: Json = False,
) -> int:
    """Mends a site whose store was damaged, by another site: only the blocks that differ move.

    Workers and writers go on, copies stay. Refused if the other site is not what the receipts say. Exit code 3 if
    something is left that only a rebuild mends.
    """
    return resync_site(of(context), site, other, group or [], dry_run=dry_run, json=json)


@app.command()
def promote(
    context: typer.Context,
    site: SiteName,
    group: Group,
    timeout: Annotated[
        str, typer.Option("--timeout", help="How long the writer and the site may take, such as 30s.")
    ] = "30s",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Ask no writer: it is gone, or cut off; fenced if it lives, unless in another region."
        ),
    ] = False,
    mirror_stopped: Annotated[
        bool,
        typer.Option("--mirror-stopped", help="Of a mirror: what runs of Kafka Connect does not mirror this topic."),
    ] = False,
    give_up: Annotated[
        bool,
        typer.Option("--give-up", help="Of a mirror: go on without what it has not brought of this region's own past."),
    ] = False,
    other: Annotated[
        Path | None,
        typer.Option("--with", help="Of a mirror: the other region's configuration file, to say what is missing."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    json: Json = False,
) -> int:
    """Makes a site the primary of a group: from then on its writer reads there. The way back is the same command.

    The writer is asked to flush and end; then the application opens its group again. Nothing is lost. Exit code 13,
    with nothing changed, if the writer does not answer in time; 3 if the site does not apply the log to its end.

    Where the log is a mirror of another region's, that region is lost or its writers have ended: --force ends the
    mirror, and what had not come is lost to the group.
    """
    return promote_site(
        of(context),
        site,
        group,
        timeout,
        forced=force,
        mirror_stopped=mirror_stopped,
        give_up=give_up,
        other=other,
        dry_run=dry_run,
        json=json,
    )
