"""The search itself finds every planted breakage: without this, its silence would mean nothing."""

import os

import pytest

from tests.simulation.plants import PLANTS, Plant, does_not_ask_at_its_first_record, remembers_a_truncated_gap
from tests.simulation.search import search
from tests.simulation.stepped import without_threads

SCHEDULES = max(1500, int(os.environ.get("TIDELOG_SIM_SCHEDULES", "0")))
# Found in thousands of schedules: sought where there is time for them. Where a gap, a truncation just below what made
# it and a late send must come in that order, 20,000 schedules with truncations did not; `test_schedules` has it.
RARE = {does_not_ask_at_its_first_record} if SCHEDULES < 10_000 else set()
SOUGHT = [plant for plant in PLANTS if plant not in RARE | {remembers_a_truncated_gap}]


@pytest.mark.slow
@pytest.mark.timeout(max(600, SCHEDULES))
@pytest.mark.parametrize("plant", SOUGHT, ids=lambda plant: plant.__name__)
def test_the_search_finds(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within some hundred schedules at most; most of them within fifty."""
    plant(monkeypatch)
    with without_threads():
        assert next(search(range(SCHEDULES)), None) is not None, f"{plant.__doc__} Nobody noticed"
