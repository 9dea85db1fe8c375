"""A process that dies at any step of spooling or draining: opened again, the log is what was accepted, each once."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.producers.sidefile_lab import Change, Scene
from tidelog.producers import sidefile_session
from tidelog.producers.memory_log import MemoryAppender
from tidelog.producers.resumable_session import ResumableSession
from tidelog.producers.sidefile import Sidefile
from tidelog.producers.sidefile_drain import Drain


class Killed(BaseException):
    """As SIGKILL: nobody catches it."""


# What a crash can fall before, into the middle of (pwrite: half of it is written), or behind.
WRITING: tuple[tuple[Any, str], ...] = ((os, "pwrite"), (os, "fdatasync"), (os, "fsync"), (Sidefile, "append"))
DRAINING: tuple[tuple[Any, str], ...] = (
    (MemoryAppender, "send"),
    (ResumableSession, "drain"),
    (ResumableSession, "flush"),
    (Drain, "plan"),
    (Sidefile, "remove"),
    (os, "fsync"),
)


@contextmanager
def killed_at(step: int, points: tuple[tuple[Any, str], ...]) -> Iterator[Callable[[], bool]]:
    """Dies at the ``step``-th step, counted before and behind each call; whether it has."""
    count, dead = 0, False

    def at_step() -> bool:
        nonlocal count, dead
        count += 1
        dead = dead or count == step
        return dead

    def wrap(owner: Any, name: str) -> Callable[..., Any]:
        original = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if at_step():
                if name == "pwrite":
                    original(args[0], args[1][: len(args[1]) // 2], args[2])
                raise Killed
            found = original(*args, **kwargs)
            if at_step():
                raise Killed
            return found

        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in points:
            patch.setattr(owner, name, wrap(owner, name))
        yield lambda: dead


@pytest.fixture(autouse=True)
def _never_back_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks once, finds no log, and then waits for longer than the test takes."""
    monkeypatch.setattr(sidefile_session, "TRY_AGAIN", 3600)


def change(scene: Scene, number: int) -> Change:
    volume = scene.group.volume("ab"[number % 2])
    if number % 4 == 3:
        volume.discard(number * 100, number)
        return (volume.name, number * 100, number)
    data = b"%06d" % number * (2000 if number % 3 else 1)
    volume.write(number * 100, data)
    return (volume.name, number * 100, data)


def spooled(scene: Scene) -> list[Change]:
    """A sidefile with what had been sent, one of it landed, and what came later; its writer is gone."""
    accepted = [change(scene, number) for number in range(3)]
    scene.group.flush()
    scene.log.cut_off()
    for number in range(3, 12):
        accepted.append(change(scene, number))
        if number == 5:
            scene.log.pending[0].land()
        if number > 7:
            scene.group.flush()
    scene.group.flush()
    scene.die()
    scene.log.restore()
    return accepted


def opened(scene: Scene, step: int) -> bool:
    """Opens the group, and dies at a step of it; whether it came to that."""
    with killed_at(step, DRAINING) as was_killed:
        try:
            scene.open()
        except Killed:
            assert was_killed()
        return was_killed()


def test_killed_at_every_step_of_a_drain(tmp_path: Path) -> None:
    """A drain that is cut short once, and then runs through."""
    step, dead = 0, True
    while dead:
        step += 1
        (folder := tmp_path / str(step)).mkdir()
        scene = Scene(folder)
        accepted = spooled(scene)
        dead = opened(scene, step)
        scene.die()
        scene.open()
        assert scene.folded().changes == accepted, step
        assert list(folder.iterdir()) == []
        scene.group.close()
    assert step > 30


def test_killed_again_and_again(tmp_path: Path) -> None:
    """One drain, which gets a step further each time."""
    scene = Scene(tmp_path)
    accepted = spooled(scene)
    step = 1
    while opened(scene, step):
        step += 1
    assert scene.folded().changes == accepted and step > 10
    scene.group.close()


def test_killed_at_every_step_of_spooling(tmp_path: Path) -> None:
    """What was flushed is in the log afterwards, and of the rest a prefix."""
    step, dead = 0, True
    while dead:
        step += 1
        (folder := tmp_path / str(step)).mkdir()
        scene, accepted, safe = Scene(folder), [], 0
        scene.log.cut_off()
        with killed_at(step, WRITING) as was_killed:
            try:
                for number in range(7):
                    accepted.append(change(scene, number))
                    if number % 2:
                        scene.group.flush()
                        safe = len(accepted)
            except Killed:
                accepted.append(("", 0, 0))  # in the middle of one, perhaps
            dead = was_killed()
        scene.die()
        scene.log.restore()
        scene.open()
        found = scene.folded().changes
        assert found == accepted[: len(found)] or found[:-1] == accepted[: len(found) - 1], step
        assert safe <= len(found) <= len(accepted)
        scene.group.close()
    assert step > 20
