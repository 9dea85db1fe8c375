"""Any point in time (G13): a site's copies and the log give the group as it was after any sequence and at any time."""

import os

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from late_lab import LateAuthor
from moments_lab import KINDS, Scene

from tidelog.errors import AlreadyExists, NotFound, OutOfWindow, StoreUnavailable
from tidelog.schemas.events import Heartbeat
from tidelog.stores.store import Moment
from tidelog.stores.transaction import Limits

PHASES = [phase for phase in Phase if phase is not Phase.shrink or "TIDELOG_SHRINK" in os.environ]
numbers = st.integers(0, 11)
programs = st.lists(st.tuples(st.sampled_from(KINDS), numbers, numbers), min_size=2, max_size=16)


@pytest.fixture(autouse=True)
def small_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in steps of a block or two, and transactions of a few writes."""
    monkeypatch.setattr("tidelog.stores.clone_fill.STEP_BLOCKS", 2)
    monkeypatch.setattr("tidelog.stores.clone_fill.STEP_SPAN_BLOCKS", 5)
    monkeypatch.setattr("tidelog.stores.clone_fill.LIMITS", Limits(2000, 3))
    monkeypatch.setattr("tidelog.stores.clone_drop.STEP_BLOCKS", 2)


def grown(program: list[tuple[str, int, int]]) -> LateAuthor:
    author = LateAuthor()
    for kind, one, two in program:
        author.grow(kind, one, two)
    author.add(Heartbeat)
    return author


@settings(max_examples=150, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs, st.integers(0, 20))
@example([("write", 11, 3), ("mark", 0, 0), ("discard", 6, 4), ("write", 2, 6)], 0)  # over a block that was discarded
def test_every_moment(program: list[tuple[str, int, int]], behind: int) -> None:
    """After each sequence, inside batches too, at a site that has applied all or is some events behind: bytes, volume
    table and digest are those of the reference; or a source copy is gone, and that is said. Nothing is left."""
    scene = Scene(grown(program))
    try:
        scene.apply(max(0, len(scene.events) - behind))
        before = scene.keys()
        for sequence in scene.every.images:
            if scene.lacks_a_source(sequence):
                with pytest.raises(OutOfWindow, match="does not hold any more"):
                    scene.materialise(Moment(sequence))
            else:
                scene.check(scene.materialise(Moment(sequence)), sequence)
                scene.store.clones.drop("was")
            scene.apply(0)
            assert scene.keys() == before and scene.store.clones.all() == []
    finally:
        scene.end()


@settings(max_examples=60, phases=PHASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs)
def test_every_time(program: list[tuple[str, int, int]]) -> None:
    """The last write or event of at most that time, with the time between two of them as well; not one too late."""
    scene = Scene(grown(program))
    try:
        scene.apply()
        last = max(scene.every.times.values())
        for sequence, stamp in scene.every.times.items():
            for at in (stamp, stamp + 999):
                if at > last or scene.lacks_a_source(sequence):
                    with pytest.raises(OutOfWindow):
                        scene.materialise(Moment(at_us=at))
                else:
                    scene.check(scene.materialise(Moment(at_us=at)), sequence)
                    scene.store.clones.drop("was")
    finally:
        scene.end()


PROGRAM = [
    ("write", 3, 1),
    ("create", 0, 7),
    ("write", 4, 5),
    ("mark", 0, 0),
    ("write", 2, 3),
    ("discard", 1, 2),
    ("copy", 1, 0),
    ("resize", 0, 1),
    ("write", 4, 2),
    ("create", 0, 9),
    ("write", 4, 9),
    ("copy", 2, 1),
    ("delete", 1, 0),
    ("resize", 0, 8),
    ("write", 3, 6),
]


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("elder", [True, False], ids=["from-a-copy", "from-the-beginning"])
def test_cut_short_at_every_transaction(elder: bool, applied: bool) -> None:
    """It is forming and nobody reads it; the same call goes on, and the end is the same; a drop frees all of it."""
    program = PROGRAM if elder else [step for step in PROGRAM if step[0] != "mark"]
    scene = Scene(grown(program))
    try:
        scene.apply()
        before = scene.keys()
        sequence = max(scene.every.images) - 1
        for nth in range(1, 200):
            scene.keyspace.fail(nth, applied=applied)
            try:
                scene.check(scene.materialise(Moment(sequence)), sequence)
                scene.keyspace.fail(10**9, applied=True)
                scene.store.clones.drop("was")
                assert nth > 15, "so many transactions it takes"
                break
            except StoreUnavailable:
                pass
            there = scene.store.clones.all()
            if there and there[0].forming:
                unusable(scene)
                if nth % 3 == 0:
                    scene.store.clones.drop("was")
                    assert scene.store.clones.all() == []
            if not there or there[0].forming:
                scene.check(scene.materialise(Moment(sequence)), sequence)
            scene.store.clones.drop("was")
            scene.apply(0)
            assert scene.keys() == before
        else:
            raise AssertionError("it never came to its end")
    finally:
        scene.end()


def unusable(scene: Scene) -> None:
    """A clone that is forming is neither found, nor read, nor taken for something else."""
    (clone,) = scene.store.clones.all()
    with pytest.raises(NotFound, match="still being materialised"):
        scene.store.clones.find("was")
    image = scene.store.clones.image(clone)
    for info in clone.image.volumes:
        with pytest.raises(NotFound, match="still being materialised"):
            image.read(info, 0, 1)
        with pytest.raises(NotFound, match="still being materialised"):
            image.write(info, 0, b"x")
    with pytest.raises(AlreadyExists, match="is being materialised at sequence"):
        scene.materialise(Moment(1))
    if scene.store.copies():
        with pytest.raises(AlreadyExists):
            scene.store.clones.create(scene.store.copies()[0], "was")
