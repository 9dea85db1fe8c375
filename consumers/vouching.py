"""Who vouches for what a group holds, so that an opening need not read the whole log: a site's store, or several.

A store that has followed the log from its beginning knows every copy of the group. One that began from a copy from
elsewhere, or was rolled back, may lack elder ones that stand at other sites, locked ones among them: alone it vouches
for nobody, else a trim would take their log, a second copy would get their name, and nobody could drop them.
"""

from dataclasses import dataclass, replace

from tidelog.consumers.deployment import Deployment, open_store
from tidelog.consumers.local_retention import known
from tidelog.errors import NotFound, TidelogError, Unavailable
from tidelog.producers.follower import carries_head
from tidelog.producers.group_state import Vouched
from tidelog.producers.log import Log
from tidelog.stores.image import Store
from tidelog.stores.store import CopyOrigin


@dataclass(frozen=True, slots=True)
class Word:
    """What one store says, and whether it knows every copy."""

    vouched: Vouched
    whole: bool


def vouched_by(deployment: Deployment, site: str, group: str, log: Log) -> Vouched | None:
    """What the primary's own ``site`` has applied; None if all of the log is to be read.

    If that store is not whole, another site's that is takes its place; without one the log's beginning, if it is still
    there; without that the copies of all the stores that can be asked, at the eldest of their positions.
    """
    first = _asked(deployment, site, group, log)
    if first is None or first.whole or not _carried(first, log):
        return None if first is None else first.vouched
    others = (_asked(deployment, other, group, log) for other in deployment.config.sites if other != site)
    words = [first, *(word for word in others if word is not None and _carried(word, log))]
    if whole := [word.vouched for word in words if word.whole]:
        return max(whole, key=lambda vouched: vouched.head.sequence)
    if log.bounds().start == 0:
        return None
    return _together([word.vouched for word in words])


def _together(words: list[Vouched]) -> Vouched:
    """What stands at the eldest position by what any of them holds. A copy that was dropped behind it may be among them
    or not: that drop is still read from the log."""
    words = sorted(words, key=lambda vouched: vouched.head.sequence)
    eldest = words[0]
    until = eldest.head.sequence
    copies = {(copy.sequence, copy.seal): copy for one in reversed(words) for copy in one.copies}
    return replace(eldest, copies=tuple(copy for _, copy in sorted(copies.items()) if copy.sequence <= until))


def _carried(word: Word, log: Log) -> bool:
    head = word.vouched.head
    return head.sequence > 0 and head.offset >= log.bounds().start and carries_head(log, head)


def _asked(deployment: Deployment, site: str, group: str, log: Log) -> Word | None:
    try:
        store = open_store(deployment, site, group)
    except (NotFound, Unavailable):
        return None
    try:
        return vouch(store, log.id)
    except (TidelogError, Unavailable):
        return None  # whatever is wrong with that store is for its worker to say; the log alone is enough
    finally:
        store.close()


def vouch(store: Store, cluster_id: str) -> Word | None:
    """What one store says, if it follows the log of that cluster and stands still for long enough."""
    # Asked twice, so that tables and head are of one position.
    for _ in range(10):
        before = store.position()
        copies, volumes, whole = store.copies(), store.volumes(), store.whole()
        if store.position() == before:
            if before.cluster_id != cluster_id:
                return None
            marked = (copy for copy in copies if copy.origin is CopyOrigin.MARKER)
            return Word(Vouched(before.head, tuple(volumes), tuple(map(known, marked))), whole)
    return None
