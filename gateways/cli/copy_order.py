"""`tidelog pitc create --at`, `orders` and `cancel`: copies by time, of one group or many."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tidelog.clock import iso, wall_us
from tidelog.consumers.access import read_group
from tidelog.consumers.ordered_sets import OrderedSet, ordered_sets, recoverable_us, with_dropped
from tidelog.consumers.site_standing import standing_of
from tidelog.errors import Halted, NotFound, Unavailable, UsageError
from tidelog.gateways.cli.copy_tables import answer_text, lock_text
from tidelog.gateways.cli.exit_codes import DEGRADED, OK
from tidelog.gateways.cli.forgotten import forgotten_at
from tidelog.gateways.cli.group_mirror import unheard
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_json, emit_table
from tidelog.producers.control import ControlView
from tidelog.producers.ordering import order_copy, protection_of
from tidelog.producers.rules import require_new_copy
from tidelog.recovery.rpo import ALIVE_HEARTBEATS
from tidelog.schemas.reports import OPEN, WriterStatus, writer_key
from tidelog.units import parse_duration, parse_time

# Past its time by so much, a copy that is still pending is explained.
LATE_US = 10_000_000
GOES_ON = (
    "the time of a group goes on with its writer, whose heartbeats do; a group that nobody has open for writing gets"
    " there with its next event. Who writes, and which site is behind: tidelog status"
)


def moment(at: str | None, within: str | None) -> int | None:
    """What ``--at`` or ``--in`` says, in UTC microseconds; None without either. Raises `UsageError`."""
    if at is not None and within is not None:
        raise UsageError("--at and --in exclude each other")
    if within is not None:
        return wall_us() + round(parse_duration(within) * 1_000_000)
    return None if at is None else parse_time(at)


def order(
    invocation: Invocation,
    name: str,
    groups: list[str],
    at_us: int,
    *,
    within: str | None,
    wait: bool,
    timeout: str,
    json: bool,
) -> int:
    """Gives the command, for what ``--in`` said if that named the time; with ``wait``, 3 unless every site has the
    whole set within ``timeout``, and at once when a site says that it cannot."""
    seconds = parse_duration(timeout)
    cluster, sites = invocation.deployment.cluster, list(invocation.config.sites)
    _refuse_marked(invocation, name, groups)
    given = order_copy(cluster, name, groups, at_us)
    ahead = (at_us - given.ordered_us) / 1_000_000
    invocation.say(f"ordered copy {name} of {', '.join(groups)} at {iso(at_us)}, {_when(ahead, within)}")
    for group in groups:
        for elsewhere in unheard(invocation, group):
            invocation.say(f"{elsewhere}; for the same copy there, give the command there, too, with --at {iso(at_us)}")
    if wait:
        invocation.say(f"waiting for {', '.join(sites)} to have it, for at most {timeout} from that time on")
        if within is not None or ahead > 0:  # a time that was past when it was asked for needs no writer to get there
            _say_what_is_in_the_way(invocation, cluster.control.snapshot(), dict.fromkeys(sites, groups))
        # What is waited for may be asked of a view that has not even got to the command yet.
        cluster.control.wait_for(
            lambda view: any(found.settled or found.impossible for found in _named(view, name, sites)),
            max(0.0, ahead) + seconds,
        )
    view = cluster.control.snapshot()
    named = _named(view, name, sites)
    if not named:
        raise NotFound(f"copy {name} was taken back meanwhile")
    found = named[0]
    if json:
        emit_json(invocation, _as_json(view, found, invocation.config.writer.max_clock_skew))
    else:
        _print(invocation, view, [found], explained=not wait)
    if not wait or found.complete:
        return OK
    _say_what_lacks(invocation, view, found, timeout)
    return DEGRADED


def _when(ahead: float, within: str | None) -> str:
    """How the time lies, ``ahead`` seconds from the command; one that ``--in`` named may be past by then, and is told
    as it was asked for."""
    if within is not None:
        return f"{parse_duration(within):g} s after it was asked for"
    return f"{ahead:.1f} s from now" if ahead > 0 else f"{-ahead:.1f} s ago"


def _say_what_lacks(invocation: Invocation, view: ControlView, found: OrderedSet, timeout: str) -> None:
    name = found.order.name
    if (later := found.began_later_at) and found.settled:
        where = ", ".join(later)
        invocation.say(f"error: copy {name} is not made at {where}: the store there began from a newer copy")
    elif found.pending:
        invocation.say(f"error: not every site has copy {name} after {timeout}; pending: {_waiting(found)}")
        if not _say_what_is_in_the_way(invocation, view, found.pending):
            invocation.say_once(f"hint: {GOES_ON}")


def _say_what_is_in_the_way(invocation: Invocation, view: ControlView, pending: Mapping[str, list[str]]) -> bool:
    """Of these groups, by site, as the sites and the groups' writers have told; nothing is said twice in a run. Whether
    that explains each of them."""
    now_us, config, explained = wall_us(), invocation.config, True
    for site, groups in pending.items():
        for group in groups:
            interval = config.worker.status_interval
            told = standing_of(view, group, site, configured=True, now_us=now_us, status_interval=interval)
            if told.well:
                explained = False
            else:
                reason = f" ({told.reason})" if told.reason else ""
                invocation.say_once(f"{group} at {site} is {told.state}{reason}; see: tidelog status")
    quiet_us = (ALIVE_HEARTBEATS * config.writer.heartbeat + config.writer.max_clock_skew) * 1_000_000
    for group in dict.fromkeys(group for groups in pending.values() for group in groups):
        report = view.get(writer_key(group))
        if not isinstance(report, WriterStatus) or report.state != OPEN or report.reported_us < now_us - quiet_us:
            invocation.say_once(f"no writer of group {group} is heard of here")
            invocation.say_once(f"hint: {GOES_ON}")
    return explained


def _waiting(found: OrderedSet) -> str:
    return ", ".join(f"{group} at {site}" for site, groups in found.pending.items() for group in groups)


def _refuse_marked(invocation: Invocation, name: str, groups: list[str]) -> None:
    """Raises `AlreadyExists` if a log has a marker of that name, which no site may have answered yet. A log that cannot
    be read now keeps nobody from ordering: sites cut the copy all the same, and names are labels."""
    for group in groups:
        invocation.deployment.cluster.find_group(group)
        try:
            state, _ = read_group(group, invocation.deployment)
        except (Unavailable, Halted):
            continue
        require_new_copy(state, name, group)


def list_orders(invocation: Invocation, group: str | None, *, json: bool) -> int:
    """Every command that stands, or those of a group, and who has obeyed it. 3 if a site cannot make its copy any more.
    Raises `NotFound` for a group that there is not."""
    if group is not None:
        invocation.deployment.cluster.find_group(group)
    view = invocation.deployment.cluster.control.snapshot()
    forgotten = forgotten_at(invocation)
    every = ordered_sets(view, invocation.config.sites)
    sets = [with_dropped(one, forgotten) for one in every if group is None or group in one.order.group_names]
    if json:
        emit_json(
            invocation, {"orders": [_as_json(view, found, invocation.config.writer.max_clock_skew) for found in sets]}
        )
    else:
        _print(invocation, view, sets)
    return DEGRADED if any(found.impossible for found in sets) else OK


def _named(view: ControlView, name: str, sites: list[str]) -> list[OrderedSet]:
    """The command of that name, if the view has it."""
    return [found for found in ordered_sets(view, sites) if found.order.name == name]


def _print(invocation: Invocation, view: ControlView, sets: list[OrderedSet], *, explained: bool = True) -> None:
    """``explained``: also why a copy is still pending long past its time."""
    sites = list(dict.fromkeys(site for found in sets for site in found.answers))
    rows: list[tuple[str | Text, ...]] = []
    for found in sets:
        for group in found.order.group_names:
            answers = [found.answers[site][group] for site in sites]
            rows.append(
                (
                    found.order.name,
                    iso(found.order.at_us),
                    group,
                    *map(answer_text, answers),
                    _completeness(found),
                )
            )
    emit_table(invocation, ("pitc", "time", "group", *sites, "set"), rows)
    skew = invocation.config.writer.max_clock_skew
    for found in sets:
        protection = protection_of(view, found.order)
        lock = lock_text(protection.locked_until_us) if protection.locked_until_us else ""
        if marks := [mark for mark in (lock, "kept" if protection.kept else "") if mark]:
            invocation.say(f"{found.order.name}: {', '.join(marks)}")
        for site, reasons in found.reasons.items():
            for group, reason in reasons.items():
                invocation.say(f"{found.order.name} of {group} at {site} is out of window: {reason}")
        if explained and found.pending and found.order.at_us < wall_us() - LATE_US:
            invocation.say(f"{found.order.name} is pending ({_waiting(found)})")
            if not _say_what_is_in_the_way(invocation, view, found.pending):
                invocation.say_once(f"hint: {GOES_ON}")
        if len(found.order.group_names) > 1:
            times = (f"{site} {_time(_recoverable(view, found, site))}" for site in sites)
            invocation.say(f"recoverable time of {found.order.groups}: {', '.join(times)}")
            invocation.say(
                f"one time over {found.order.groups}: exact if one process writes them, else to {skew:g} s, the clocks'"
                " max_clock_skew"
            )


def _completeness(found: OrderedSet) -> Text:
    """Of the whole set: complete at every site, or at which, once nothing more is to come."""
    if found.complete:
        return Text("COMPLETE", style="green")
    if not found.settled:
        return Text("")
    where = ", ".join(found.complete_at)
    return Text(f"complete at {where}" if where else "complete nowhere", style="green" if where else "yellow")


def _recoverable(view: ControlView, found: OrderedSet, site: str) -> int:
    return recoverable_us(view, found.order.group_names, site)


def _time(timestamp_us: int) -> str:
    return iso(timestamp_us) if timestamp_us else "none"


def _as_json(view: ControlView, found: OrderedSet, max_clock_skew: float) -> dict[str, Any]:
    """``exact_to_seconds`` is how far apart the groups may be cut if several processes write them."""
    order = found.order
    protection = protection_of(view, order)
    return {
        "name": order.name,
        "groups": list(order.group_names),
        "time": iso(order.at_us),
        "at_us": order.at_us,
        "ordered_us": order.ordered_us,
        "ordered_by": order.ordered_by,
        "complete": found.complete,
        "settled": found.settled,
        "locked_until": iso(protection.locked_until_us) if protection.locked_until_us else None,
        "kept": protection.kept,
        "exact_to_seconds": max_clock_skew,
        "sites": {
            site: {
                "complete": site in found.complete_at,
                "groups": {group: answer.value for group, answer in answers.items()},
                "reasons": found.reasons.get(site, {}),
                "recoverable_us": _recoverable(view, found, site),
            }
            for site, answers in found.answers.items()
        },
    }
