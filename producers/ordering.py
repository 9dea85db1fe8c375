"""Giving the command for a copy by time: the first site determines the time and sends it over the control topic, each
site decides by the timestamps in its own data when its copy is due (US8788772, claims 1 and 2)."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from tidelog.clock import iso, wall_us
from tidelog.errors import AlreadyExists, NotFound, UsageError
from tidelog.producers.archived import require_free_name
from tidelog.producers.cluster import Cluster
from tidelog.producers.control import ControlView
from tidelog.producers.lock_time import lock_end_us, lock_time_us
from tidelog.producers.process_name import process_name
from tidelog.producers.rules import check_copy_name
from tidelog.schemas.control import CopyFormed, CopyOrdered, OrderProtected, order_key, protection_key
from tidelog.schemas.locks import locked_error

# How far ahead a time may lie (seconds): a year that was mistyped is refused.
MAX_AHEAD = 31 * 86_400.0
# Workers look at the control topic once a status interval.
LEAD_INTERVALS = 2.0


def lead_seconds(cluster: Cluster) -> float:
    """How long before its time a command must be given for every site to hear of it in time, and to be spared the
    making of a late copy."""
    return LEAD_INTERVALS * cluster.config.worker.status_interval


def order_copy(cluster: Cluster, name: str, groups: Sequence[str], at_us: int) -> CopyOrdered:
    """Orders a copy of each group at ``at_us`` (UTC microseconds of the logs' time); returns when the command is
    durable on the control topic. The time may be past: then sites make the copy late, from an elder copy and the log,
    as far back as those reach.

    Raises `InvalidName`, `NotFound` (a group), `AlreadyExists` (the name is in use, as far as the control topic tells:
    a marker's is in the log before any receipt), `UsageError` (a name of the schedule's or a roll back's, no group, one
    twice, or a time before a group began, or too far ahead), `LogUnavailable`.
    """
    check_copy_name(name)
    if not groups or len(set(groups)) != len(groups):
        raise UsageError("a copy by time is of one or more groups, each named once")
    for group in groups:
        began = cluster.find_group(group).created_us
        if at_us < began:
            raise UsageError(
                f"{iso(at_us)} is before group {group} began, at {iso(began)}", group=group, hint="is the date right?"
            )
    now = wall_us()
    if at_us > now + MAX_AHEAD * 1_000_000:
        raise UsageError(f"{iso(at_us)} is more than {MAX_AHEAD / 86_400:g} days from now", hint="is the year right?")
    _refuse_used(cluster, name, groups)
    order = CopyOrdered(
        name=name,
        groups=",".join(groups),
        at_us=at_us,
        ordered_us=now,
        ordered_by=process_name(),
    )
    cluster.control.publish(order)
    return order


def cancel_order(cluster: Cluster, name: str) -> CopyOrdered:
    """Takes a command back: no site cuts its copies any more, and those that were cut are dropped.

    Raises `NotFound`, `Locked`, `LogUnavailable`.
    """
    view, now = cluster.control.snapshot(), wall_us()
    order = standing_order(view, name)
    judged_at_us = min(lock_time_us(now, group, cluster.control) for group in order.group_names)
    locked_until_us = protection_of(view, order).locked_until_us
    if locked_until_us > judged_at_us:
        raise locked_error(name, locked_until_us, order.groups)
    dropped = order.model_copy(update={"dropped_us": now})
    cluster.control.publish(dropped)
    locked_until_us = protection_of(cluster.control.snapshot(), order).locked_until_us
    if locked_until_us > judged_at_us:  # meanwhile: sites that have heard of it keep their copies
        cluster.control.publish(order)
        raise locked_error(name, locked_until_us, order.groups)
    return dropped


def lock_order(cluster: Cluster, name: str, until: datetime | timedelta) -> OrderProtected:
    """Locks the copies that a command makes, at every site and of every group: nothing drops them before ``until``, a
    time with its offset to UTC, or so long from now. Each site's copy is locked once it has heard of it.

    Raises `NotFound`, `Locked` if a longer lock is there, `UsageError` for a time that cannot be, `LogUnavailable`.
    """
    view = cluster.control.snapshot()
    there = protection_of(view, standing_order(view, name))
    end = lock_end_us(until, wall_us())
    if end < there.locked_until_us:
        raise locked_error(name, there.locked_until_us, there.groups)
    locked = _protect(cluster, there.model_copy(update={"locked_until_us": end}))
    standing_order(cluster.control.snapshot(), name)  # not taken back meanwhile
    return locked


def keep_order(cluster: Cluster, name: str, *, kept: bool) -> OrderProtected:
    """Exempts the copies that a command makes from the sites' retention, or no longer. Raises `NotFound`,
    `LogUnavailable`."""
    view = cluster.control.snapshot()
    return _protect(cluster, protection_of(view, standing_order(view, name)).model_copy(update={"kept": kept}))


def protection_of(view: ControlView, order: CopyOrdered) -> OrderProtected:
    """What protects the copies that a command makes."""
    found = view.get(protection_key(order.name))
    if isinstance(found, OrderProtected) and found.at_us == order.at_us:
        return found
    return OrderProtected(
        name=order.name, groups=order.groups, at_us=order.at_us, locked_until_us=0, kept=False, protected_us=0
    )


def standing_order(view: ControlView, name: str, group: str | None = None) -> CopyOrdered:
    """The command of that name (for that group) that was not taken back. Raises `NotFound`."""
    order = view.get(order_key(name))
    if not isinstance(order, CopyOrdered) or order.dropped_us or group not in (None, *order.group_names):
        raise NotFound(f"no copy by time was ordered under the name {name}", hint="tidelog pitc orders lists them")
    return order


def _protect(cluster: Cluster, protection: OrderProtected) -> OrderProtected:
    """Publishes it, again if another lock has come in between: the topic keeps the last record only."""
    protection = protection.model_copy(update={"protected_us": wall_us()})
    cluster.control.publish(protection)
    there = cluster.control.snapshot().get(protection.key)
    if isinstance(there, OrderProtected) and there.locked_until_us > protection.locked_until_us:
        protection = protection.model_copy(update={"locked_until_us": there.locked_until_us})
        cluster.control.publish(protection)
    return protection


def _refuse_used(cluster: Cluster, name: str, groups: Sequence[str]) -> None:
    view = cluster.control.snapshot()
    if order_key(name) in view:
        raise AlreadyExists(f"a copy by time named {name} was ordered already", hint="choose another name")
    for record in view.values():
        if isinstance(record, CopyFormed) and record.name == name and record.group in groups:
            raise AlreadyExists(f"copy {name} exists", group=record.group, hint="choose another name")
    for group in groups:
        require_free_name(view, name, group)
