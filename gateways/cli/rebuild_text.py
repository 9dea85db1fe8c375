"""The plan of a rebuild for people and for programs."""

from collections.abc import Sequence

from rich.text import Text

from tidelog.clock import iso
from tidelog.gateways.cli.output import count_text, seconds_text, size_text
from tidelog.recovery.rebuild_bases import Base, BaseKind
from tidelog.recovery.rebuild_plan import ERASING, RebuildPlan

# So many names are written out.
NAMES_MOST = 12


def plan_facts(plan: RebuildPlan) -> list[tuple[str, str | Text]]:
    """A plan for people."""
    who = f"the site's worker {plan.worker}" if plan.worker else "this process (no worker of the site is alive)"
    facts: list[tuple[str, str | Text]] = [
        ("rebuild", f"group {plan.group} at site {plan.site}, from {_from(plan)}"),
        ("why", plan.why),
        ("erases", _erases(plan)),
    ]
    if plan.loads:
        goes_on = plan.store.loading if plan.store is not None and not plan.erase else None
        rest = "" if goes_on is None else f"; goes on behind block {goes_on.block} of volume {goes_on.volume}"
        facts.append(("loads", f"at most {size_text(plan.base.content_bytes)} of blocks, and proves them{rest}"))
    facts += [
        ("replays", _replays(plan)),
        ("takes", f"about {seconds_text(plan.seconds_estimated)} (an estimate, by what other machines did)"),
        ("by", who),
    ]
    if plan.copies_back:
        facts.append(("brings", f"copies {names(plan.copies_back)}, as far as the site's own retention keeps them"))
    gone = () if plan.store is None else tuple(copy.name for copy in plan.store.gone)
    if older := [name for name in plan.copies_lost if name not in gone]:
        lost = f"copies {names(older)} do not come back: they are older than what it begins from"
        facts.append(("leaves", Text(f"{lost}; only an older base, or the log's beginning, brings them", "yellow")))
    if gone and plan.erase:
        lost = f"copies {names(gone)} do not come back: they are not in the log, and no base brings them"
        facts.append(("loses", Text(f"{lost}; export what is wanted of them first", "yellow")))
    if plan.locked_lost:
        locked = f"copies {names(plan.locked_lost)} are locked there, so this needs --leave-locked"
        facts.append(("refused" if not plan.leave_locked else "locked", Text(locked, "red")))
    facts += [("not from", f"{other.what}: {other.why}") for other in plan.others]
    return facts


def plan_json(plan: RebuildPlan) -> dict[str, object]:
    """A plan for programs."""
    store = plan.store
    loading = None if store is None else store.loading
    return {
        "site": plan.site,
        "group": plan.group,
        "from": base_json(plan.base),
        "why": plan.why,
        "not_from": [{"what": other.what, "why": other.why} for other in plan.others],
        "erase": plan.erase,
        "store": None
        if store is None
        else {
            "sequence": store.sequence,
            "volumes": store.volumes,
            "copies": store.copies,
            "clones": list(store.clones),
            "leases": store.leases,
            "rebuilding": store.rebuilding is not None,
            "erase_unfinished": store.rebuilding == ERASING and loading is None and not store.rolling,
            "load_unfinished": loading is not None,
        },
        "load_bytes": plan.base.content_bytes if plan.loads else 0,
        "from_sequence": plan.from_sequence,
        "until_sequence": plan.until_sequence,
        "records": plan.records,
        "bytes_estimated": plan.bytes_estimated,
        "seconds_estimated": round(plan.seconds_estimated, 3),
        "copies_back": list(plan.copies_back),
        "copies_lost": list(plan.copies_lost),
        "locked_lost": list(plan.locked_lost),
        "worker": plan.worker or None,
    }


def base_json(base: Base) -> dict[str, object]:
    """What a rebuild begins from."""
    copy = base.copy
    return {
        "kind": base.kind.value,
        "site": base.source if base.kind is BaseKind.SITE else None,
        "place": base.source if base.kind is BaseKind.EXPORT else None,
        "pitc": None if copy is None else copy.name,
        "sequence": base.sequence,
        "digest": base.digest.hex() if copy is not None else None,
    }


def names(copies: Sequence[str]) -> str:
    """Some of them, and how many more."""
    more = len(copies) - NAMES_MOST
    return ", ".join(copies[:NAMES_MOST]) + (f" and {more} more" if more > 0 else "")


def _from(plan: RebuildPlan) -> str:
    resumed = not plan.loads and not plan.erase
    return "where an earlier rebuild was cut short" if resumed else "the log" if not plan.loads else str(plan.base)


def _replays(plan: RebuildPlan) -> str:
    if plan.from_sequence > plan.until_sequence:
        return "nothing: the log ends there"
    until = f" ({iso(plan.until_timestamp_us)})" if plan.until_timestamp_us else ""
    read = f"{count_text(plan.records, 'record')}, about {size_text(plan.bytes_estimated)}"
    return f"sequence {plan.from_sequence} to {plan.until_sequence}{until}: {read}"


def _erases(plan: RebuildPlan) -> str:
    store = plan.store
    if not plan.erase:
        return "nothing: an earlier rebuild goes on"
    if store is None:
        erases = "nothing: the site has no store of this group"
    elif store.loading is not None:
        erases = f"what was loaded of a copy at sequence {store.loading.sequence}"
    elif store.rolling:
        erases = f"what a roll back that has not ended has left: {count_text(store.copies, 'copy', 'copies')}"
    elif store.sequence is None:
        erases = "what an erase that was cut short, or damage, has left"
    else:
        held = f"{count_text(store.volumes, 'volume')}, {count_text(store.copies, 'copy', 'copies')}"
        erases = f"everything up to sequence {store.sequence}: {held}"
    if store is not None and store.clones:
        erases += f"; clones, which come back from nowhere: {', '.join(store.clones)}"
    if store is not None and store.leases:
        leases = count_text(store.leases, "export or open work volume", "exports and open work volumes")
        erases += f"; ends {leases}"
    return erases
