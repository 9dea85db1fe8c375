"""One question to the stores of several sites, side by side: a site that does not answer keeps no other from it."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

from tidelog.errors import (
    ConfigError,
    Halted,
    NeedsRebuild,
    NotFound,
    RollingBack,
    StoreUnavailable,
    TidelogError,
    Unavailable,
    WrongStore,
)
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.reading import opened_store
from tidelog.stores.image import Store

PATIENCE_SECONDS = 4.0

_TOLD = (NotFound, RollingBack, NeedsRebuild)  # each of which is an answer

T = TypeVar("T")
Problem = NotFound | Unavailable | ConfigError | WrongStore | Halted


def asked(
    invocation: Invocation,
    group: str,
    sites: Iterable[str],
    question: Callable[[Store], T],
    patience: float | None = PATIENCE_SECONDS,
) -> dict[str, T | Problem]:
    """By site the answer of the group's store there, or why there is none.

    A site that could not be asked is in `Invocation.unasked` from then on, and one whose Redis has not answered is not
    asked again in this run. With no ``patience`` each is, for as long as its connection may take.
    """
    sites, known = list(sites), {}
    if patience is not None:
        known = {site: why for site, why in invocation.unasked.items() if isinstance(why, Unavailable)}
    futures = {site: _ask(invocation, group, site, question) for site in sites if site not in known}
    ends = None if patience is None else time.monotonic() + patience
    found: dict[str, T | Problem] = {}
    for site in sites:
        if site not in futures:
            found[site] = known[site]
            continue
        try:
            found[site] = futures[site].result(None if ends is None else max(0.0, ends - time.monotonic()))
        except TimeoutError:
            found[site] = StoreUnavailable(f"its store has not answered for {patience:g} s")
        except (NotFound, Unavailable, ConfigError, WrongStore, Halted) as error:
            found[site] = error
        if isinstance(problem := found[site], TidelogError) and not isinstance(problem, _TOLD):
            invocation.unasked[site] = problem
    return found


def _ask(invocation: Invocation, group: str, site: str, question: Callable[[Store], T]) -> Future[T]:
    """The answer, from a thread that does not hold up the end of the process."""
    future: Future[T] = Future()
    _ = invocation.deployment  # made once, before there are threads that ask for it

    def run() -> None:
        try:
            with opened_store(invocation, group, site, shown=False) as store:
                answer = question(store)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(answer)

    threading.Thread(target=run, name=f"tidelog-ask-{site}", daemon=True).start()
    return future


def say_unasked(invocation: Invocation) -> None:
    """Of each such site, on stderr."""
    for site, problem in invocation.unasked.items():
        invocation.say_once(f"site {site} could not be asked; shown of it is what it has reported: {problem.message}")


def unasked_json(invocation: Invocation) -> dict[str, str]:
    """The same for programs: why, by site."""
    return {site: problem.message for site, problem in invocation.unasked.items()}
