"""What the commands on the control topic have a site do with its copies by time: cut, drop, lock and keep them."""

from collections.abc import Sequence
from contextlib import suppress

from tidelog.consumers.orders import Order, protected, taken_back, wanted
from tidelog.errors import Locked
from tidelog.schemas.control import OrderProtected
from tidelog.stores.applier import Applier
from tidelog.stores.image import Store


def obey(orders: Sequence[Order], store: Store, applier: Applier) -> None:
    """Has the applier cut what is ordered, but not what the site's own retention has dropped, and drops what was taken
    back (it then sees `PositionMoved`), unless that is locked, by this store's word."""
    protect(orders, store)
    store.prune_forgotten(wanted(orders))
    applier.order(wanted(orders), store.forgotten_orders())
    for copy in taken_back(orders, store.copies()):
        with suppress(Locked):
            store.mark_dropping(copy)


def protect(orders: Sequence[Order], store: Store) -> None:
    """Locks and keeps what the commands say (the applier then sees `PositionMoved`)."""
    said = [order for order in orders if isinstance(order, OrderProtected)]
    for copy, order in protected(said, store.copies()) if said else ():
        store.protect(copy, order.locked_until_us, kept=order.kept)
