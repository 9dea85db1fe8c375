"""Which copies by time sites have dropped on their own, asked of their stores: the control topic does not say it."""

from collections.abc import Callable
from functools import cache

from tidelog.errors import Halted, NotFound, Unavailable, WrongStore
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.reading import opened_store
from tidelog.stores.timed import DueCopy


def forgotten_at(invocation: Invocation) -> Callable[[str, str], frozenset[DueCopy]]:
    """By site and group, each asked once; none where a store cannot be asked."""

    @cache
    def ask(site: str, group: str) -> frozenset[DueCopy]:
        try:
            with opened_store(invocation, group, site) as store:
                return store.forgotten_orders()
        except (NotFound, Unavailable, WrongStore, Halted):
            return frozenset()

    return ask
