"""The random search, as far as the suite has time for it; ``TIDELOG_SIM_SCHEDULES`` for more.

``TIDELOG_SIM_FIRST`` is the first seed. A failure prints its seed and the shortest part of its schedule that fails:
put that into `test_schedules`.
"""

import os

import pytest

from tests.simulation.search import failure, report, schedule, search, shrink
from tests.simulation.stepped import without_threads
from tests.simulation.world import Op

SCHEDULES = int(os.environ.get("TIDELOG_SIM_SCHEDULES", "3000"))
FIRST = int(os.environ.get("TIDELOG_SIM_FIRST", "0"))
PARTS = 8


@pytest.mark.slow
@pytest.mark.timeout(max(300, SCHEDULES))
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_violated(part: int) -> None:
    """Whatever writers, sites, Redis and the log do to one another: what is written at the head of `world` holds."""
    size = SCHEDULES // PARTS
    with without_threads():
        for seed, drawn in search(range(FIRST + part * size, FIRST + (part + 1) * size)):
            pytest.fail(report(seed, drawn))


def test_a_seed_is_a_schedule() -> None:
    """The same seed is the same schedule, and its run comes to the same end."""
    assert schedule(5) == schedule(5) != schedule(6)
    with without_threads():
        assert failure(schedule(5)) == failure(schedule(5))


def test_shrinking_leaves_what_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not matter goes; what remains still fails, and nothing of it can be left out."""
    drawn = schedule(3)
    needed = {drawn[2], drawn[7]}
    monkeypatch.setattr("tests.simulation.search.failure", lambda part: "bad" if needed <= set(part) else None)
    assert set(shrink(drawn)) == needed


def test_an_empty_world_is_well() -> None:
    """With no faults at all, one session and two sites."""
    with without_threads():
        assert failure([]) is None
        assert failure([Op("opens"), Op("write", 0, 1), Op("deliver", 0, 3), Op("sync"), Op("sync", 1)]) is None
