"""Copies as one site's store has them, for when the control topic, with the receipts of all sites, cannot be asked."""

from collections.abc import Iterable

from tidelog.consumers.catalogue import Answer, CatalogueCopy
from tidelog.consumers.receipts import receipt_for
from tidelog.stores.image import Store
from tidelog.stores.store import Copy


def listed_alone(store: Store, copy: Copy, sites: Iterable[str]) -> CatalogueCopy:
    """What there is to say of a copy: this site's own digest, and that every other of ``sites`` is unknown."""
    who = store.identity
    own = receipt_for(who, copy, store.digest(copy), 0)
    answers = {site: Answer.FORMED if site == who.site else Answer.UNKNOWN for site in sites}
    return CatalogueCopy(who.group, copy.sequence, copy.seal, copy.name, copy.timestamp_us, {who.site: own}, answers)
