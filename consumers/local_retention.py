"""A site's own retention: which of its local copies, those by time, stay, and dropping the others at that site alone.

Copies by time are cut by each site for itself, and no event of the log drops them; marker copies go by events, the same
at every site (DESIGN section 8), and are none of this policy's business. A command whose copy was dropped so stands
all the same: the store remembers it (`Store.forgotten_orders`), so that nobody makes the copy anew.
"""

from collections.abc import Callable, Iterable

from tidelog.config_tables import KeepConfig, KeepRules
from tidelog.errors import Locked
from tidelog.producers.group_state import KnownCopy
from tidelog.producers.retention import Decision, plan_retention
from tidelog.stores.image import Store
from tidelog.stores.local_drop import judged_at_us
from tidelog.stores.store import Copy, CopyOrigin


def known(copy: Copy) -> KnownCopy:
    """A store's copy as a writer, and retention, know one."""
    return KnownCopy(
        copy.sequence, copy.seal, copy.name, copy.timestamp_us, copy.volumes, copy.locked_until_us, copy.kept
    )


def plan_local(copies: Iterable[Copy], keep: KeepRules, time_us: int) -> list[tuple[Copy, Decision]]:
    """A decision for each copy by time, oldest first. All are subject to the rules, whatever their names. Pure.

    ``time_us`` is the time that locks are judged by.
    """
    timed = {known(copy): copy for copy in copies if copy.origin is CopyOrigin.TIME}
    rules = KeepConfig(**keep.model_dump(exclude={"named"}), named=True)
    return [(timed[decision.copy], decision) for decision in plan_retention(list(timed), rules, time_us)]


def explain_local(store: Store, keep: KeepRules) -> list[tuple[Copy, Decision]]:
    """What `apply_local` would do now, and why."""
    return plan_local(store.copies(), keep, judged_at_us(store.position()))


def apply_local(store: Store, keep: KeepRules, first: Callable[[Copy], object] = lambda _: None) -> list[Decision]:
    """Marks what the rules do not keep as dropped at this site, whose appliers then see `PositionMoved`; why each copy
    stays or goes. ``first`` is done with each before it is. A copy that turns out to be locked stays. Raises
    `StoreUnavailable`, and what ``first`` does; the copies before that are done."""
    done = []
    for copy, decision in explain_local(store, keep):
        if decision.dropped:
            first(copy)
            try:
                store.mark_dropping(copy, forget=True)
            except Locked as error:
                decision = Decision(decision.copy, dropped=False, reasons=(error.message,))
        done.append(decision)
    return done
