"""`tidelog pitc list` and `show`: the catalogue, and one copy of it. Locks and keeps are those at a site's store."""

from contextlib import closing
from typing import Any

from rich.text import Text

from tidelog.clock import iso, time_or_none, wall_us
from tidelog.consumers.catalogue import Answer, CatalogueCopy, alarms_of, copies_of
from tidelog.consumers.ordered_sets import copy_with_dropped
from tidelog.errors import ExportDamaged, LogUnavailable, NotFound, TidelogError, Unavailable
from tidelog.gateways.cli.asking import asked, say_unasked, unasked_json
from tidelog.gateways.cli.copy_holds import HeldCopy, dropped, dropped_json, held_copies, holds_json, holds_text
from tidelog.gateways.cli.copy_lost import LostCopy, lost_copies, lost_json, lost_rows
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.forgotten import forgotten_at
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_facts, emit_json, emit_table, equal_text, short, size_text
from tidelog.gateways.cli.reading import opened_copy, opened_store, store_without_kafka
from tidelog.gateways.cli.store_alone import listed_alone
from tidelog.gateways.cli.store_words import unserved_sites, with_unserved
from tidelog.gateways.standing.documents import copy_json
from tidelog.schemas.control import CopyFormed
from tidelog.stores.store import Copy

_STYLES = {
    Answer.FORMED: "green",
    Answer.ARCHIVED: "cyan",
    Answer.DROPPED: "dim",
    Answer.BEGINS_LATER: "dim",
    Answer.OUT_OF_WINDOW: "bold red",
    Answer.EMPTIED: "bold red",
}


def list_copies(invocation: Invocation, group: str, site: str | None, *, json: bool) -> int:
    """Every copy x every site. 3 if a digest differs, or if Kafka does not answer and one site's store is all there
    is."""
    sites = list(invocation.config.sites)
    try:
        invocation.deployment.cluster.find_group(group)
        copies = _copies(invocation, group)
        held = _all_held(invocation, group, site)
        partial = False
    except LogUnavailable as error:
        with closing(store_without_kafka(invocation, group, site, error)) as store:
            formed = store.copies()
            copies = [listed_alone(store, copy, sites) for copy in formed]
        held = {(copy.sequence, copy.seal, copy.name): copy for copy in formed}
        partial = True
    alarms = alarms_of(copies)
    holds = held_copies(invocation, group, sites if site is None else [site])
    lost = lost_copies(invocation, group, sites if site is None else [site])
    if json:
        rows_json = [
            copy_json(copy) | protection_json(held.get((copy.sequence, copy.seal, copy.name)), _of(holds, copy))
            for copy in copies
        ]
        more = {"dropped": dropped_json(holds), "lost": lost_json(lost), "unasked": unasked_json(invocation)}
        document = {"copies": rows_json, **more, "alarms": alarms}
        emit_json(invocation, {"group": group} | document)
    else:
        _print_alarms(invocation, alarms)
        _print_copies(invocation, copies, held, holds, lost)
    say_unasked(invocation)
    return DEGRADED if alarms or partial else OK


def show_copy(invocation: Invocation, name: str, group: str, site: str | None, *, json: bool) -> int:
    """One copy, from the receipts, and its volumes from a site's store. 3 if a digest differs, or if Kafka does not
    answer and one site's store is all there is."""
    problem: NotFound | Unavailable | ExportDamaged | OSError | None = None
    try:
        invocation.deployment.cluster.find_group(group)
        copies = _copies(invocation, group)
        held, problem = _held(invocation, name, group, site)
        partial = False
    except LogUnavailable as error:
        with closing(store_without_kafka(invocation, group, site, error)) as store:
            held = store.copy(name)
            copies = [listed_alone(store, held, invocation.config.sites)]
        partial = True
    found = _found(copies, held, name)
    holds = held_copies(invocation, group, invocation.config.sites if site is None else [site])
    if found is None and held is None:
        gone = [str(one) for one in holds if name in (one.copy.name, f"#{one.copy.sequence}")]
        if gone:
            raise NotFound(f"copy {name} is dropped; its blocks stay until it is held no longer by {', '.join(gone)}")
        raise problem or NotFound(f"no copy {name}", group=group, hint="see: tidelog pitc list")
    alarms = alarms_of([found]) if found is not None else []
    if json:
        emit_json(
            invocation,
            _copy_document(group, found, held, holds) | {"alarms": alarms} | {"unasked": unasked_json(invocation)},
        )
    else:
        _print_alarms(invocation, alarms)
        _print_copy(invocation, group, found, held, holds)
        if problem is not None:
            invocation.say(f"volumes are not shown: {problem}")
    say_unasked(invocation)
    return DEGRADED if alarms or partial else OK


def _found(copies: list[CatalogueCopy], held: Copy | None, name: str) -> CatalogueCopy | None:
    """The one of that name in the catalogue; what a store holds decides which, where one could be asked."""
    if held is not None:
        identities = {(copy.sequence, copy.seal, copy.name): copy for copy in copies}
        return identities.get((held.sequence, held.seal, held.name))
    named = [copy for copy in copies if name in (copy.name, f"#{copy.sequence}")]
    return named[-1] if named else None


def _copies(invocation: Invocation, group: str) -> list[CatalogueCopy]:
    view, forgotten = invocation.deployment.cluster.control.snapshot(), forgotten_at(invocation)
    found = [copy_with_dropped(copy, forgotten) for copy in copies_of(view, group, invocation.config.sites)]
    unserved = unserved_sites(invocation, group, invocation.config.sites if found else ())
    return [with_unserved(copy, unserved) for copy in found]


def _held(
    invocation: Invocation, name: str, group: str, site: str | None
) -> tuple[Copy | None, NotFound | Unavailable | ExportDamaged | OSError | None]:
    """The copy as a site's store, or its archive, has it; the reason if neither has and no site was asked for by
    name."""
    if site is None and isinstance(why := invocation.unasked.get(invocation.config.primary or ""), Unavailable):
        return None, why
    try:
        with opened_copy(invocation, group, site, name, None) as (_, copy):
            return copy, None
    except (NotFound, Unavailable, ExportDamaged, OSError) as error:
        if site is not None:
            raise
        return None, error


def _all_held(invocation: Invocation, group: str, site: str | None) -> dict[tuple[int, bytes, str], Copy]:
    """The copies of a store, by identity; none if that of the primary cannot be read and no other was asked for."""
    if site is not None:
        with opened_store(invocation, group, site) as store:
            copies = store.copies()
    else:
        primary = invocation.config.primary
        answers = asked(invocation, group, [primary] if primary else [], lambda store: store.copies()).values()
        copies = next((answer for answer in answers if not isinstance(answer, TidelogError)), [])
    return {(copy.sequence, copy.seal, copy.name): copy for copy in copies}


def _of(holds: list[HeldCopy], copy: CatalogueCopy | Copy) -> list[HeldCopy]:
    return [held for held in holds if held.identity == (copy.sequence, copy.seal, copy.name)]


def protection_json(copy: Copy | None, holds: list[HeldCopy]) -> dict[str, Any]:
    """What protects a copy, for programs; lock and keep are null where no store could be asked."""
    held = {"held_by": holds_json(holds)}
    if copy is None:
        return {"locked_until": None, "kept": None} | held
    return {"locked_until": time_or_none(copy.locked_until_us), "kept": copy.kept} | held


def protection_text(copy: Copy | None, holds: list[HeldCopy]) -> str:
    """What protects a copy, for people."""
    parts = [lock_text(copy.locked_until_us)] if copy is not None and copy.locked_until_us else []
    parts += ["kept"] if copy is not None and copy.kept else []
    return ", ".join([*parts, *filter(None, [holds_text(holds)])])


def lock_text(until_us: int) -> str:
    """A lock, for people. Whether it has ended is this machine's clock's word here; a drop asks the log."""
    return f"{'locked until' if until_us > wall_us() else 'lock ended'} {iso(until_us)}"


def _print_alarms(invocation: Invocation, alarms: list[str]) -> None:
    for alarm in alarms:
        invocation.err.print(Text(f"ALARM: {alarm}", style="bold white on red"), soft_wrap=True)


def _print_copies(
    invocation: Invocation,
    copies: list[CatalogueCopy],
    held: dict[tuple[int, bytes, str], Copy],
    holds: list[HeldCopy],
    lost: list[LostCopy],
) -> None:
    sites = list(dict.fromkeys(site for copy in copies for site in copy.answers))
    rows: list[tuple[str | Text, ...]] = [
        (
            copy.name,
            str(copy.sequence),
            iso(copy.timestamp_us),
            _changed(copy),
            *(_digest(copy, site) for site in sites),
            _verdict(copy),
            protection_text(held.get((copy.sequence, copy.seal, copy.name)), _of(holds, copy)),
        )
        for copy in copies
    ]
    for gone, of_it in dropped(holds):
        dashes = ["-"] * len(sites)
        time, what = iso(gone.timestamp_us), Text("dropped", style="yellow")
        rows.append((gone.name, str(gone.sequence), time, "-", *dashes, what, holds_text(of_it)))
    rows += lost_rows(lost, len(sites), holds)
    columns = ("pitc", "sequence", "time", "changed blocks", *sites, "sites", "protected")
    emit_table(invocation, columns, rows, ("sequence", "changed blocks"))


def _verdict(copy: CatalogueCopy) -> Text:
    unknown = copy.equal is None and Answer.UNKNOWN in copy.answers.values()
    return Text(Answer.UNKNOWN.value, style="yellow") if unknown else equal_text(copy.equal)


def _changed(copy: CatalogueCopy) -> str:
    counts = sorted({receipt.blocks_changed for receipt in copy.receipts.values()})
    return "/".join(map(str, counts))


def _digest(copy: CatalogueCopy, site: str) -> Text:
    receipt, answer = copy.receipts.get(site), copy.answers.get(site, Answer.PENDING)
    if receipt is not None and answer is Answer.FORMED:
        return Text(short(receipt.digest), style="bold red" if copy.differs else "")
    return answer_text(answer)


def answer_text(answer: Answer) -> Text:
    """What a site says of a copy, for people."""
    return Text(answer.value.replace("_", " "), style=_STYLES.get(answer, "yellow"))


def _receipt_text(receipt: CopyFormed) -> str:
    formed = f", formed {iso(receipt.formed_us)}" if receipt.formed_us else ""
    return f"digest {receipt.digest.hex()}{formed}"


def _copy_document(group: str, found: CatalogueCopy | None, held: Copy | None, holds: list[HeldCopy]) -> dict[str, Any]:
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
    label = found or held
    document |= protection_json(held, [] if label is None else _of(holds, label))
    volumes = held.volumes if held is not None else ()
    document["volumes"] = [
        {"id": volume.id, "name": volume.name, "size": volume.size, "block_size": volume.block_size}
        for volume in volumes
    ]
    return document


def _print_copy(
    invocation: Invocation, group: str, found: CatalogueCopy | None, held: Copy | None, holds: list[HeldCopy]
) -> None:
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
        facts.append(("sites", _verdict(found)))
        for site, answer in found.answers.items():
            receipt = found.receipts.get(site)
            told = receipt if answer is Answer.FORMED else None
            facts.append((f"  {site}", _receipt_text(told) if told else answer_text(answer)))
        for site, archive in found.archives.items():
            facts.append((f"archive of {site}", f"{archive.place}, digest {archive.digest.hex()}"))
    if protection := protection_text(held, _of(holds, label)):
        facts.append(("protected", protection))
    emit_facts(invocation, facts)
    if held is not None:
        rows = [
            (volume.name, str(volume.id), size_text(volume.size), str(volume.block_size)) for volume in held.volumes
        ]
        emit_table(invocation, ("volume", "id", "size", "block size"), rows, ("id", "size", "block size"))
