"""Which copies by time sites have dropped on their own, asked of their stores: the control topic does not say it."""

from collections.abc import Callable
from functools import cache

from tidelog.errors import TidelogError
from tidelog.gateways.cli.asking import asked
from tidelog.gateways.cli.invocation import Invocation
from tidelog.stores.timed import DueCopy


def forgotten_at(invocation: Invocation) -> Callable[[str, str], frozenset[DueCopy]]:
    """By site and group, each asked once; none where a store cannot be asked."""

    @cache
    def ask(site: str, group: str) -> frozenset[DueCopy]:
        answer = asked(invocation, group, [site], lambda store: store.forgotten_orders())[site]
        return frozenset() if isinstance(answer, TidelogError) else answer

    return ask
