"""Locks and keeps under faults: every site folds them as the reference does, whatever is lost, repeated or rewound."""

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.reference import Reference
from tests.simulation.search import failure
from tests.simulation.stepped import without_threads
from tests.simulation.world import Op
from tidelog.schemas.events import CopyDropped, CopyLocked
from tidelog.stores import plan
from tidelog.stores.store import Copy, CopyState

SCHEDULES = 150
ODDS = {
    "opens": 3, "write": 4, "mark": 6, "protect": 14, "deliver": 12, "sync": 6, "apply": 2, "idle": 3, "race": 3,
    "between": 2, "snapshot": 2, "rewind": 2, "restart": 2, "fail": 2, "drop": 2, "late": 1, "again": 2, "lead": 1,
}  # fmt: skip


def drawn(seed: int) -> list[Op]:
    """A schedule in which copies are made and protected all the time, by one writer as a rule."""
    random = Random(seed)
    names = random.choices(list(ODDS), list(ODDS.values()), k=60)
    start = [Op("opens", 0), Op("mark", 0), Op("deliver", 0, 3)]
    return start + [Op(name, random.choice((0, 0, 0, 1)), random.randrange(12), random.randrange(12)) for name in names]


def test_every_site_holds_what_the_locks_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the schedules do lock copies, extend locks, and drop locked ones in vain."""
    seen: Counter[str] = Counter()
    real = Reference._protect_or_drop

    def counting(reference: Reference, event: dict[str, Any]) -> None:
        before = reference.copies.get(event["copy_sequence"])
        real(reference, event)
        after = reference.copies.get(event["copy_sequence"])
        seen[event["kind"] + (" in vain" if after == before else "")] += 1

    monkeypatch.setattr(Reference, "_protect_or_drop", counting)
    with without_threads():
        failed = [seed for seed in range(SCHEDULES) if failure(drawn(seed)) is not None]
    assert failed == []
    wanted = {"CopyLocked", "CopyLocked in vain", "CopyKept", "CopyDropped", "CopyDropped in vain"}
    assert all(seen[what] > 20 for what in wanted), seen


def drops_locked_copies(copy: Copy, event: Any) -> Copy:
    """A site that knows no locks."""
    known = (copy.sequence, copy.seal) == (event.copy_sequence, event.copy_seal) and copy.state is CopyState.FORMED
    return replace(copy, state=CopyState.DROPPING) if known and isinstance(event, CopyDropped) else copy


def shortens_locks(copy: Copy, event: Any) -> Copy:
    """A site that believes the last lock."""
    known = (copy.sequence, copy.seal) == (event.copy_sequence, event.copy_seal)
    return replace(copy, locked_until_us=event.until_us) if known and isinstance(event, CopyLocked) else copy


@pytest.mark.parametrize("plant", [drops_locked_copies, shortens_locks])
def test_a_site_that_folds_locks_otherwise_is_found(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else their silence would mean nothing."""
    real = plan.changed

    def planted(copy: Copy, event: Any) -> Copy:
        wrong = plant(copy, event)
        return wrong if wrong is not copy else real(copy, event)

    monkeypatch.setattr(plan, "changed", planted)
    with without_threads():
        assert any(failure(drawn(seed)) is not None for seed in range(SCHEDULES))
