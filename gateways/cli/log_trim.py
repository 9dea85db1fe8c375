"""`tidelog log trim`: the plan shown, and then done."""

from collections.abc import Collection

from tidelog.clock import iso
from tidelog.gateways.cli.confirming import confirm
from tidelog.gateways.cli.exit_codes import OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import NOTHING_CHANGED, emit_facts, emit_json, make_table
from tidelog.recovery.trim import plan, trim
from tidelog.recovery.trim_plan import TrimPlan

COLUMNS = ("who", "needs all after sequence", "why")
NUMBERS = ("needs all after sequence",)


def trim_log(
    invocation: Invocation, group: str, margin: float, without: Collection[str], *, dry_run: bool, yes: bool, json: bool
) -> int:
    """The exit code. Planned anew once it is confirmed: what a site needs may have changed meanwhile."""
    planned = plan(invocation.deployment, group, margin, without)
    if not dry_run and planned.records and not yes:
        _show(invocation, planned, to_stderr=True)
        confirm(invocation, "Deleted records come back from nowhere. Type the group's name to go on", group)
        planned = plan(invocation.deployment, group, margin, without)
    if not dry_run:
        trim(invocation.deployment, planned)
    if json:
        emit_json(invocation, {"plan": plan_json(planned), "trimmed": not dry_run and planned.records > 0})
        return OK
    _show(invocation, planned, to_stderr=False)
    if dry_run:
        invocation.say(NOTHING_CHANGED)
    elif planned.records:
        invocation.say(f"{planned.records} records deleted; the log of group {group} begins at offset {planned.offset}")
    return OK


def plan_json(planned: TrimPlan) -> dict[str, object]:
    """A plan for programs."""
    base = planned.base
    return {
        "group": planned.group,
        "start_offset": planned.bounds.start,
        "end_offset": planned.bounds.end,
        "trim_to_offset": planned.offset,
        "records": planned.records,
        "base": None
        if base is None
        else {"name": base.name, "sequence": base.sequence, "seal": base.seal.hex(), "time": iso(base.timestamp_us)},
        "needs": [{"who": need.who, "sequence": need.sequence, "why": need.why} for need in planned.needs],
    }


def _show(invocation: Invocation, planned: TrimPlan, *, to_stderr: bool) -> None:
    base = planned.base
    if base is None:
        goes = "nothing"
        if planned.needs:
            goes += f"; what holds it back first is {planned.needs[0].who}: {planned.needs[0].why}"
    else:
        to = f"copy {base.name} at sequence {base.sequence}, {iso(base.timestamp_us)}"
        goes = f"{planned.records} records, up to {to}"
    facts = [("log", f"offsets {planned.bounds.start} to {planned.bounds.end}"), ("deletes", goes)]
    table = make_table(COLUMNS, [(need.who, str(need.sequence), need.why) for need in planned.needs], NUMBERS)
    if to_stderr:
        for name, value in facts:
            invocation.say(f"{name:>8}  {value}")
        return
    emit_facts(invocation, facts)
    invocation.out.print(table)
