"""The commands of the control topic as a site sees them: what to cut, and what to let go of. Pure.

A command stays on the topic for as long as it stands, so that a site that went back, was rebuilt, or joins later cuts
the same copies when it comes by. The store is the proof that a copy was cut, never a receipt.
"""

from collections.abc import Iterable

from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyOrdered, OrderProtected
from tidelog.stores.store import Copy, CopyOrigin, CopyState
from tidelog.stores.timed import DueCopy

# A command for copies by time, or what protects the copies that one makes.
Order = CopyOrdered | OrderProtected


def orders_of(view: ControlView, group: str) -> tuple[Order, ...]:
    """Every command for a group, taken back or not, and what protects its copies, by time."""
    found = (record for record in view.values() if isinstance(record, Order) and group in record.group_names)
    return tuple(sorted(found, key=lambda order: (order.at_us, order.name, order.kind)))


def wanted(orders: Iterable[Order]) -> list[DueCopy]:
    """What to cut."""
    return [
        DueCopy(order.name, order.at_us) for order in orders if isinstance(order, CopyOrdered) and not order.dropped_us
    ]


def protected(orders: Iterable[OrderProtected], copies: Iterable[Copy]) -> list[tuple[Copy, OrderProtected]]:
    """The copies of a site that are not locked or kept as is said of them, with that."""
    said = {(order.name, order.at_us): order for order in orders}
    found = ((copy, said.get((copy.name, copy.timestamp_us))) for copy in copies if _ordered(copy))
    return [
        (copy, order)
        for copy, order in found
        if order is not None and (copy.locked_until_us < order.locked_until_us or copy.kept != order.kept)
    ]


def taken_back(orders: Iterable[Order], copies: Iterable[Copy]) -> list[Copy]:
    """The copies of a site whose commands were taken back."""
    dropped = {(order.name, order.at_us) for order in orders if isinstance(order, CopyOrdered) and order.dropped_us}
    return [copy for copy in copies if _ordered(copy) and (copy.name, copy.timestamp_us) in dropped]


def _ordered(copy: Copy) -> bool:
    """Whether it is there in answer to a command."""
    return (copy.origin, copy.state) == (CopyOrigin.TIME, CopyState.FORMED)
