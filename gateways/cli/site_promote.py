"""`tidelog site promote`: the plan shown, then carried out."""

from pathlib import Path
from typing import Any

from rich.text import Text

from tidelog.clock import iso
from tidelog.errors import UsageError
from tidelog.gateways.cli.exit_codes import OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.lost_tail import answers, missing_text, tail_json, tail_of
from tidelog.gateways.cli.output import NOTHING_CHANGED, emit_facts, emit_json, seconds_text
from tidelog.gateways.cli.primary_text import primary_text, source_text
from tidelog.gateways.cli.sidefile_files import refuse_undrained
from tidelog.gateways.standing.documents import primary_json
from tidelog.recovery.promote import Promotion, PromotionReport
from tidelog.recovery.promote_plan import PromotionPlan, plan_promotion
from tidelog.schemas.mirrors import HistorySealed
from tidelog.schemas.reports import CLOSED
from tidelog.units import parse_duration


def promote_site(
    invocation: Invocation,
    site: str,
    group: str,
    timeout: str,
    *,
    forced: bool,
    mirror_stopped: bool,
    give_up: bool,
    other: Path | None,
    dry_run: bool,
    json: bool,
) -> int:
    """The exit code: 0 also where the site is the primary already. ``other`` is the configuration of the region that a
    mirror comes from."""
    deployment = invocation.deployment
    if not forced:
        refuse_undrained(deployment.config, group)
    seconds = parse_duration(timeout)
    plan = plan_promotion(
        deployment, site, group, forced=forced, timeout=seconds, mirror_stopped=mirror_stopped, give_up=give_up
    )
    if other is not None and plan.mirror is None:
        raise UsageError(f"--with is for a log that is a mirror, and that of group {group} is none", group=group)
    if other is not None and plan.mirror is not None and not answers(invocation, other, plan.mirror):
        other = None  # once is enough: a Kafka that is gone is waited for
    report = None if dry_run else Promotion(deployment, plan).run(invocation.say)
    if plan.done:
        report = None  # nothing but what an earlier one has left
    common = plan.head if report is None or report.sealed is None else report.sealed
    missing = None if other is None else tail_of(invocation, other, group, common.sequence, common.seal)
    if json:
        told = {} if dry_run else {"report": None if report is None else _report_json(report)}
        told |= {} if plan.mirror is None else {"missing": tail_json(missing)}
        emit_json(invocation, {"plan": _plan_json(plan)} | told)
    elif plan.done and not dry_run:
        invocation.out.print(_primary_sentence(plan), soft_wrap=True, markup=False, highlight=False)
    else:
        facts = _plan_facts(plan) if report is None else _report_facts(report)
        if plan.mirror is not None:
            facts.append(("missing", missing_text(common.sequence, common.timestamp_us, missing)))
        emit_facts(invocation, facts)
        if dry_run:
            invocation.say(NOTHING_CHANGED)
    return OK


def _primary_sentence(plan: PromotionPlan) -> str:
    since = f" since {iso(plan.before.chosen_us)} (epoch {plan.before.epoch})" if plan.before is not None else ""
    return f"site {plan.site} is the primary of group {plan.group} already{since}; nothing is to be done"


def _plan_facts(plan: PromotionPlan) -> list[tuple[str, str | Text]]:
    if plan.done:
        return [("promote", _primary_sentence(plan))]
    behind = plan.head.sequence - plan.applied
    writer = "none is alive: nobody is asked"
    if plan.mirror is not None:
        writer = "of the other region is not asked, and NOT fenced: it writes on, to be lost, until you stop it"
    elif plan.forced:
        writer = "is not asked: one that lives is fenced, and what it has not flushed may or may not be in the log"
    elif plan.writer is not None:
        who = plan.writer.process or "it has never reported"
        writer = (
            f"epoch {plan.writer.epoch}, {who}, last heard of {seconds_text(plan.writer.silent_seconds)} ago:"
            f" is asked to flush and end, within {seconds_text(plan.timeout)}"
        )
    primary = primary_text(plan.before, plan.configured)
    if plan.mirror is not None:
        primary = f"in another region: the log is a mirror of {source_text(plan.mirror)}, and is no more then"
    return [
        ("promote", f"site {plan.site}, for group {plan.group}"),
        ("primary", primary),
        ("log", f"sequence {plan.head.sequence}, epoch {plan.head.epoch}"),
        ("applied", f"sequence {plan.applied} at {plan.site}" + (f": {behind} behind" if behind > 0 else "")),
        ("writer", writer),
        ("then", f"a new epoch is opened, and whoever opens the group from then on writes and reads at {plan.site}"),
    ]


def _plan_json(plan: PromotionPlan) -> dict[str, Any]:
    writer = plan.writer
    return {
        "site": plan.site,
        "group": plan.group,
        "forced": plan.forced,
        "done": plan.done,
        "primary": primary_json(plan.before, plan.configured or None) if plan.mirror is None else None,
        "mirror_of": None if plan.mirror is None else plan.mirror.source_cluster,
        "sequence": plan.head.sequence,
        "epoch": plan.head.epoch,
        "applied": plan.applied if not plan.done else None,
        "writer": None
        if writer is None
        else {"epoch": writer.epoch, "process": writer.process or None, "silent_seconds": writer.silent_seconds},
        "timeout_seconds": plan.timeout,
    }


def _report_facts(report: PromotionReport) -> list[tuple[str, str | Text]]:
    before = report.before or ("in another region" if report.sealed is not None else "none")
    ended = [
        f"epoch {last.epoch}, {last.process}: "
        + (f"all in the log, up to sequence {last.sequence}" if last.state == CLOSED else last.reason)
        for last in report.stopped
    ]
    return [
        ("primary", f"{report.site} for group {report.group}; before: {before}"),
        ("epoch", f"{report.epoch}, opened at sequence {report.sequence}"),
        ("writer", "; ".join(ended) or ("not asked" if report.forced else "none was alive")),
        ("took", f"{seconds_text(report.seconds)}, {seconds_text(report.without_writer)} of it without a writer"),
    ]


def _report_json(report: PromotionReport) -> dict[str, Any]:
    return {
        "epoch": report.epoch,
        "sequence": report.sequence,
        "seal": report.seal.hex(),
        "before": report.before or None,
        "sealed": None if report.sealed is None else _sealed_json(report.sealed),
        "stopped": [
            {
                "epoch": last.epoch,
                "process": last.process,
                "state": last.state,
                "reason": last.reason,
                "sequence": last.sequence,
            }
            for last in report.stopped
        ],
        "catching_up_seconds": round(report.catching_up, 6),
        "without_writer_seconds": round(report.without_writer, 6),
        "seconds": round(report.seconds, 6),
    }


def _sealed_json(sealed: HistorySealed) -> dict[str, Any]:
    return {
        "log": sealed.log or None,
        "sequence": sealed.sequence,
        "seal": sealed.seal.hex(),
        "timestamp": iso(sealed.timestamp_us),
    }
