"""`tidelog site verify` and `tidelog site resync`: where a site's store is wrong, and what mends it."""

from typing import Any

from rich.text import Text

from tidelog.consumers.deployment import find_site
from tidelog.errors import CopiesDiffer, NotFound, TidelogError, Unavailable
from tidelog.gateways.cli.copy_verify import verify_stored
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import NOTHING_CHANGED, emit_json, emit_table, size_text
from tidelog.gateways.cli.progress import byte_bar
from tidelog.gateways.cli.reading import opened_store
from tidelog.recovery.resync import ResyncReport
from tidelog.recovery.resync_plan import ResyncPlan, extents
from tidelog.recovery.resync_rounds import comparing, resync
from tidelog.schemas.control import GroupCreated

# Of the blocks that differ, so many are listed.
LISTED_MAX = 1000
ROWS_MAX = 20


def verify_site(invocation: Invocation, site: str, groups: list[str], against: str | None, *, json: bool) -> int:
    """Compares every copy of a site's groups (default: all) with the same copies at another site, by default the first
    one that can be had, and what only this site has with its own receipts. Changes nothing. 3 if a part could not be
    compared.

    Raises `CopiesDiffer` if anything differs; `NotFound`, `StoreUnavailable`, `LogUnavailable`, `SiteBehind`.
    """
    plans, known = [], True
    for group in groups or _all_groups(invocation):
        plans.append(_verified(invocation, site, group, against))
        known = _alone(invocation, plans[-1]) and known
    if json:
        emit_json(invocation, {"site": site, "groups": [plan_json(plan) for plan in plans]})
    for plan in plans:
        if not json:
            _show(invocation, plan)
        _say_limits(invocation, plan)
    wrong = [plan for plan in plans if not plan.clean]
    if wrong:
        raise _differs(wrong[0])
    return DEGRADED if not known or any(plan.unfollowed for plan in plans) else OK


def resync_site(invocation: Invocation, site: str, other: str, groups: list[str], *, dry_run: bool, json: bool) -> int:
    """Mends what differs, in every group asked for (default: all); with ``dry_run`` says what that is.

    Raises `CopiesDiffer` if the other site is not what the receipts say, or something is left that cannot be mended;
    and what `verify_site` raises.
    """
    documents, plans = [], list[ResyncPlan]()
    for group in groups or _all_groups(invocation):
        plan, report = _resynced(invocation, site, other, group, dry_run=dry_run, json=json)
        _say_limits(invocation, plan)
        documents.append({"plan": plan_json(plan), "report": None if report is None else report_json(report)})
        plans.append(plan)
    if json:
        emit_json(invocation, {"site": site, "from": other, "groups": documents})
    left = [plan for plan in plans if plan.broken]
    if left:
        raise _unmended(left[0])
    return DEGRADED if any(plan.unfollowed for plan in plans) else OK


def plan_json(plan: ResyncPlan) -> dict[str, Any]:
    """For programs."""
    found = plan.damaged(LISTED_MAX)
    return {
        "group": plan.group,
        "against": plan.other,
        "equal": plan.clean,
        "copies_compared": [pair.mine.name for pair in reversed(plan.pairs)],
        "copies_not_compared": [copy.name for copy in plan.here_alone],
        "blocks_differing": plan.blocks_differing,
        "bytes_differing": plan.bytes_differing,
        "bits_differing": plan.bits_differing,
        "digests_wrong": plan.digests_wrong,
        "broken": plan.broken,
        "live_blocks_not_compared": plan.unfollowed,
        "confirmed": not plan.unconfirmed,
        "bytes_compared": plan.bytes_compared,
        "blocks": [
            {
                "volume": one.volume.name,
                "block": one.block,
                "offset": one.block * one.volume.block_size,
                "copies": list(one.copies),
                "live": one.live,
            }
            for one in found
        ],
    }


def report_json(report: ResyncReport) -> dict[str, int]:
    """For programs."""
    return {
        "blocks_mended": report.blocks,
        "bytes_moved": report.bytes_moved,
        "bytes_written": report.bytes_written,
        "bits_mended": report.bits,
        "digests_mended": report.digests,
        "bytes_compared": report.bytes_compared,
    }


def _all_groups(invocation: Invocation) -> list[str]:
    view = invocation.deployment.cluster.control.snapshot()
    found = sorted(record.group for record in view.values() if isinstance(record, GroupCreated))
    if not found:
        raise NotFound("there is no group", hint="tidelog group create NAME")
    return found


def _survey(invocation: Invocation, site: str, other: str, group: str) -> ResyncPlan:
    with (
        comparing(invocation.deployment, site, other, group) as between,
        byte_bar(invocation, f"comparing group {group} at {site} and {other}", None) as advance,
    ):
        return between.survey(advance)


def _resynced(
    invocation: Invocation, site: str, other: str, group: str, *, dry_run: bool, json: bool
) -> tuple[ResyncPlan, ResyncReport | None]:
    """The first round's plan, and what all rounds have done; shows each plan."""

    def show(plan: ResyncPlan) -> None:
        if not json:
            _show(invocation, plan)

    if dry_run:
        plan = _survey(invocation, site, other, group)
        show(plan)
        if plan.mendable:
            invocation.say(NOTHING_CHANGED)
        return plan, None
    with byte_bar(invocation, f"comparing and mending group {group} at {site}", None) as advance:
        plan, report = resync(invocation.deployment, site, other, group, show, advance)
    if not json:
        _say_report(invocation, plan, report)
    return plan, report


def _verified(invocation: Invocation, site: str, group: str, against: str | None) -> ResyncPlan:
    find_site(invocation.config, site)
    if against is not None:
        return _survey(invocation, site, against, group)
    failed: TidelogError | None = None
    for other in invocation.config.sites:
        if other == site:
            continue
        try:
            return _survey(invocation, site, other, group)
        except (NotFound, Unavailable, CopiesDiffer) as error:
            invocation.say(f"not compared with {other}: {error}")
            failed = error
    raise failed or NotFound(
        f"there is no site to compare {site} with",
        hint=f"by the receipts alone: tidelog pitc verify NAME --group {group} --site {site} --full",
    )


def _alone(invocation: Invocation, plan: ResyncPlan) -> bool:
    """Holds each copy that the other site has not against this one's own receipt; one that is not what that says is
    `broken`. False if one has no receipt, and was not cut just now."""
    known = True
    with opened_store(invocation, plan.group, plan.site) as store:
        for copy in plan.here_alone:
            try:
                found = verify_stored(invocation, store, copy, full=True)
            except NotFound:  # dropped meanwhile
                continue
            if not found.keeps_its_word:
                plan.broken.append(f"copy {copy.name}, which {plan.other} has not, is not what its receipt says")
            elif found.receipt is None and copy.sequence <= plan.pairs[0].mine.sequence:
                known = False
    return known


def _show(invocation: Invocation, plan: ResyncPlan) -> None:
    """What differs, on stdout."""
    rows: list[tuple[str | Text, ...]] = []
    found = list(extents(plan.damaged(LISTED_MAX)))
    for one, count in found[:ROWS_MAX]:
        blocks = str(one.block) if count == 1 else f"{one.block} to {one.block + count - 1}"
        where = f"{size_text(count * one.volume.block_size)} at {one.block * one.volume.block_size}"
        through = (*one.copies, *(["the live volume"] if one.live else []))
        rows.append((one.volume.name, blocks, where, ", ".join(through)))
    if rows:
        emit_table(invocation, ("volume", "block", "extent", "seen through"), rows, ("block",))
    if len(found) > ROWS_MAX:
        invocation.out.print(Text("and more: --json lists the first 1000 blocks"))
    if plan.bits_differing:
        invocation.out.print(Text(f"{plan.bits_differing} bits of change bitmaps are wrong", style="red"))
    for name in plan.digests_wrong:
        invocation.out.print(Text(f"the digest that {plan.site} keeps, or has told, of copy {name} is wrong", "red"))
    for sentence in plan.broken:
        invocation.out.print(Text(sentence, style="red"))
    names = f"{len(plan.pairs)} copies of group {plan.group} at {plan.site} and {plan.other}"
    if plan.clean:
        invocation.out.print(Text(f"{names} are equal", style="green"))
    else:
        size = size_text(plan.bytes_differing)
        invocation.out.print(Text(f"{names} differ in {plan.blocks_differing} blocks ({size})", style="red"))


def _say_limits(invocation: Invocation, plan: ResyncPlan) -> None:
    """What was not compared, on stderr."""
    if plan.here_alone:
        names = ", ".join(copy.name for copy in plan.here_alone)
        invocation.say(
            f"not compared with {plan.other}, which has none of these copies, or no receipt of them: {names}"
        )
    if plan.unfollowed:
        invocation.say(
            f"not compared: what was written since copy {plan.pairs[0].mine.name}, since {plan.unfollowed}; a newer"
            f" copy holds it: tidelog pitc create NAME --group {plan.group} --wait, then again"
        )
    if plan.unconfirmed:
        invocation.say(f"no third site has a receipt to confirm {plan.other}")


def _say_report(invocation: Invocation, plan: ResyncPlan, report: ResyncReport) -> None:
    if plan.clean:
        return
    invocation.say(
        f"mended: {report.blocks} blocks, {report.bits} bits and {report.digests} digests;"
        f" {size_text(report.bytes_moved)} moved from {plan.other}"
    )


def _differs(plan: ResyncPlan) -> CopiesDiffer:
    if plan.broken:
        return _unmended(plan)
    first = next(iter(plan.damaged(1)), None)
    where = "" if first is None else f", the first block {first.block} of volume {first.volume.name}"
    what = f"holds something else than {plan.other} in {plan.blocks_differing} blocks{where}"
    if not plan.blocks_differing:
        what = f"has {plan.bits_differing} wrong bits in change bitmaps, and {len(plan.digests_wrong)} wrong digests"
    return CopiesDiffer(
        f"site {plan.site} {what}",
        group=plan.group,
        hint=f"tidelog site resync {plan.site} --from {plan.other} --group {plan.group}",
    )


def _unmended(plan: ResyncPlan) -> CopiesDiffer:
    return CopiesDiffer(
        f"site {plan.site} needs more than a resync: {plan.broken[0]}",
        group=plan.group,
        hint=f"tidelog site rebuild {plan.site} --group {plan.group}",
    )
