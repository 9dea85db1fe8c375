"""The commands of the control topic as a site sees them: what to cut, and what to let go of. Pure.

A command stays on the topic for as long as it stands, so that a site that went back, was rebuilt, or joins later cuts
the same copies when it comes by. The store is the proof that a copy was cut, never a receipt.
"""

from collections.abc import Iterable

from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyOrdered
from tidelog.stores.store import Copy, CopyOrigin, CopyState
from tidelog.stores.timed import DueCopy


def orders_of(view: ControlView, group: str) -> tuple[CopyOrdered, ...]:
    """Every command for a group, taken back or not, by time."""
    found = (record for record in view.values() if isinstance(record, CopyOrdered) and group in record.group_names)
    return tuple(sorted(found, key=lambda order: (order.at_us, order.name)))


def wanted(orders: Iterable[CopyOrdered]) -> list[DueCopy]:
    """What to cut."""
    return [DueCopy(order.name, order.at_us) for order in orders if not order.dropped_us]


def taken_back(orders: Iterable[CopyOrdered], copies: Iterable[Copy]) -> list[Copy]:
    """The copies of a site whose commands were taken back."""
    dropped = {(order.name, order.at_us) for order in orders if order.dropped_us}
    return [
        copy
        for copy in copies
        if (copy.origin, copy.state) == (CopyOrigin.TIME, CopyState.FORMED)
        and (copy.name, copy.timestamp_us) in dropped
    ]
