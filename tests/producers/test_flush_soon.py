"""A flush whose end is told, for those who cannot wait: when, and of what."""

import pytest

from tests.producers.conftest import Lab, until
from tidelog.errors import Fenced, LogUnavailable, SessionClosed
from tidelog.producers.memory_send import Outcome

KIB = 1024


def test_each_is_told_when_its_own_writes_are_confirmed(lab: Lab) -> None:
    """Not when they are in the log, nor before those in front of them; and what has been is told at once."""
    group = lab.group()
    volume, session = group.create_volume("v", KIB), group.session
    told: list[tuple[int, bool]] = []

    def flush_soon(index: int) -> None:
        session.flush_soon(lambda well: told.append((index, well)))

    lab.log.hold()
    for index in range(3):
        volume.write(index, b"x")
        flush_soon(index)
        until(lambda index=index: len(lab.log.pending) == index + 1)
    flush_soon(3)
    for index in range(3):
        assert told == [(before, True) for before in range(index)]
        lab.log.pending[0].land()
        assert len(told) == index
        lab.log.pending[0].acknowledge()
    assert told == [(index, True) for index in range(4)]
    flush_soon(4)
    assert told[4:] == [(4, True)]


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.LOST])
def test_one_that_failed_is_told_so(lab: Lab, outcome: Outcome) -> None:
    """Once; and whoever asks afterwards hears the error itself."""
    group = lab.group()
    volume, session = group.create_volume("v", KIB), group.session
    told: list[bool] = []
    lab.log.plan(outcome)
    volume.write(0, b"x")
    session.flush_soon(told.append)
    until(lambda: bool(told), "the end of a flush")
    assert told == [False]
    with pytest.raises(LogUnavailable):
        session.flush_soon(told.append)
    assert told == [False]


def test_one_that_is_fenced_is_told_so(lab: Lab) -> None:
    """Though its event got into the log: behind another session's it does not count."""
    group = lab.group()
    volume, session = group.create_volume("v", KIB), group.session
    lab.group().close()
    told: list[bool] = []
    volume.write(0, b"x")
    session.flush_soon(told.append)
    until(lambda: bool(told), "the end of a flush")
    assert told == [False] and isinstance(session.error, Fenced)


def test_a_doubt_that_is_settled_is_told(lab: Lab) -> None:
    """A record that went in twice: it counts once, and what comes behind it is confirmed, too."""
    group = lab.group()
    volume, session = group.create_volume("v", KIB), group.session
    told: list[bool] = []
    lab.log.plan(Outcome.TWICE)
    for index in range(3):
        volume.write(index, b"x")
        session.flush_soon(told.append)
    until(lambda: len(told) == 3, "the end of three flushes")
    assert told == [True] * 3 and session.error is None


def test_a_closed_session_takes_none(lab: Lab) -> None:
    """Nor does it tell."""
    group = lab.group()
    group.close()
    told: list[bool] = []
    with pytest.raises(SessionClosed):
        group.session.flush_soon(told.append)
    assert not told
