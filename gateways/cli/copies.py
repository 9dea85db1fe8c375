"""`tidelog pitc`: point-in-time copies."""

from typing import Annotated

import typer

from tidelog.errors import UsageError
from tidelog.gateways.cli import copy_locks, copy_tables
from tidelog.gateways.cli.clones import make_clone
from tidelog.gateways.cli.copy_against import verify_against
from tidelog.gateways.cli.copy_archive import archive_and_drop
from tidelog.gateways.cli.copy_create import create_copy
from tidelog.gateways.cli.copy_diff import diff_copies
from tidelog.gateways.cli.copy_export import export_copy
from tidelog.gateways.cli.copy_holds import refuse_cloned
from tidelog.gateways.cli.copy_import import import_copy
from tidelog.gateways.cli.copy_lost import drop_lost
from tidelog.gateways.cli.copy_order import list_orders, moment, order
from tidelog.gateways.cli.copy_retention import apply_retention, apply_site_retention
from tidelog.gateways.cli.copy_verify import await_copy, verify_copy
from tidelog.gateways.cli.invocation import of
from tidelog.gateways.cli.options import AtSite, Group, Json, Length, Offset, OfGroup, OnlyGroup, OrderName, TakeOver
from tidelog.gateways.cli.reading import send_copy

app = typer.Typer(
    help="Point-in-time copies (PITC): the same at every site. `#SEQUENCE` names one by its sequence.",
    no_args_is_help=True,
)

CopyName = Annotated[str, typer.Argument(help="The copy's name, or #SEQUENCE.")]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A name that is not in use.")],
    group: Annotated[str | None, typer.Option("--group", "-g", help="The consistency group.")] = None,
    groups: Annotated[str | None, typer.Option("--groups", help="Several, a,b: one copy by time of all.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="By time: such as 2026-11-22T18:00:00Z.")] = None,
    within: Annotated[str | None, typer.Option("--in", help="By time: such as 5s from now.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the sites have formed the copy.")] = False,
    sites: Annotated[str | None, typer.Option("--sites", help="Whom to wait for: a,b. Default: all sites.")] = None,
    timeout: Annotated[str, typer.Option("--timeout", help="How long to wait, such as 30s or 2m.")] = "30s",
    take_over: TakeOver = False,
    json: Json = False,
) -> int:
    """Puts a consistency marker into the group's log: every site cuts a copy exactly there.

    With --at or --in, by time: a command to all sites, of one group or several; each cuts where that time falls in its
    own data. Exit code 3 if --wait is given and not every site has answered in time, or their digests differ.
    """
    invocation = of(context)
    at_us = moment(at, within)
    if (group is None) == (groups is None):
        raise UsageError("a copy is of a --group, or by time of several --groups")
    if at_us is not None:
        if sites is not None or take_over:
            raise UsageError("--sites and --take-over are for copies by marker")
        chosen = [group] if group is not None else str(groups).split(",")
        return order(invocation, name, chosen, at_us, within=within, wait=wait, timeout=timeout, json=json)
    if group is None:
        raise UsageError("a copy of several groups is cut by time", hint="say when: --at TIME, or --in 5s")
    return create_copy(invocation, name, group, wait, sites, timeout, take_over=take_over, json=json)


@app.command()
def orders(context: typer.Context, group: OnlyGroup = None, json: Json = False) -> int:
    """The copies by time that were ordered, and which sites have them; exit code 3 if one cannot be made somewhere."""
    return list_orders(of(context), group, json=json)


@app.command()
def cancel(context: typer.Context, name: OrderName, group: OfGroup = None, json: Json = False) -> None:
    """Takes back a copy by time: no site cuts it any more, and those that have it drop it."""
    copy_locks.cancel(of(context), name, group, json=json)


@app.command("list")
def list_copies(
    context: typer.Context,
    group: Group,
    site: Annotated[
        str | None, typer.Option("--site", "-s", help="Whose store says what is protected. Default: the primary's.")
    ] = None,
    json: Json = False,
) -> int:
    """Every copy at every site, with its digests; exit code 3 if any differ.

    While Kafka does not answer: the copies that the store of --site holds, what other sites have is unknown, and 3.
    """
    return copy_tables.list_copies(of(context), group, site, json=json)


@app.command()
def show(context: typer.Context, name: CopyName, group: Group, site: AtSite = None, json: Json = False) -> int:
    """One copy: its volumes as a site holds them, and what every site has answered."""
    return copy_tables.show_copy(of(context), name, group, site, json=json)


@app.command()
def read(
    context: typer.Context,
    name: CopyName,
    volume: Annotated[str, typer.Argument(help="The volume.")],
    group: Group,
    offset: Offset = "0",
    length: Length = None,
    site: AtSite = None,
) -> None:
    """Bytes of a volume as they were in the copy, to stdout."""
    send_copy(of(context), group, site, name, volume, offset, length)


@app.command()
def export(
    context: typer.Context,
    name: CopyName,
    group: Group,
    to: Annotated[
        str | None, typer.Option("--to", help="A folder or URL, such as s3://bucket/folder; must not exist.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only what changed since this elder copy.")] = None,
    raw: Annotated[
        list[str] | None,
        typer.Option(
            "--raw",
            help="VOLUME=FILE: a raw, sparse image of one volume; may be given more than once. all: of every one.",
        ),
    ] = None,
    site: AtSite = None,
    json: Json = False,
) -> None:
    """Takes the copy away: Avro files with a manifest, or raw images. Verified before it gets its name."""
    export_copy(of(context), name, group, site, to=to, since=since, raw=raw or [], json=json)


@app.command()
def archive(
    context: typer.Context,
    name: CopyName,
    group: Group,
    to: Annotated[
        str | None, typer.Option("--to", help="A folder or URL to put it under. Default: the configured `archive`.")
    ] = None,
    site: AtSite = None,
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Exports the copy, verifies the export, then drops the copy from Redis; it can be read from there as before.

    A copy by time is dropped at that site, one by marker at every site, by an event in the log.
    """
    archive_and_drop(of(context), name, group, site, to, take_over=take_over, json=json)


@app.command("import")
def import_command(
    context: typer.Context,
    places: Annotated[
        list[str], typer.Argument(metavar="PLACE...", help="A whole export, then any --since ones, in order.")
    ],
    site: Annotated[str, typer.Option("--site", "-s", help="The site, whose store of the group must be empty.")],
    group: Annotated[
        str | None, typer.Option("--group", "-g", help="The consistency group. Default: the export's.")
    ] = None,
    json: Json = False,
) -> None:
    """Brings an exported copy back, as the base of an empty site; the site's worker goes on from there.

    The site is not served until all of it is there and verified; killed half-way, run it again.
    """
    import_copy(of(context), places, site, group, json=json)


@app.command("diff")
def diff_command(
    context: typer.Context,
    first: Annotated[str, typer.Argument(metavar="A", help="A copy's name, or #SEQUENCE.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another copy.")],
    group: Group,
    site: AtSite = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare contents: only blocks that really differ.")] = False,
    json: Json = False,
) -> None:
    """What changed between two copies at a site, by volume: from change bitmaps alone, unless --exact.

    Every extent is in --json.
    """
    diff_copies(of(context), first, second, group, site, exact=exact, json=json)


@app.command()
def clone(
    context: typer.Context,
    name: CopyName,
    clone: Annotated[str, typer.Argument(metavar="CLONE", help="The clone's name.")],
    group: Group,
    site: Annotated[str | None, typer.Option("--site", "-s", help="Where to make it. Default: the primary.")] = None,
    json: Json = False,
) -> None:
    """Makes a writable clone of the copy at one site, for a drill: nothing is copied, and the copy does not change.

    See `tidelog clone`, which lists, reads, writes and drops clones.
    """
    make_clone(of(context), name, clone, group, site, json=json)


@app.command()
def drop(
    context: typer.Context,
    name: CopyName,
    group: Group,
    site: Annotated[
        str | None, typer.Option("--site", "-s", help="Of a lost history: the site that has it, and drops it alone.")
    ] = None,
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Drops the copy at every site, by an event in the log. One that is locked stays, or that a site has a clone of."""
    invocation = of(context)
    if site is not None:
        drop_lost(invocation, name, group, site, json=json)
        return
    refuse_cloned(invocation, name, group)
    copy_locks.drop_copy(invocation, name, group, take_over=take_over, json=json)


@app.command()
def lock(
    context: typer.Context,
    name: CopyName,
    group: Group,
    until: Annotated[str | None, typer.Option("--until", help="When it ends, such as 2027-01-01T00:00:00Z.")] = None,
    duration: Annotated[str | None, typer.Option("--for", help="So long from the log's time, such as 30d.")] = None,
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Locks the copy at every site: nothing drops it before that time, and a lock is never shortened or lifted."""
    copy_locks.lock_copy(of(context), name, group, until, duration, take_over=take_over, json=json)


@app.command()
def keep(
    context: typer.Context,
    name: CopyName,
    group: Group,
    release: Annotated[bool, typer.Option("--release", help="Subject it to retention again.")] = False,
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Exempts the copy from retention; it can still be dropped by name."""
    copy_locks.keep_copy(of(context), name, group, release=release, take_over=take_over, json=json)


@app.command()
def retention(
    context: typer.Context,
    group: Group,
    site: Annotated[
        str | None, typer.Option("--site", "-s", help="The site's own retention, of its copies by time.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be dropped, and why.")] = False,
    take_over: TakeOver = False,
    json: Json = False,
) -> None:
    """Drops the copies that the group's `keep` does not keep, and says why each stays or goes.

    With --site, at that site alone, the copies by time that the site's own `keep` does not keep; no writer is asked.
    """
    if site is not None:
        if take_over:
            raise UsageError("--take-over is about writing, and a site's own retention writes nothing")
        apply_site_retention(of(context), group, site, dry_run=dry_run, json=json)
        return
    apply_retention(of(context), group, dry_run=dry_run, take_over=take_over, json=json)


@app.command()
def verify(
    context: typer.Context,
    name: CopyName,
    group: Group,
    site: Annotated[
        list[str] | None, typer.Option("--site", "-s", help="Only this site; may be given more than once.")
    ] = None,
    against: Annotated[str | None, typer.Option("--against", help="Compare one site or the primary with it.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Compute digests anew from all blocks.")] = False,
    wait: Annotated[str, typer.Option("--wait", help="Until every site has the copy, for at most so long.")] = "0s",
    json: Json = False,
) -> int:
    """Compares the copy's digests at each site, and with the receipts; exit code 3 if any differ.

    With --against, where the copy differs between two sites: the first extent, and how many blocks.
    """
    await_copy(of(context), name, group, site or None, wait)
    if against is None:
        return verify_copy(of(context), name, group, site or None, full=full, json=json)
    if site and len(site) > 1:
        raise UsageError("--against compares two sites: one --site with that one")
    return verify_against(of(context), name, group, site[0] if site else None, against, full=full, json=json)
