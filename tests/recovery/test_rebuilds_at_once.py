"""Two `site rebuild` of one site at once: the later one ends as if it were alone, the other says that it was there."""

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest

from tests.recovery.rebuild_lab import RebuildLab, random_history
from tidelog.errors import StoreUnavailable
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_report import Phase, RebuildProgress


def until_phase(steps: Iterator[RebuildProgress], phase: Phase) -> None:
    """Takes steps until one of that phase."""
    assert any(progress.phase is phase for progress in steps), phase


@pytest.mark.parametrize("second", ["tokyo", "log"])
@pytest.mark.parametrize(
    ("first", "phase"),
    [
        ("tokyo", Phase.ERASING),
        ("tokyo", Phase.LOADING),
        ("tokyo", Phase.PROVING),
        ("tokyo", Phase.REPLAYING),
        ("log", Phase.ERASING),
        ("log", Phase.REPLAYING),
    ],
)
def test_the_first_one_notices(lab: RebuildLab, first: str, phase: Phase, second: str) -> None:
    """In each of its phases another one begins, and ends; or has only begun when the first goes on."""
    random_history(lab.open, Random(5), 30, "a")
    lab.told()
    lab.rebuilt("tokyo")
    for whole in (True, False):
        plans = [lab.plan(source, from_scratch=True) for source in (first, second)]
        one, two = (iter(Rebuild(lab.deployment, plan)) for plan in plans)
        until_phase(one, phase)
        deque(two, 0) if whole else next(two)
        if phase is Phase.REPLAYING:
            with suppress(StoreUnavailable):  # the same goal: the other one may be at it, or have reached it
                deque(one, 0)
        else:
            with pytest.raises(StoreUnavailable, match="another process has taken this store over"):
                deque(one, 0)
        deque(two, 0)
        store = lab.store("osaka")
        assert store.rebuilding() is None and store.loading() is None
        lab.compare_from(plans[1].base.sequence)
