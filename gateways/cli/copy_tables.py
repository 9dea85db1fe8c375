"""`tidelog pitc list` and `show`: the catalogue, and one copy of it. Locks and keeps are those at a site's store."""

from typing import Any

from rich.text import Text

from tidelog.clock import iso
from tidelog.consumers.catalogue import Answer, CatalogueCopy, alarms_of, copies_of
from tidelog.consumers.ordered_sets import copy_with_dropped
from tidelog.errors import ConfigError, ExportDamaged, Halted, NotFound, Unavailable, WrongStore
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.forgotten import forgotten_at
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import (
    emit_facts,
    emit_json,
    emit_table,
    equal_text,
    short,
    size_text,
    time_or_none,
)
from tidelog.gateways.cli.reading import opened_copy, opened_store
from tidelog.gateways.cli.standing import copy_json
from tidelog.stores.store import Copy

_STYLES = {Answer.ARCHIVED: "cyan", Answer.DROPPED: "dim"}


def list_copies(invocation: Invocation, group: str, *, json: bool) -> int:
    """Every copy x every site. 3 if a digest differs."""
    cluster = invocation.deployment.cluster
    record = cluster.find_group(group)
    copies = _copies(invocation, record.group)
    alarms = alarms_of(copies)
    held = _all_held(invocation, group)
    if json:
        rows_json = [copy_json(copy) | protection_json(held.get((copy.sequence, copy.seal))) for copy in copies]
        emit_json(invocation, {"group": group, "copies": rows_json, "alarms": alarms})
    else:
        _print_alarms(invocation, alarms)
        sites = list(dict.fromkeys(site for copy in copies for site in copy.answers))
        rows: list[tuple[str | Text, ...]] = [
            (
                copy.name,
                str(copy.sequence),
                iso(copy.timestamp_us),
                _changed(copy),
                *(_digest(copy, site) for site in sites),
                equal_text(copy.equal),
                protection_text(held.get((copy.sequence, copy.seal))),
            )
            for copy in copies
        ]
        columns = ("pitc", "sequence", "time", "changed blocks", *sites, "", "protected")
        emit_table(invocation, columns, rows, ("sequence", "changed blocks"))
    return DEGRADED if alarms else OK


def show_copy(invocation: Invocation, name: str, group: str, site: str | None, *, json: bool) -> int:
    """One copy, from the receipts, and its volumes from a site's store. 3 if a digest differs."""
    cluster = invocation.deployment.cluster
    cluster.find_group(group)
    copies = _copies(invocation, group)
    named = [copy for copy in copies if name in (copy.name, f"#{copy.sequence}")]
    held, problem = _held(invocation, name, group, site)
    if not named and held is None:
        raise problem or NotFound(f"no copy {name}", group=group, hint="see: tidelog pitc list")
    if held is not None:
        identities = {(copy.sequence, copy.seal, copy.name): copy for copy in copies}
        found = identities.get((held.sequence, held.seal, held.name))
    else:
        found = named[-1]
    alarms = alarms_of([found]) if found is not None else []
    if json:
        emit_json(invocation, _copy_document(group, found, held) | {"alarms": alarms})
    else:
        _print_alarms(invocation, alarms)
        _print_copy(invocation, group, found, held)
        if problem is not None:
            invocation.say(f"volumes are not shown: {problem}")
    return DEGRADED if alarms else OK


def _copies(invocation: Invocation, group: str) -> list[CatalogueCopy]:
    view, forgotten = invocation.deployment.cluster.control.snapshot(), forgotten_at(invocation)
    return [copy_with_dropped(copy, forgotten) for copy in copies_of(view, group, invocation.config.sites)]


def _held(
    invocation: Invocation, name: str, group: str, site: str | None
) -> tuple[Copy | None, NotFound | Unavailable | ExportDamaged | OSError | None]:
    """The copy as a site's store, or its archive, has it; the reason if neither has and no site was asked for by
    name."""
    try:
        with opened_copy(invocation, group, site, name) as (_, copy):
            return copy, None
    except (NotFound, Unavailable, ExportDamaged, OSError) as error:
        if site is not None:
            raise
        return None, error


def _all_held(invocation: Invocation, group: str) -> dict[tuple[int, bytes], Copy]:
    """The copies of the primary's store, by identity; none if it cannot be read."""
    try:
        with opened_store(invocation, group, None) as store:
            return {(copy.sequence, copy.seal): copy for copy in store.copies()}
    except (NotFound, Unavailable, ConfigError, WrongStore, Halted):
        return {}


def protection_json(copy: Copy | None) -> dict[str, Any]:
    """What protects a copy, for programs; null where no store could be asked."""
    if copy is None:
        return {"locked_until": None, "kept": None}
    return {"locked_until": time_or_none(copy.locked_until_us), "kept": copy.kept}


def protection_text(copy: Copy | None) -> str:
    """What protects a copy, for people; a lock is shown until the copy is dropped, ended or not."""
    if copy is None:
        return ""
    parts = [f"locked until {iso(copy.locked_until_us)}"] if copy.locked_until_us else []
    return ", ".join([*parts, *(["kept"] if copy.kept else [])])


def _print_alarms(invocation: Invocation, alarms: list[str]) -> None:
    for alarm in alarms:
        invocation.err.print(Text(f"ALARM: {alarm}", style="bold white on red"), soft_wrap=True)


def _changed(copy: CatalogueCopy) -> str:
    counts = sorted({receipt.blocks_changed for receipt in copy.receipts.values()})
    return "/".join(map(str, counts))


def _digest(copy: CatalogueCopy, site: str) -> Text:
    receipt = copy.receipts.get(site)
    if receipt is not None:
        return Text(short(receipt.digest), style="bold red" if copy.differs else "")
    answer = copy.answers.get(site, Answer.PENDING)
    return Text(answer.value, style=_STYLES.get(answer, "yellow"))


def _copy_document(group: str, found: CatalogueCopy | None, held: Copy | None) -> dict[str, Any]:
    document: dict[str, Any] = {"group": group}
    if found is not None:
        document |= copy_json(found)
    elif held is not None:
        document |= {
            "name": held.name,
            "sequence": held.sequence,
            "seal": held.seal.hex(),
            "time": iso(held.timestamp_us),
            "equal": None,
            "sites": {},
        }
    document |= protection_json(held)
    volumes = held.volumes if held is not None else ()
    document["volumes"] = [
        {"id": volume.id, "name": volume.name, "size": volume.size, "block_size": volume.block_size}
        for volume in volumes
    ]
    return document


def _print_copy(invocation: Invocation, group: str, found: CatalogueCopy | None, held: Copy | None) -> None:
    label = found or held
    assert label is not None  # `show_copy` has one of them
    facts: list[tuple[str, str | Text]] = [
        ("pitc", label.name),
        ("group", group),
        ("sequence", str(label.sequence)),
        ("seal", label.seal.hex()),
        ("time", iso(label.timestamp_us)),
    ]
    if found is not None:
        facts.append(("sites", equal_text(found.equal)))
        for site, answer in found.answers.items():
            receipt = found.receipts.get(site)
            shown = f"digest {receipt.digest.hex()}, formed {iso(receipt.formed_us)}" if receipt else answer.value
            facts.append((f"  {site}", shown))
        for site, archive in found.archives.items():
            facts.append((f"archive of {site}", f"{archive.place}, digest {archive.digest.hex()}"))
    if protection := protection_text(held):
        facts.append(("protected", protection))
    emit_facts(invocation, facts)
    if held is not None:
        rows = [
            (volume.name, str(volume.id), size_text(volume.size), str(volume.block_size)) for volume in held.volumes
        ]
        emit_table(invocation, ("volume", "id", "size", "block size"), rows, ("id", "size", "block size"))
