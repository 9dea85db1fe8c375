"""`tidelog site rebuild`: the plan shown, then driven with a progress bar, then compared."""

import sys

import typer
from rich.progress import Progress, TaskID
from rich.text import Text

from tidelog.clock import iso
from tidelog.errors import UsageError
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_facts, emit_json, emit_table, seconds_text, short, size_text
from tidelog.gateways.cli.progress import progress_bar
from tidelog.recovery.rebuild import Phase, Rebuild, RebuildProgress, RebuildReport
from tidelog.recovery.rebuild_plan import ERASING, RebuildPlan, plan_rebuild, survey


def rebuild_site(
    invocation: Invocation,
    site: str,
    group: str,
    *,
    yes: bool,
    dry_run: bool,
    from_scratch: bool,
    drop_clones: bool,
    json: bool,
) -> int:
    """The exit code: 0 if the rebuilt copies are what their receipts say, else 3."""
    found = survey(invocation.deployment, site, group)
    plan = plan_rebuild(found, from_scratch=from_scratch, drop_clones=drop_clones)
    if dry_run:
        if json:
            emit_json(invocation, {"plan": plan_json(plan)})
        else:
            emit_facts(invocation, plan_facts(plan))
        return OK
    for name, value in plan_facts(plan):
        invocation.say(f"{name:>8}  {value}")
    if plan.erase and not yes:
        _confirm(site, group)
    rebuild = Rebuild(invocation.deployment, plan)
    with progress_bar(invocation) as bar:
        tasks: dict[Phase, TaskID] = {}
        for progress in rebuild:
            _show(bar, tasks, progress, site)
    _show_report(invocation, plan, rebuild.report, json=json)
    rebuild.report.check()
    return DEGRADED if not all(copy.equal for copy in rebuild.report.copies) else OK


def plan_facts(plan: RebuildPlan) -> list[tuple[str, str | Text]]:
    """A plan for people."""
    store = plan.store
    if store is None:
        there = "nothing: the site has no store of this group"
    elif store.sequence is None:
        there = "what an erase that was cut short, or damage, has left"
    else:
        there = f"everything up to sequence {store.sequence}: {store.volumes} volumes, {store.copies} copies"
    erases = there if plan.erase else "nothing: an earlier rebuild goes on"
    until = f" ({iso(plan.until_timestamp_us)})" if plan.until_timestamp_us else ""
    if plan.erase and store is not None and store.clones:
        erases += f"; clones, which come back from nowhere: {', '.join(store.clones)}"
    if plan.erase and store is not None and store.leases:
        erases += f"; ends {store.leases} exports or open work volumes"
    who = f"the site's worker {plan.worker}" if plan.worker else "this process (no worker of the site is alive)"
    return [
        ("rebuild", f"group {plan.group} at site {plan.site}, from the log"),
        ("erases", erases),
        ("replays", f"sequence {plan.from_sequence} to {plan.until_sequence}{until}"),
        ("reads", f"{plan.records} records, about {size_text(plan.bytes_estimated)}"),
        ("by", who),
    ]


def plan_json(plan: RebuildPlan) -> dict[str, object]:
    """A plan for programs."""
    store = plan.store
    return {
        "site": plan.site,
        "group": plan.group,
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
            "erase_unfinished": store.rebuilding == ERASING,
        },
        "from_sequence": plan.from_sequence,
        "until_sequence": plan.until_sequence,
        "records": plan.records,
        "bytes_estimated": plan.bytes_estimated,
        "worker": plan.worker or None,
    }


def _confirm(site: str, group: str) -> None:
    question = f"This erases group {group} at site {site} first. Type the site's name to go on"
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to confirm", hint="say --yes; --dry-run shows what would be done")
    if typer.prompt(question, err=True) != site:
        raise UsageError("not confirmed; nothing was changed")


def _show(bar: Progress, tasks: dict[Phase, TaskID], progress: RebuildProgress, site: str) -> None:
    if progress.phase is Phase.REPLAYING:
        total, done = progress.bytes_total, progress.bytes_done
        what = f"rebuilding {site}: sequence {progress.done:,} of {progress.total:,}"
    elif progress.phase is Phase.ERASING:
        total, done, what = None, 0, f"erasing {site}: {progress.done:,} keys"
    else:
        total, done, what = None, 0, f"comparing copies: {progress.done} of {progress.total}"
    if progress.phase not in tasks:
        for task in tasks.values():
            bar.update(task, visible=False)
        tasks[progress.phase] = bar.add_task(what, total=total)
    bar.update(tasks[progress.phase], description=what, completed=done, total=total)


def _show_report(invocation: Invocation, plan: RebuildPlan, report: RebuildReport, *, json: bool) -> None:
    if json:
        copies = [
            {
                "name": copy.name,
                "sequence": copy.sequence,
                "digest": copy.digest.hex(),
                "receipts": {site: digest.hex() for site, digest in copy.receipts.items()},
                "equal": copy.equal,
            }
            for copy in report.copies
        ]
        numbers = {
            "keys_erased": report.keys_erased,
            "events": report.events,
            "seconds": round(report.seconds, 3),
            "replay_seconds": round(report.replay_seconds, 3),
            "by": report.by,
            "copies": copies,
        }
        emit_json(invocation, {"plan": plan_json(plan), "report": numbers})
        return
    rate = ""
    if report.replay_seconds:
        events, size = report.events / report.replay_seconds, round(report.bytes_estimated / report.replay_seconds)
        rate = f" at {events:,.0f} events/s, about {size_text(size)}/s"
    invocation.say(
        f"rebuilt in {seconds_text(report.seconds)} by {report.by}: {report.keys_erased:,} keys erased,"
        f" {report.events:,} events replayed{rate}"
    )
    if report.copies:
        rows = [
            (
                copy.name,
                str(copy.sequence),
                short(copy.digest),
                Text("equal", "green") if copy.equal else Text("DIFFERS", "bold white on red"),
                ", ".join(sorted(copy.receipts)) or "no receipts to compare with",
            )
            for copy in report.copies
        ]
        emit_table(invocation, ("pitc", "sequence", "digest", "", "compared with receipts of"), rows, ("sequence",))
