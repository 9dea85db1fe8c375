"""Sites whose stores do not serve what they have told of, by those stores themselves: a site without a worker, or whose
worker has not noticed yet, tells nobody that its Redis was emptied."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tidelog.consumers.catalogue import Answer, CatalogueCopy
from tidelog.errors import ConfigError, Halted, NeedsRebuild, NotFound, RollingBack, Unavailable, WrongStore
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.reading import opened_store


def unserved_sites(invocation: Invocation, group: str, sites: Iterable[str]) -> dict[str, Answer]:
    """Of these sites those that are being rebuilt, or have no store of the group; not those that cannot be asked."""
    found = {}
    for site in sites:
        try:
            with opened_store(invocation, group, site) as store:
                if store.rebuilding() is not None:
                    found[site] = Answer.REBUILDING
                else:
                    store.position()
        except (RollingBack, NeedsRebuild):
            found[site] = Answer.REBUILDING
        except NotFound:
            found[site] = Answer.EMPTIED
        except (Unavailable, ConfigError, WrongStore, Halted):
            continue
    return found


def with_unserved(copy: CatalogueCopy, unserved: Mapping[str, Answer]) -> CatalogueCopy:
    """The copy as it is to be had now: a receipt of such a site says only what it once held."""
    answers = {
        site: unserved.get(site, answer) if answer is Answer.FORMED else answer for site, answer in copy.answers.items()
    }
    return replace(copy, answers=answers)
