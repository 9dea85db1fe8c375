"""`tidelog pitc retention`: what stays, what goes, and why."""

from rich.text import Text

from tidelog.clock import iso, time_or_none
from tidelog.config_tables import KeepConfig, KeepRules
from tidelog.consumers.access import read_group
from tidelog.consumers.archive_policy import archive_local, archive_place
from tidelog.consumers.deployment import find_site
from tidelog.consumers.local_retention import apply_local, explain_local
from tidelog.errors import UsageError
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, emit_table
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import opened_store
from tidelog.gateways.cli.writers import writing
from tidelog.gateways.exports.archiving import archiving
from tidelog.producers.archived import archived_copies
from tidelog.producers.lock_time import lock_time_us
from tidelog.producers.retention import Decision, archived_first, plan_retention, rules_text
from tidelog.stores.store import CopyOrigin


def apply_retention(invocation: Invocation, group: str, *, dry_run: bool, take_over: bool, json: bool) -> None:
    """Drops what the group's `keep` does not keep, or only says so. Raises `UsageError` if it has no `keep`."""
    table = invocation.config.groups.get(group)
    if table is None or table.keep is None:
        raise UsageError(
            f"group {group} has no retention", hint=f'set every = "15m" and keep = {{last = 10}} under [groups.{group}]'
        )
    if dry_run:
        decisions = _planned(invocation, group, table.keep, archived_only=table.archive is not None)
    else:
        with writing(invocation, group, take_over=take_over) as opened:
            decisions = opened.apply_retention(table.keep, archived_only=table.archive is not None)
    _show(invocation, {"group": group}, decisions, f"copies of group {group}", table.keep, dry_run=dry_run, json=json)


def apply_site_retention(invocation: Invocation, group: str, site: str, *, dry_run: bool, json: bool) -> None:
    """Drops, at one site, the copies by time that the site's own `keep` does not keep, or only says so.

    Raises `NotFound` for an unknown site, `UsageError` if it has no `keep`, `StoreUnavailable`.
    """
    keep = find_site(invocation.config, site).keep
    if keep is None:
        raise UsageError(
            f"site {site} has no retention of its own: its copies by time stay",
            hint=f"set keep = {{last = 10}} under [sites.{site}]",
        )
    with opened_store(invocation, group, site) as store:
        place = archive_place(invocation.config, site, group, CopyOrigin.TIME)
        if dry_run:
            decisions = [why for _, why in explain_local(store, keep)]
        elif place is None:
            decisions = apply_local(store, keep)
        else:
            with byte_bar(invocation, f"archiving to {place}", None) as advance:
                archive = archiving(invocation.deployment.cluster.control, invocation.config.sites)
                decisions = archive_local(store, keep, place, archive, advance)
    whose = f"copies by time of group {group} at site {site}"
    _show(invocation, {"group": group, "site": site}, decisions, whose, keep, dry_run=dry_run, json=json)


def _show(
    invocation: Invocation,
    about: dict[str, str],
    decisions: list[Decision],
    whose: str,
    keep: KeepRules,
    *,
    dry_run: bool,
    json: bool,
) -> None:
    if json:
        emit_json(invocation, about | {"dry_run": dry_run, "copies": [_as_json(decision) for decision in decisions]})
    else:
        _print(invocation, decisions)
    dropped = sum(decision.dropped for decision in decisions)
    verb = "would be dropped" if dry_run else "are dropped"
    invocation.say(f"{dropped} of {len(decisions)} {whose} {verb} ({rules_text(keep)})")


def _planned(invocation: Invocation, group: str, keep: KeepConfig, *, archived_only: bool) -> list[Decision]:
    state, head = read_group(group, invocation.deployment)
    control = invocation.deployment.cluster.control
    planned = plan_retention(state.copies(), keep, lock_time_us(head.timestamp_us, group, control))
    return archived_first(planned, archived_copies(control.snapshot(), group)) if archived_only else planned


def _as_json(decision: Decision) -> dict[str, object]:
    copy = decision.copy
    return {
        "name": copy.name,
        "sequence": copy.sequence,
        "seal": copy.seal.hex(),
        "time": iso(copy.timestamp_us),
        "decision": "drop" if decision.dropped else "keep",
        "reasons": list(decision.reasons),
        "locked_until": time_or_none(copy.locked_until_us),
        "kept": copy.kept,
    }


def _print(invocation: Invocation, decisions: list[Decision]) -> None:
    rows = [
        (
            decision.copy.name,
            str(decision.copy.sequence),
            iso(decision.copy.timestamp_us),
            Text("drop", style="yellow") if decision.dropped else Text("keep", style="green"),
            "; ".join(decision.reasons),
        )
        for decision in decisions
    ]
    emit_table(invocation, ("pitc", "sequence", "time", "", "because"), rows, ("sequence",))
