"""A log that begins somewhere in the middle of a site's history: gone on with where it is certain how, else not."""

import random

import pytest

from tests.consumers.conftest import Lab, until
from tests.consumers.mirror_lab import History, MirrorLab
from tidelog.consumers.changed_log import find_head
from tidelog.errors import LogDiverged
from tidelog.stores.memory import Value
from tidelog.stores.store import Position


@pytest.fixture(params=range(4))
def stood(request: pytest.FixtureRequest, lab: Lab) -> tuple[Lab, dict[bytes, Value]]:
    """Region a, whose site osaka stood in the middle of a random history; and its Redis then."""
    chance = random.Random(request.param)
    history = History(lab, chance)
    history.go_on(10)
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    snapshot = lab.keyspace().snapshot()
    history.go_on(6)
    return lab, snapshot


def test_a_mirror_that_begins_anywhere(stood: tuple[Lab, dict[bytes, Value]]) -> None:
    """At each event that counts: a site goes on where the log begins with an event that it has been at, or right behind
    one; then it is the fold of the source's log, and has applied nothing twice. Elsewhere it halts and is as it was."""
    lab, snapshot = stood
    counted = lab.reference().counted
    position = lab.store().position()
    been = {(copy.sequence, copy.seal) for copy in lab.store().copies()} | {
        (position.head.sequence, position.head.seal)
    }
    went_on = behind = 0
    for index, first in enumerate(counted):
        lab.keyspace().restore(snapshot)
        b = MirrorLab(lab)
        b.mirror._runs[0] = first.offset
        b.mirror.send()
        b.takes_store_of(lab, "osaka")
        before = counted[index - 1] if index else first
        begins_behind = (before.last, before.seal) in been
        replica = b.replica()
        if not index or (first.last, first.seal) in been or begins_behind:
            b.caught_up()
            applied = [event for event in counted if event.last > position.head.sequence]
            until(lambda replica=replica, applied=applied: replica.progress(0).records_applied == len(applied))
            assert b.store().position().cluster_id == "b"
            went_on += 1
            behind += begins_behind
        else:
            until(lambda replica=replica: not replica.running, "the halt")
            error = replica.progress(0).error
            assert isinstance(error, LogDiverged) and b.store().position() == position
        b.end()
    assert went_on >= 3 and behind >= 1


def test_nothing_is_changed_before_the_first_event_is_applied(stood: tuple[Lab, dict[bytes, Value]]) -> None:
    """The head has no place in such a log, so the position stays the other cluster's until an event is applied."""
    lab, snapshot = stood
    lab.keyspace().restore(snapshot)
    head = lab.store().position().head
    b = MirrorLab(lab)
    b.mirror._runs[0] = next(event.offset for event in lab.reference().counted if event.first > head.sequence)
    b.mirror.send(1)
    found, offsets = find_head(b.log, b.codec, b.record.group_id, head, [])
    assert (found.sequence, found.seal, found.offset, offsets) == (head.sequence, head.seal, -1, {})
    b.takes_store_of(lab, "osaka")
    before = b.store().position()
    b.keyspace().fail(1, applied=False)  # its first transaction
    b.keyspace().between = lambda point: points.append((point, b.store().position())) if not points else None
    points: list[tuple[str, Position]] = []
    b.replica()
    until(lambda: b.store().position().cluster_id == "b", "the position moved")
    assert points[0] == ("exec", before) and b.store().position().head.sequence > head.sequence
    b.mirror.send()
    b.caught_up()
    b.end()
