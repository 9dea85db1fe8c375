"""`tidelog site rebuild`: the plan shown, then driven with a progress bar, then compared."""

from rich.progress import Progress, TaskID
from rich.text import Text

from tidelog.consumers.process_settings import give_way, set_for_worker
from tidelog.gateways.cli.confirming import confirm
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import (
    NOTHING_CHANGED,
    emit_facts,
    emit_json,
    emit_table,
    seconds_text,
    short,
    size_text,
)
from tidelog.gateways.cli.progress import progress_bar
from tidelog.gateways.cli.rebuild_text import names, plan_facts, plan_json
from tidelog.gateways.exports.bases import ExportBases
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import RebuildPlan, plan_rebuild
from tidelog.recovery.rebuild_report import Phase, RebuildProgress, RebuildReport
from tidelog.recovery.rebuild_survey import survey


def rebuild_site(
    invocation: Invocation,
    site: str,
    group: str,
    wanted: Wanted,
    *,
    yes: bool,
    dry_run: bool,
    from_scratch: bool,
    drop_clones: bool,
    leave_locked: bool,
    json: bool,
) -> int:
    """The exit code: 0 if the rebuilt copies are what their receipts say, else 3."""
    found = survey(invocation.deployment, site, group, wanted, ExportBases())
    plan = plan_rebuild(found, from_scratch=from_scratch, drop_clones=drop_clones, leave_locked=leave_locked)
    if dry_run:
        if json:
            emit_json(invocation, {"plan": plan_json(plan), "changed": False})
        else:
            emit_facts(invocation, plan_facts(plan))
            invocation.say(NOTHING_CHANGED)
        return OK
    for name, value in plan_facts(plan):
        invocation.say(f"{name:>8}  {value}")
    if plan.erase and not yes:
        _confirm(invocation, plan)
    if invocation.own_process:
        give_way()
    if plan.loads:
        set_for_worker()  # its threads read, digest and write at once
    rebuild = _driven(invocation, plan)
    _show_report(invocation, plan, rebuild.report, json=json)
    rebuild.report.check()
    return DEGRADED if not all(copy.equal for copy in rebuild.report.copies) else OK


def _driven(invocation: Invocation, plan: RebuildPlan) -> Rebuild:
    with progress_bar(invocation) as bar:
        tasks: dict[str, TaskID] = {}

        def checked(count: int) -> None:
            if "checked" not in tasks:
                tasks["checked"] = bar.add_task(f"checking the files at {plan.base.source}", total=None)
            bar.update(tasks["checked"], advance=count)

        rebuild = Rebuild(invocation.deployment, plan, ExportBases(checked))
        for progress in rebuild:
            _show(bar, tasks, progress, plan.site)
    return rebuild


def _confirm(invocation: Invocation, plan: RebuildPlan) -> None:
    site = plan.site
    lost = f" Copies {names(plan.copies_lost)} do not come back there." if plan.copies_lost else ""
    question = f"This erases group {plan.group} at site {site} first.{lost} Type the site's name to go on"
    confirm(invocation, question, site)


def _show(bar: Progress, tasks: dict[str, TaskID], progress: RebuildProgress, site: str) -> None:
    total: int | None
    if progress.phase in (Phase.LOADING, Phase.PROVING):
        total, done = progress.bytes_total, progress.bytes_done
        what = f"{progress.phase} the base of {site}"
    elif progress.phase is Phase.REPLAYING:
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
            "bytes_loaded": report.bytes_loaded,
            "load_seconds": round(report.load_seconds, 3),
            "events": report.events,
            "seconds": round(report.seconds, 3),
            "replay_seconds": round(report.replay_seconds, 3),
            "by": report.by,
            "copies": copies,
        }
        emit_json(invocation, {"plan": plan_json(plan), "report": numbers})
        return
    rate, loaded = "", ""
    if plan.loads:
        size = f"{size_text(report.bytes_loaded)} loaded from {plan.base.source}"
        loaded = f" {size} and proved in {seconds_text(report.load_seconds)},"
    if report.replay_seconds and report.events:
        events, speed = report.events / report.replay_seconds, round(report.bytes_estimated / report.replay_seconds)
        rate = f" at {events:,.0f} events/s, about {size_text(speed)}/s"
    invocation.say(
        f"rebuilt in {seconds_text(report.seconds)} by {report.by}: {report.keys_erased:,} keys erased,"
        f"{loaded} {report.events:,} events replayed{rate}"
    )
    if report.by == "this process":
        invocation.say(f"no worker of the site is alive, so it stays where it is: tidelog site run {plan.site}")
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
