"""What stands where, for programs: the documents of `--json` and of the status page."""

from collections.abc import Sequence
from typing import Any

from tidelog.clock import iso, time_or_none, wall_us
from tidelog.consumers.catalogue import Answer, CatalogueCopy, SiteStanding
from tidelog.consumers.rates import Rates
from tidelog.gateways.standing.observer import Observed
from tidelog.gateways.standing.sidefiles import state_word
from tidelog.producers.sidefile_folder import SUFFIX, Summary
from tidelog.recovery.rpo import Exposure, WriterStanding, WriterState
from tidelog.schemas.mirrors import LogMirrored
from tidelog.schemas.promotions import PrimaryChosen

JSON_VERSION = 1


def status_document(observed: Sequence[Observed]) -> dict[str, Any]:
    """All that `tidelog status --json` prints, but its version."""
    return {
        "time": iso(wall_us()),
        "groups": [group_json(group) for group in observed],
        "alarms": [alarm for group in observed for alarm in group.alarms],
        "objectives_missed": [missed for group in observed for missed in group.missed],
    }


def group_json(group: Observed) -> dict[str, Any]:
    """A group for programs."""
    event, standing = group.newest, group.standing
    return {
        "group": standing.record.group,
        "group_id": standing.record.group_id,
        "problem": group.problem or None,
        "hint": group.hint or None,
        "newest": None
        if event is None
        else {"sequence": event.last_sequence, "time": iso(event.timestamp_us), "epoch": event.epoch},
        "writer_alive": group.writer.state is WriterState.ALIVE,
        "writer": writer_json(group.writer),
        "primary": primary_json(group.chosen, group.configured, group.mirror),
        "mirror_of": None if group.mirror is None else group.mirror.source_cluster or "unknown",
        "sites": [site_json(site, group.exposures[site.site], group.rates[site.site]) for site in standing.sites],
        "copies": len(standing.copies),
        "newest_copy": copy_json(standing.copies[-1]) if standing.copies else None,
        "alarms": group.alarms,
        "sidefiles": [sidefile_json(found) for found in group.sidefiles],
        "objectives_missed": group.missed,
    }


def site_json(site: SiteStanding, exposed: Exposure, rates: Rates) -> dict[str, Any]:
    """A site for programs; numbers are null where nothing is known."""
    status = site.status
    found: dict[str, Any] = {
        "site": site.site,
        "group": site.group,
        "configured": site.configured,
        "state": site.state,
        "silent": site.silent,
        "age_seconds": site.age_seconds,
        "lag_events": site.lag_events,
        "lag_seconds": site.lag_seconds,
        "applied_age_seconds": site.rpo_seconds,
        **rpo_json(exposed),
        **rates_json(rates),
    }
    if status is None:
        return found | {"reported": None}
    return found | {
        "reported": iso(status.reported_us),
        "reported_state": status.state,
        "reason": site.reason,
        "hint": site.hint,
        "sequence": status.sequence,
        "seal": status.seal.hex(),
        "epoch": status.epoch,
        "time": time_or_none(status.timestamp_us),
        "offset": status.offset,
        "end_offset": status.end_offset,
        "events_applied": status.events_applied,
        "redelivered": status.redelivered,
        "void": status.void,
        "worker": status.worker,
    }


def copy_json(copy: CatalogueCopy) -> dict[str, Any]:
    """A copy for programs, digests in full."""
    return {
        "name": copy.name,
        "sequence": copy.sequence,
        "seal": copy.seal.hex(),
        "time": iso(copy.timestamp_us),
        "equal": copy.equal,
        "sites": {site: _answer_json(copy, site, answer) for site, answer in copy.answers.items()},
    }


def _answer_json(copy: CatalogueCopy, site: str, answer: Answer) -> dict[str, Any]:
    receipt = copy.receipts.get(site) if answer is Answer.FORMED else None
    return {
        "answer": answer.value,
        "digest": receipt.digest.hex() if receipt else None,
        "blocks_changed": receipt.blocks_changed if receipt else None,
        "formed": time_or_none(receipt.formed_us) if receipt else None,
        "archive": copy.archives[site].place if site in copy.archives else None,
    }


def rpo_json(site: Exposure) -> dict[str, Any]:
    """Seconds; null where nothing is known, or no objective is configured."""
    return {
        "not_logged_seconds": site.not_logged,
        "not_applied_seconds": site.not_applied,
        "not_copied_seconds": site.not_copied,
        "rpo_seconds": site.rpo,
        "copy_rpo_seconds": site.copy_rpo,
        "rpo_objective_seconds": site.objective,
        "copy_rpo_objective_seconds": site.copy_objective,
    }


def rates_json(rates: Rates) -> dict[str, Any]:
    """A second's, over the seconds that ``rates_window_seconds`` says; null where nothing is known."""
    return {
        "rates_window_seconds": rates.window,
        "events_per_second": rates.events,
        "bytes_per_second": rates.bytes,
        "eta_seconds": rates.eta,
    }


def writer_json(writer: WriterStanding) -> dict[str, Any]:
    """What is known of a group's writer; ``report`` is null where the session has not reported."""
    report = writer.report
    return {
        "state": writer.state.value,
        "silent_seconds": writer.silent_seconds,
        "not_logged_seconds": writer.not_logged_seconds,
        "report": None
        if report is None
        else {
            "epoch": report.epoch,
            "state": report.state,
            "reason": report.reason,
            "sequence": report.sequence,
            "oldest_not_logged": time_or_none(report.unlogged_us),
            "reported": iso(report.reported_us),
            "process": report.process,
        },
        "pacing": None
        if report is None or not report.policy
        else {
            "policy": report.policy,
            "since": time_or_none(report.paced_since_us),
            "reason": report.paced_for,
            "count": report.paced_count,
            "delay_seconds": report.delay_us / 1_000_000,
            "delayed_seconds": report.delayed_us / 1_000_000,
        },
    }


def primary_json(
    chosen: PrimaryChosen | None, configured: str | None, mirror: LogMirrored | None = None
) -> dict[str, Any] | None:
    """For programs; what only a promotion tells is null where there was none, all of it in the region of a mirror."""
    if mirror is not None:
        return None
    return {
        "site": configured if chosen is None else chosen.site,
        "chosen": chosen is not None,
        "since": None if chosen is None else iso(chosen.chosen_us),
        "epoch": None if chosen is None else chosen.epoch,
        "sequence": None if chosen is None else chosen.sequence,
        "before": None if chosen is None else chosen.before or None,
        "forced": None if chosen is None else chosen.forced,
        "by": None if chosen is None else chosen.chosen_by,
    }


def sidefile_json(found: Summary) -> dict[str, Any]:
    """For programs."""
    return {
        "group": found.group,
        "name": found.path.name.removesuffix(SUFFIX),
        "path": str(found.path),
        "state": state_word(found),
        "epoch": found.epoch,
        "behind_sequence": found.base_sequence,
        "writes": found.writes,
        "writes_in_log": found.in_log,
        "bytes": found.bytes,
        "since": time_or_none(found.since_us),
        "until": time_or_none(found.until_us),
        "kept_because": found.kept_because,
        "problem": found.problem,
    }
