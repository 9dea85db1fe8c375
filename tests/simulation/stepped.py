"""tidelog's own writer and site code with its threads taken out, so that a test decides who runs next.

Nothing of the protocol is written anew here: `open_session`, `WriterSession`, `Follower`, `Fetcher`, `Applier` and
`judge` are the real ones. What is replaced is the `threading` that they see: threads never start, and an event that is
waited for hands over to the test (`tests.simulation.coroutine`). In place of the threads' loops:

- `step` does what one turn of a session's thread does (`WriterSession._run`: settle doubt, abandon after an error);
- `SiteWorker` does what `Replica._run` does, one poll or one run of events at a time.
"""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace

import pytest

from tests.simulation.coroutine import pause
from tidelog.consumers import fetcher as fetcher_module
from tidelog.consumers.fetcher import Fetcher
from tidelog.consumers.history import check_history
from tidelog.errors import TidelogError, Unavailable
from tidelog.producers import opening as opening_module
from tidelog.producers import session as session_module
from tidelog.producers.follower import Follower, carries_head
from tidelog.producers.log import Bounds, Record
from tidelog.producers.memory_log import MemoryAppender, MemoryLog
from tidelog.producers.memory_send import PendingSend
from tidelog.producers.session import WriterSession
from tidelog.schemas.codec import Codec
from tidelog.stores.applier import Applier
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.store import Identity


class NoThread:
    """A thread that never runs."""

    def __init__(self, **_: object) -> None:
        pass

    def start(self) -> None:
        pass

    def join(self, _timeout: float | None = None) -> None:
        pass


class SteppedEvent:
    """An event whose waiting hands over; `give_up` ends the waiting as a timeout would."""

    given_up = False

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, _timeout: float | None = None) -> bool:
        while not self._set and not SteppedEvent.given_up:
            pause()
        return self._set


class WriterIds:
    """Where sessions take their ids from, so that a schedule's run is the same each time."""

    random = Random(0)

    @staticmethod
    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=WriterIds.random.getrandbits(128))


@contextmanager
def without_threads() -> Iterator[None]:
    """The `threading` of the session, the opening and the fetcher replaced."""
    names = {"RLock": threading.RLock, "Lock": threading.Lock, "Condition": threading.Condition}
    stepped = SimpleNamespace(Thread=NoThread, Event=SteppedEvent, **names)
    with pytest.MonkeyPatch.context() as patch:
        for module in (session_module, opening_module, fetcher_module):
            patch.setattr(module, "threading", stepped)
        patch.setattr(opening_module, "uuid", WriterIds)
        yield


@dataclass(frozen=True)
class Settings:
    """Of a writer session. No time passes while one waits, so every timeout is over at once."""

    batch_bytes: int = 4096
    linger: float = 0.0
    buffer_bytes: int = 1 << 20
    write_timeout: float = 0.0
    heartbeat: float = 1e9
    max_clock_skew: float = 60.0
    overlay_bytes: int = 1 << 16


class SteppedLog(MemoryLog):
    """A `MemoryLog` whose every call by a coroutine is a place where others may come in between. Sends wait for the
    test. ``sent`` is every send ever made."""

    def __init__(self) -> None:
        super().__init__("simulated", "simulated", fetch_bytes=300)
        self.hold()
        self.sent: list[PendingSend] = []

    def values(self) -> list[tuple[int, bytes]]:
        """What is in the log: offsets and records."""
        return [(record.offset, record.value) for record in self._records]

    def bounds(self, timeout: float | None = None) -> Bounds:  # noqa: ARG002
        pause()
        bounds = super().bounds()
        pause()
        return bounds

    def record_at(self, offset: int) -> Record | None:
        pause()
        return super().record_at(offset)

    def appender(self) -> MemoryAppender:
        pause()
        return super().appender()

    def _take(self, send: PendingSend) -> None:
        pause()
        self.sent.append(send)
        super()._take(send)


def step(session: WriterSession) -> None:
    """One turn of the session's thread."""
    try:
        if session._confirmations.doubt and session._confirmations.error is None:
            session._confirmations.settle_doubt()
    except TidelogError as error:
        session._confirmations.fail(error)
    if session._confirmations.error is not None:
        session._appender.abandon()


@dataclass
class SiteWorker:
    """A `Replica` without threads. ``halt`` is why it stopped for good. ``touched`` is set when the log was truncated
    below what it had read; ``had_reason`` if, when it halted, that was so or its store's head was not in the log."""

    log: MemoryLog
    codec: Codec
    keyspace: Keyspace
    identity: Identity
    halt: TidelogError | None = None
    touched: bool = False
    had_reason: bool = False
    applier: Applier | None = None
    follower: Follower | None = None
    fetcher: Fetcher | None = None
    store: Store = field(init=False)
    busy: bool = field(default=False, init=False)

    @property
    def reads_at(self) -> int:
        """The offset of its next poll; 0 while it is not connected."""
        return self.fetcher._reader.next_offset if self.fetcher is not None else 0

    def connect(self) -> None:
        """As `Replica._connect_and_apply` begins."""
        if self.halt is not None or self.applier is not None:
            return
        self.store = Store.open(self.keyspace, self.identity)
        self.touched = False
        with self._guard():
            self.applier = self.store.applier(self.log.id)
            head = self.applier.position.head
            self.follower = Follower(self.log, self.codec, head)
            check_history(self.log, self.follower, self.applier.position.cluster_id)
            reader = self.log.reader(self.follower.head.next_offset)
            self.fetcher = Fetcher(reader, self.follower, queue_bytes=1 << 20, poll_timeout=0.0)

    def poll(self) -> None:
        """One turn of the fetching thread."""
        fetcher = self.fetcher
        if self.halt is not None or fetcher is None or fetcher._error is not None:
            return
        try:
            fetcher._poll_once()
        except TidelogError as error:
            fetcher._end(error)

    def apply(self) -> None:
        """Submits one run, without waiting for it."""
        if self.halt is not None or self.fetcher is None or self.applier is None:
            return
        with self._guard():
            run = self.fetcher.take(0)
            if run is not None:
                self.applier.submit(run.events)

    def settle(self) -> None:
        if self.halt is None and self.applier is not None:
            with self._guard():
                self.applier.settle()

    def idle(self) -> bool:
        """As a replica does when there is nothing to apply; whether there is more of it to do."""
        if self.halt is None and self.applier is not None:
            with self._guard():
                more = self.applier.maintain()
                if self.store.position() != self.applier.confirmed:
                    raise PositionMoved("the store was changed while nothing was to apply")
                return more
        return False

    def sync(self) -> None:
        """Everything that is to be read now, if nothing comes in between."""
        self.connect()
        for _ in range(1000):
            self.poll()
            self.apply()
            fetcher = self.fetcher
            if fetcher is None or (fetcher.empty and fetcher._error is None and self.reads_at == self.log._end):
                break
        self.settle()

    def crash(self) -> None:
        """The process ends where it stands; a new one will take its place."""
        self._disconnect()
        self.halt, self.touched, self.had_reason = None, False, False

    def _disconnect(self) -> None:
        if self.applier is not None:
            self.applier.close()
        self.applier = self.follower = self.fetcher = None

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """As `Replica._run` tells errors apart."""
        before, self.busy = self.busy, True
        try:
            yield
        except (PositionMoved, Unavailable):
            self._disconnect()
        except TidelogError as error:
            self.halt = error
            self.had_reason = self.touched or not carries_head(self.log, self.store.position().head)
            self._disconnect()
        finally:
            self.busy = before


def give_up(wanted: bool) -> None:
    """Whether what waits for an acknowledgement gives up."""
    SteppedEvent.given_up = wanted
