"""A writer session, or a whole group, on a log in memory, and what that log then says by the independent reference."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.producers.sidefile_lab import Scene
from tests.reference import Reference, decode
from tidelog.clock import HybridClock
from tidelog.producers import sidefile_session
from tidelog.producers.group import Group
from tidelog.producers.memory_control import MemoryControl
from tidelog.producers.memory_log import MemoryLog
from tidelog.producers.opening import open_session
from tidelog.producers.session import WriterSession
from tidelog.producers.volume import ChangedBlocks
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap

GROUP_ID = "9a0f3c6e-6f3f-4a0c-8d2b-0c8a3c3f9d11"
DEADLINE = 20.0


@dataclass(frozen=True)
class Settings:
    """Of a session: bytes and seconds. Nothing happens by itself within a test unless it asks for it."""

    batch_bytes: int = 64 * 1024
    linger: float = 10.0
    buffer_bytes: int = 1 << 20
    write_timeout: float = DEADLINE
    heartbeat: float = 3600.0
    max_clock_skew: float = 60.0
    overlay_bytes: int = 1 << 20


def until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Waits for ``condition``, at most `DEADLINE` seconds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {DEADLINE:g} s"
        time.sleep(0.001)


class LaggingSite:
    """A read side that has applied the log up to whatever sequence the test says."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.applied = 0
        self.extra = 0  # how many sequences newer than it says its data may be
        self.site = "tokyo"
        self.on_read: Callable[[], None] = lambda: None

    def read(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, int, Head]:
        self.on_read()
        reference = folded(self._log, until=self.applied + self.extra)
        there = reference.volumes.get(volume.id)
        data = bytes(there.data[offset : offset + length]) if there is not None else b""
        return data.ljust(length, b"\0"), self.applied, self._head(folded(self._log, until=self.applied))

    def changes(self, source: int, target: int, copy: tuple[int, bytes] | None) -> tuple[ChangedBlocks, Head]:
        self.on_read()
        reference = folded(self._log, until=self.applied)
        changes = ChangeBitmap()
        if {source, target} <= reference.volumes.keys() and (copy is None or copy[0] in reference.copies):
            for block in reference.may_differ(source, target, copy[0] if copy else 0):
                changes.add(block)
        return changes, self._head(reference)

    def _head(self, reference: Reference) -> Head:
        event = reference.at(reference.sequence)
        return origin("") if event is None else Head(event.last, event.seal, event.epoch, event.writer, 0, event.offset)


def folded(log: MemoryLog, until: int | None = None) -> Reference:
    """The log as the reference reads it."""
    return Reference(GROUP_ID).fold([(record.offset, record.value) for record in log._records], until)


def events(log: MemoryLog) -> list[dict[str, Any]]:
    """Every record, decoded."""
    return [decode(record.value) for record in log._records]


class Lab:
    """Opens sessions and groups on one log, and ends them with the test."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.codec = Codec()
        self.control = MemoryControl()
        self.site = LaggingSite(self.log)
        self._sessions: list[WriterSession] = []

    def session(
        self,
        *,
        clock: HybridClock | None = None,
        vouched: Any = None,
        on_turn: Callable[[WriterSession], float] = lambda _: math.inf,
        **settings: Any,
    ) -> WriterSession:
        session = open_session(
            self.log,
            self.codec,
            GROUP_ID,
            replace(Settings(), **settings),
            vouched=vouched,
            clock=clock or HybridClock(),
            on_turn=on_turn,
        )
        self._sessions.append(session)
        return session

    def group(self, **settings: Any) -> Group:
        session = self.session(**settings)
        return Group("bank", session, self.site, self.control, session._settings.batch_bytes, [], [])

    def reference(self) -> Reference:
        return folded(self.log)

    def end(self) -> None:
        for session in self._sessions:
            session.abandon()


@pytest.fixture
def lab() -> Iterator[Lab]:
    """See `Lab`."""
    lab = Lab()
    yield lab
    lab.end()


@pytest.fixture
def quick_outages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is away is noticed, and tried again, at once."""
    monkeypatch.setattr(sidefile_session, "LOOK_EVERY", 0.005)
    monkeypatch.setattr(sidefile_session, "TRY_AGAIN", 0.005)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A group with a sidefile; its log is back, and it ends, when the test does."""
    made = Scene(tmp_path)
    yield made
    made.log.restore()
    made.group.abandon()
