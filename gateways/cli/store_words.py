"""Sites whose stores do not serve what they have told of, by those stores themselves: a site without a worker, or whose
worker has not noticed yet, tells nobody that its Redis was emptied."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tidelog.consumers.catalogue import Answer, CatalogueCopy
from tidelog.errors import NeedsRebuild, NotFound, RollingBack
from tidelog.gateways.cli.asking import asked
from tidelog.gateways.cli.invocation import Invocation
from tidelog.stores.image import Store


def unserved_sites(invocation: Invocation, group: str, sites: Iterable[str]) -> dict[str, Answer]:
    """Of these sites those that are being rebuilt, or have no store of the group; not those that cannot be asked."""
    found = {}
    for site, answer in asked(invocation, group, sites, _rebuilding).items():
        if answer is True or isinstance(answer, RollingBack | NeedsRebuild):
            found[site] = Answer.REBUILDING
        elif isinstance(answer, NotFound):
            found[site] = Answer.EMPTIED
    return found


def _rebuilding(store: Store) -> bool:
    if store.rebuilding() is not None:
        return True
    store.position()
    return False


def with_unserved(copy: CatalogueCopy, unserved: Mapping[str, Answer]) -> CatalogueCopy:
    """The copy as it is to be had now: a receipt of such a site says only what it once held."""
    answers = {
        site: unserved.get(site, answer) if answer is Answer.FORMED else answer for site, answer in copy.answers.items()
    }
    return replace(copy, answers=answers)
