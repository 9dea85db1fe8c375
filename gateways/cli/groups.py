"""`tidelog group`: consistency groups."""

from pathlib import Path
from typing import Annotated

import typer

from tidelog.clock import iso
from tidelog.consumers.primary import chosen_primary
from tidelog.errors import UsageError
from tidelog.gateways.cli.group_acls import print_acls
from tidelog.gateways.cli.group_materialise import materialise_group
from tidelog.gateways.cli.group_mirror import mirror_facts, mirror_group, mirrors_json
from tidelog.gateways.cli.group_regions import show_regions
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import GroupHere, GroupOption, Json, one_group
from tidelog.gateways.cli.output import emit_facts, emit_json, emit_table
from tidelog.gateways.cli.primary_text import primary_text
from tidelog.gateways.standing.documents import primary_json
from tidelog.names import check_name
from tidelog.producers.mirrors import mirror_here
from tidelog.schemas.control import GroupCreated

app = typer.Typer(help="Consistency groups: volumes with one order of writes.", no_args_is_help=True)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="1 to 63 of a-z, 0-9, '.', '_', '-'.")],
    keyed: Annotated[
        bool | None, typer.Option("--keyed/--unkeyed", help="Seal events with the configured key or without.")
    ] = None,
    acls: Annotated[
        bool, typer.Option("--print-acls", help="Make nothing: print the ACLs that each role needs of Kafka.")
    ] = False,
    principals: Annotated[
        list[str] | None,
        typer.Option("--principal", help="With --print-acls: who has a role, as writer=User:NAME."),
    ] = None,
    incarnation: Annotated[
        int,
        typer.Option(min=1, help="With --print-acls: which of the group's topics, as N of PREFIX.NAME.RN."),
    ] = 1,
    json: Json = False,
) -> None:
    """Makes a group: its topic, its id and its record on the control topic."""
    invocation = of(context)
    if acls:
        print_acls(invocation, check_name("group", name), principals or (), incarnation, json=json)
        return
    if principals or incarnation != 1:
        raise UsageError("--principal and --incarnation belong to --print-acls")
    record = invocation.deployment.cluster.create_group(check_name("group", name), keyed=keyed)
    _show(invocation, record, json=json)


@app.command("list")
def list_groups(context: typer.Context, json: Json = False) -> None:
    """Every group."""
    invocation = of(context)
    cluster, configured = invocation.deployment.cluster, invocation.config.primary
    records = cluster.list_groups()
    view = cluster.control.snapshot()
    chosen_ones = [chosen_primary(view, record) for record in records]
    if json:
        listed = [
            as_json(record) | {"primary": primary_json(chosen, configured)}
            for record, chosen in zip(records, chosen_ones, strict=True)
        ]
        emit_json(invocation, {"groups": listed})
        return
    rows = [
        (record.group, record.topic, _keyed(record), primary_text(chosen, configured), iso(record.created_us))
        for record, chosen in zip(records, chosen_ones, strict=True)
    ]
    emit_table(invocation, ("group", "topic", "seals", "primary", "created"), rows)


@app.command()
def show(context: typer.Context, group: GroupHere = None, group_option: GroupOption = None, json: Json = False) -> None:
    """One group."""
    invocation, name = of(context), check_name("group", one_group(group, group_option))
    _show(invocation, invocation.deployment.cluster.find_group(name), json=json)


@app.command()
def schemas(context: typer.Context, json: Json = False) -> None:
    """Puts the event schemas of this version on the schemas topic, where they are missing: after an upgrade, so that
    every log can be read without tidelog. `group create` does so, too."""
    invocation = of(context)
    topic = f"{invocation.config.prefix}-schemas"
    added = invocation.deployment.cluster.keep_schemas()
    if json:
        emit_json(invocation, {"topic": topic, "added": added})
        return
    emit_facts(invocation, [("topic", topic), ("added", ", ".join(added) or "none: all are there")])


@app.command()
def materialise(
    context: typer.Context,
    group: Annotated[str, typer.Argument(help="The group; not here if it is given by --group.")],
    name: Annotated[str | None, typer.Argument(help="The clone to make.")] = None,
    site: Annotated[str | None, typer.Option("--site", "-s", help="Where. Default: the primary.")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="After all up to this time, such as 2026-11-22T18:00:00Z.")
    ] = None,
    sequence: Annotated[int | None, typer.Option("--sequence", help="After this sequence.")] = None,
    before_event: Annotated[
        int | None, typer.Option("--before-event", help="Before the event of this sequence.")
    ] = None,
    group_option: GroupOption = None,
    json: Json = False,
) -> None:
    """The group as it was at any moment of the past, as a clone at one site, from a copy there and the log.

    Cut short, the same command goes on; until it is whole, nobody reads it.
    """
    if name is None:  # then what stands in the group's place is the clone
        name, group = group, one_group(None, group_option)
    elif group_option is not None:
        raise UsageError("the group is given twice: GROUP, and --group GROUP")
    materialise_group(of(context), group, name, site, at, sequence, before_event, json=json)


@app.command()
def mirror(
    context: typer.Context,
    group: Annotated[str, typer.Argument(help="The group, by its name in the other region.")],
    from_kafka: Annotated[
        str | None, typer.Option("--from-kafka", help="The other region's host:port,..., else as configured here.")
    ] = None,
    from_config: Annotated[
        Path | None, typer.Option("--from-config", help="The other region's configuration file.")
    ] = None,
    group_id: Annotated[
        str | None, typer.Option("--id", help="The group's id, where the other region cannot be reached.")
    ] = None,
    properties: Annotated[
        Path | None, typer.Option("--properties", help="MirrorMaker's configuration, to be checked first.")
    ] = None,
    json: Json = False,
) -> None:
    """Takes up a group of another region: its log here is a mirror, which MirrorMaker fills and sites of this region
    apply. Say it with this region's configuration."""
    mirror_group(of(context), group, from_kafka, from_config, group_id, properties, json=json)


@app.command()
def regions(
    context: typer.Context,
    others: Annotated[
        list[Path],
        typer.Option("--with", help="The configuration file of another region; may be given more than once."),
    ],
    group: GroupHere = None,
    group_option: GroupOption = None,
    json: Json = False,
) -> int:
    """The group at the sites of all its regions: how far each is, and whether copies are equal everywhere."""
    return show_regions(of(context), check_name("group", one_group(group, group_option)), others, json=json)


def as_json(record: GroupCreated) -> dict[str, object]:
    """A group for programs."""
    return {
        "group": record.group,
        "group_id": record.group_id,
        "topic": record.topic,
        "keyed": record.keyed,
        "created": iso(record.created_us),
    }


def _show(invocation: Invocation, record: GroupCreated, *, json: bool) -> None:
    cluster = invocation.deployment.cluster
    log = cluster.log(record)
    try:
        bounds, cluster_id, log_id = log.bounds(), log.cluster_id, log.id
    finally:
        log.close()
    view, configured = cluster.control.snapshot(), invocation.config.primary
    chosen, mirror = chosen_primary(view, record), mirror_here(view, record.group, log_id)
    if json:
        log_json = {"cluster_id": cluster_id, "start_offset": bounds.start, "end_offset": bounds.end}
        more = {"primary": primary_json(chosen, configured, mirror), "log": log_json}
        emit_json(invocation, as_json(record) | more | mirrors_json(invocation, record, log_id))
        return
    facts = [
        ("group", record.group),
        ("id", record.group_id),
        ("topic", record.topic),
        ("seals", _keyed(record)),
        ("primary", primary_text(chosen, configured, mirror)),
        ("created", iso(record.created_us)),
        ("log", f"offsets {bounds.start} to {bounds.end} on cluster {cluster_id}"),
        *mirror_facts(invocation, record, log_id),
    ]
    emit_facts(invocation, facts)


def _keyed(record: GroupCreated) -> str:
    return "keyed" if record.keyed else "not keyed"
