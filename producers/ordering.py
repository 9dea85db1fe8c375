"""Giving the command for a copy by time: the first site determines the time and sends it over the control topic, each
site decides by the timestamps in its own data when its copy is due (US8788772, claims 1 and 2)."""

import os
import socket
from collections.abc import Sequence

from tidelog.clock import iso, wall_us
from tidelog.errors import AlreadyExists, NotFound, UsageError
from tidelog.names import check_name
from tidelog.producers.archived import require_not_archived
from tidelog.producers.cluster import Cluster
from tidelog.schemas.control import CopyFormed, CopyOrdered, order_key

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

    Raises `InvalidName`, `NotFound` (a group), `AlreadyExists` (the name is in use), `UsageError` (no group, one twice,
    or a time before a group began, or too far ahead), `LogUnavailable`.
    """
    check_name("copy", name)
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
        ordered_by=f"{socket.gethostname()}:{os.getpid()}",
    )
    cluster.control.publish(order)
    return order


def cancel_order(cluster: Cluster, name: str) -> CopyOrdered:
    """Takes a command back: no site cuts its copies any more, and those that were cut are dropped.

    Raises `NotFound`, `LogUnavailable`.
    """
    order = cluster.control.snapshot().get(order_key(name))
    if not isinstance(order, CopyOrdered) or order.dropped_us:
        raise NotFound(f"no copy by time was ordered under the name {name}", hint="tidelog pitc orders lists them")
    order = order.model_copy(update={"dropped_us": wall_us()})
    cluster.control.publish(order)
    return order


def _refuse_used(cluster: Cluster, name: str, groups: Sequence[str]) -> None:
    view = cluster.control.snapshot()
    if order_key(name) in view:  # also one taken back: sites that are behind may still have to drop its copies
        raise AlreadyExists(f"a copy by time named {name} was ordered already", hint="choose another name")
    for record in view.values():
        if isinstance(record, CopyFormed) and record.name == name and record.group in groups:
            raise AlreadyExists(f"copy {name} exists", group=record.group, hint="choose another name")
    for group in groups:
        require_not_archived(view, name, group)
