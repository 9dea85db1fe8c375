"""`tidelog site rollback`: where two histories part, shown; what is lost, kept; the way back, driven with a bar."""

from contextlib import closing

from tidelog.clock import iso, time_or_none
from tidelog.consumers.deployment import open_store
from tidelog.consumers.process_settings import set_for_worker
from tidelog.errors import UsageError
from tidelog.gateways.cli.confirming import confirm
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import NOTHING_CHANGED, count_text, emit_facts, emit_json, seconds_text, size_text
from tidelog.gateways.cli.progress import byte_bar, progress_bar
from tidelog.gateways.cli.site_rebuild import rebuild_site
from tidelog.gateways.exports.writing import content_bytes, write_export
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rollback import RollbackReport, SiteRollback, finish_forming
from tidelog.recovery.rollback_plan import RollbackPlan, Way, plan_rollback
from tidelog.schemas.chain import Head
from tidelog.stores.rollback import LOST_TAIL, Rollback
from tidelog.stores.store import Copy


def roll_back_site(
    invocation: Invocation,
    site: str,
    group: str,
    *,
    yes: bool,
    dry_run: bool,
    export: str | None,
    drop_clones: bool,
    json: bool,
) -> int:
    """The exit code: 0; 3 if a worker that is alive has not gone on by the end."""
    plan = plan_rollback(invocation.deployment, site, group)
    if plan.way is not Way.REBUILD and drop_clones:
        raise UsageError("--drop-clones is about a store that is erased, and this one is not", group=group)
    if dry_run or plan.way is Way.NOTHING:
        _show_plan(invocation, plan, json=json)
        return OK
    for name, value in plan_facts(plan):
        invocation.say(f"{name:>10}  {value}")
    if plan.way is Way.REBUILD:
        if export is not None:
            _keep_elsewhere(invocation, site, group, export)
        return rebuild_site(
            invocation,
            site,
            group,
            Wanted(),
            yes=yes,
            dry_run=False,
            from_scratch=True,
            drop_clones=drop_clones,
            leave_locked=False,
            json=json,
        )
    if plan.way is Way.ROLL_BACK and not yes:
        question = f"This takes group {plan.group} at site {plan.site} back. Type the site's name to go on"
        confirm(invocation, question, plan.site)
    roll_back = SiteRollback(invocation.deployment, plan)
    with progress_bar(invocation) as bar:
        task = bar.add_task(f"rolling {site} back, by blocks", total=None)
        for done, total in roll_back:
            bar.update(task, completed=done, total=total)
    if export is not None and plan.way is not Way.RELOCATE:
        _export(invocation, site, group, export)
    _show_report(invocation, plan, roll_back.report, json=json)
    return DEGRADED if roll_back.report.waits else OK


def _show_plan(invocation: Invocation, plan: RollbackPlan, *, json: bool) -> None:
    if json:
        emit_json(invocation, {"plan": plan_json(plan)})
        return
    emit_facts(invocation, plan_facts(plan))
    if plan.way is not Way.NOTHING:
        invocation.say(NOTHING_CHANGED)


def plan_facts(plan: RollbackPlan) -> list[tuple[str, str]]:
    """A plan for people."""
    stands = f"sequence {plan.position.sequence} ({iso(plan.position.timestamp_us)})"
    facts = [("site", f"group {plan.group} at site {plan.site} stands at {stands}")]
    if plan.way is Way.NOTHING:
        return [
            *facts,
            ("nothing", "to roll back: the log goes on from there. If its worker has halted, start it again"),
        ]
    if plan.way is Way.RELOCATE:
        return [
            *facts,
            ("nothing", f"to roll back: that event is in the log, at {_place(plan.head)}; the site goes on there"),
        ]
    if plan.way is Way.RESUME:
        return [*facts, ("goes on", "with a roll back that was cut short; what it lost is in lost-tail")]
    facts.append(("shares", f"with the log everything up to {_when(plan.common)}, as far as the site knows"))
    facts.append(("lost tail", _tail_text(plan)))
    if plan.way is Way.REBUILD:
        facts.append(("goes back", "to nothing: no copy of the site is in the log as it is now"))
        facts.append(("erases", "the store, with every copy of it, and replays the log from its beginning"))
        facts.append(("keeps", f"the lost tail if --export PLACE says where: copy {LOST_TAIL} is exported first"))
        return facts
    assert plan.copy is not None
    facts.append(("goes back", f"to copy {plan.copy.name}, {_when(plan.head)}"))
    blocks = f"{count_text(plan.blocks, 'block')}, {size_text(plan.size)} at the most"
    facts.append(("moves", f"{blocks}, within the site's Redis"))
    facts.append(("keeps", f"all that the site holds now, as its local copy {LOST_TAIL}"))
    if plan.lost_copies:
        names = ", ".join(f"{copy.name} (sequence {copy.sequence})" for copy in plan.lost_copies)
        facts.append(("lost", f"to the log are these copies, which stay as lost-...: {names}"))
    replayed = count_text(plan.replayed, "event or write", "events and writes")
    facts.append(("replays", f"{replayed}, to {_when(plan.end)}"))
    facts.append(("by", f"the site's worker {plan.worker}" if plan.worker else "the site's next worker: none is alive"))
    return facts


def plan_json(plan: RollbackPlan) -> dict[str, object]:
    """A plan for programs."""
    first, last = plan.lost_sequences
    return {
        "site": plan.site,
        "group": plan.group,
        "way": plan.way.value,
        "position": _head_json(plan.position),
        "common": _head_json(plan.common),
        "copy": None if plan.copy is None else _copy_json(plan.copy),
        "log_head": _head_json(plan.end),
        "lost_tail": {
            "first_sequence": first,
            "last_sequence": last,
            "from": time_or_none(plan.common.timestamp_us if plan.common else 0),
            "until": time_or_none(plan.position.timestamp_us),
            "torn": plan.torn,
        },
        "lost_copies": [_copy_json(copy) for copy in plan.lost_copies],
        "blocks": plan.blocks,
        "bytes": plan.size,
        "replayed": plan.replayed,
        "worker": plan.worker or None,
    }


def _head_json(head: Head | None) -> dict[str, object] | None:
    if head is None:
        return None
    return {"sequence": head.sequence, "seal": head.seal.hex(), "time": time_or_none(head.timestamp_us)}


def _copy_json(copy: Copy) -> dict[str, object]:
    return {"name": copy.name, "sequence": copy.sequence, "seal": copy.seal.hex(), "time": iso(copy.timestamp_us)}


def _when(head: Head | None) -> str:
    if head is None or not head.sequence:
        return "the beginning"
    return f"sequence {head.sequence} ({iso(head.timestamp_us)})"


def _place(head: Head | None) -> str:
    return f"offset {head.offset}" if head is not None else "another place"


def _tail_text(plan: RollbackPlan) -> str:
    first, last = plan.lost_sequences
    if first > last:
        return "nothing"
    since = plan.common.timestamp_us if plan.common else 0
    span = f" ({(plan.position.timestamp_us - since) / 1e6:.3f} s of the log's time)" if since else ""
    torn = "; and the first blocks of one event more, which was applied in part" if plan.torn else ""
    count = count_text(last - first + 1, "event or write", "events and writes")
    return f"sequence {first} to {last}: {count} at the most{span}{torn}"


def _keep_elsewhere(invocation: Invocation, site: str, group: str, place: str) -> None:
    """Cuts ``lost-tail`` of a store that is about to be erased, and exports it."""
    deployment = invocation.deployment
    with (
        closing(open_store(deployment, site, group)) as store,
        closing(deployment.keyspace(site, group)) as keyspace,
        Rollback(keyspace, store.identity) as rollback,
    ):
        finish_forming(store, rollback)
        rollback.cut_tail()
    _export(invocation, site, group, place)


def _export(invocation: Invocation, site: str, group: str, place: str) -> None:
    set_for_worker()  # its threads read, write and prove at once
    with closing(open_store(invocation.deployment, site, group)) as store:
        tail = store.copy(LOST_TAIL)
        with byte_bar(invocation, f"exporting {LOST_TAIL}", content_bytes(store, tail, None)) as advance:
            manifest = write_export(store, tail, place, None, advance)
    invocation.say(f"exported {LOST_TAIL} (sequence {tail.sequence}) to {place}: {size_text(manifest.size)}, verified")


def _show_report(invocation: Invocation, plan: RollbackPlan, report: RollbackReport, *, json: bool) -> None:
    if json:
        numbers = {
            "blocks": report.blocks,
            "seconds": round(report.seconds, 3),
            "worker": report.worker or None,
            "worker_goes_on": bool(report.worker) and not report.waits,
        }
        emit_json(invocation, {"plan": plan_json(plan), "report": numbers})
        return
    what = "goes on in the log" if plan.way is Way.RELOCATE else f"rolled back, {report.blocks} blocks"
    invocation.say(f"site {plan.site} {what} in {seconds_text(report.seconds)}")
    if report.waits:
        invocation.say(f"worker {report.worker} has not gone on yet: see tidelog site status {plan.site}")
    elif not report.worker:
        invocation.say(f"no worker of the site is alive: tidelog site run {plan.site}")
    if plan.way is not Way.RELOCATE:
        invocation.say(f"what was lost: tidelog pitc diff COPY {LOST_TAIL} --group {plan.group} --site {plan.site}")
