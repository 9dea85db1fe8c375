"""`tidelog pitc drop`, `lock` and `keep`: what goes, what stays until a time, and what retention leaves alone.

Of a copy by marker that is an event in the log, of one by time the control topic's command for it.
"""

from datetime import datetime, timedelta

from tidelog.clock import iso, microseconds, wall_us
from tidelog.errors import NotFound, UsageError
from tidelog.gateways.cli.copy_holds import refuse_cloned
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.output import emit_facts, emit_json
from tidelog.gateways.cli.writers import Check, writing
from tidelog.producers.group_state import GroupState
from tidelog.producers.lock_time import lock_end_us, lock_time_us
from tidelog.producers.ordering import cancel_order, keep_order, lock_order, standing_order
from tidelog.producers.rules import copy_named, copy_to_drop, copy_to_lock
from tidelog.schemas.chain import Head
from tidelog.schemas.control import CopyOrdered
from tidelog.units import parse_duration

# More seconds than any lock may last: what a duration is cut to before it must fit into a `timedelta`.
_MOST_SECONDS = 1e10


def lock_copy(
    invocation: Invocation,
    name: str,
    group: str,
    until: str | None,
    duration: str | None,
    *,
    take_over: bool,
    json: bool,
) -> None:
    """Locks a copy until a time, or for so long from the log's time. Raises `UsageError`, `Locked`, `NotFound`."""
    end = _end(until, duration)
    if _ordered(invocation, name, group) is not None:
        locked = lock_order(invocation.deployment.cluster, name, end)
        _say_locked(invocation, name, locked.groups, locked.locked_until_us, json=json)
        return
    with writing(
        invocation,
        group,
        take_over=take_over,
        check=lambda state, head: copy_to_lock(state, name, lock_end_us(end, max(head.timestamp_us, wall_us())), group),
    ) as opened:
        locked_until_us = microseconds(opened.lock_copy(name, end))
    _say_locked(invocation, name, group, locked_until_us, json=json)


def drop_copy(invocation: Invocation, name: str, group: str, *, take_over: bool, json: bool) -> None:
    """Drops a copy at every site. Raises `NotFound`, `Locked`, `UsageError` for a copy by time."""
    if _ordered(invocation, name, group) is not None:
        raise UsageError(
            f"copy {name} is by time: no event of the log made it, and none drops it",
            group=group,
            hint=f"take its command back, so that every site drops it: tidelog pitc cancel {name}",
        )
    with writing(invocation, group, take_over=take_over, check=droppable(invocation, name, group)) as opened:
        opened.drop_copy(name)
    if json:
        emit_json(invocation, {"group": group, "name": name, "site": None, "dropped": True})
    else:
        invocation.say(f"copy {name} of group {group} is dropped; each site lets go of it when it gets there")


def droppable(invocation: Invocation, name: str, group: str) -> Check:
    """What raises `NotFound` or `Locked` for a copy that a group, as its log has it, does not let go."""

    def check(state: GroupState, head: Head) -> None:
        judged_at_us = lock_time_us(max(head.timestamp_us, wall_us()), group, invocation.deployment.cluster.control)
        copy_to_drop(state, name, judged_at_us, group)

    return check


def keep_copy(invocation: Invocation, name: str, group: str, *, release: bool, take_over: bool, json: bool) -> None:
    """Exempts a copy from retention, or takes that back. Raises `NotFound`."""
    if (order := _ordered(invocation, name, group)) is not None:
        keep_order(invocation.deployment.cluster, name, kept=not release)
        _say_kept(invocation, name, order.groups, kept=not release, json=json)
        return
    with writing(
        invocation, group, take_over=take_over, check=lambda state, _: copy_named(state, name, group)
    ) as opened:
        opened.keep_copy(name, kept=not release)
    _say_kept(invocation, name, group, kept=not release, json=json)


def cancel(invocation: Invocation, name: str, of_group: str | None, *, json: bool) -> None:
    """Takes the command for a copy by time back. Raises `NotFound`, also if it is not ``of_group``, `Locked`,
    `UsageError` for one with a clone."""
    cluster = invocation.deployment.cluster
    for group in standing_order(cluster.control.snapshot(), name, of_group).group_names:
        refuse_cloned(invocation, name, group)
    order = cancel_order(cluster, name)
    if json:
        time = {"time": iso(order.at_us), "at_us": order.at_us}
        emit_json(invocation, {"name": name, "groups": list(order.group_names)} | time | {"cancelled": True})
    else:
        invocation.say(f"copy {name} of {order.groups} is taken back; each site drops it when it hears of this")


def _ordered(invocation: Invocation, name: str, group: str) -> CopyOrdered | None:
    """The command for a copy by time of that name, if there is one."""
    try:
        return standing_order(invocation.deployment.cluster.control.snapshot(), name, group)
    except NotFound:
        return None


def _say_locked(invocation: Invocation, name: str, groups: str, until_us: int, *, json: bool) -> None:
    if json:
        emit_json(invocation, {"group": groups, "name": name, "locked_until": iso(until_us)})
    else:
        emit_facts(invocation, [("pitc", name), ("group", groups), ("locked until", iso(until_us))])


def _say_kept(invocation: Invocation, name: str, groups: str, *, kept: bool, json: bool) -> None:
    if json:
        emit_json(invocation, {"group": groups, "name": name, "kept": kept})
    else:
        emit_facts(invocation, [("pitc", name), ("group", groups), ("kept", "yes" if kept else "no")])


def _end(until: str | None, duration: str | None) -> datetime | timedelta:
    if (until is None) == (duration is None):
        raise UsageError("a lock needs either --until or --for", hint="such as --for 30d")
    if duration is not None:
        return timedelta(seconds=min(parse_duration(duration), _MOST_SECONDS))
    assert until is not None
    try:
        return datetime.fromisoformat(until.upper())
    except ValueError:
        raise UsageError(f"{until!r} is no time", hint="such as 2027-01-01T00:00:00Z") from None
