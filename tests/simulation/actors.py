"""Who acts in the simulated world: writers, their sessions, and sites; each with what only the test can know."""

from typing import TYPE_CHECKING, NamedTuple

from tests.simulation.coroutine import Coroutine
from tests.simulation.stepped import SiteWorker
from tidelog.clock import HybridClock
from tidelog.producers.memory_send import PendingSend
from tidelog.producers.session import WriterSession
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.memory import MemoryKeyspace, Value
from tidelog.stores.records import decode_position
from tidelog.stores.store import Identity

if TYPE_CHECKING:
    from tests.simulation.world import World

GROUP_ID = "4ec22d14-2b71-4cb1-9b7e-9d7b2b0d2f6e"
WRITERS, SITES, WORKERS = 3, 2, 2


class Violation(AssertionError):
    """Something that must hold does not."""


class Op(NamedTuple):
    """One operation of a schedule."""

    name: str
    a: int = 0
    b: int = 0
    c: int = 0


class Session:
    """A writer session of the real code, and what the world knows of it. ``cut`` once a truncation took something that
    it rests on: then even a confirmed event may be gone."""

    def __init__(self, session: WriterSession, cut: bool) -> None:
        self.real, self.cut = session, cut
        self.judged = False


class Writer:
    """One process that opens sessions. ``session`` is its newest, maybe ended."""

    def __init__(self, skew_us: int, world: "World") -> None:
        self.clock = HybridClock(lambda: world.now_us + skew_us)
        self.opening: Coroutine | None = None
        self.session: Session | None = None
        self.sends: list[PendingSend] = []  # of the newest opening and its session

    @property
    def live(self) -> WriterSession | None:
        """The session, if it has not ended."""
        if self.session is None or self.session.real._confirmations.error is not None or self.session.real._closed:
            return None
        return self.session.real

    def undecided(self) -> PendingSend | None:
        """The oldest send that its appender still waits for: acknowledgements come in order."""
        return next((send for send in self.sends if not send.decided), None)


def nobody(_point: str) -> None:
    """Nothing comes in between."""


class WitnessedKeyspace(MemoryKeyspace):
    """A Redis whose position must never go back but by a rewind: each event, cut and drop step happens once."""

    def __init__(self, position: bytes) -> None:
        super().__init__()
        self._position = position

    def _set(self, key: bytes, value: Value) -> None:
        before = self.data.get(key)
        if key == self._position and isinstance(before, bytes) and isinstance(value, bytes):
            old, new = decode_position(before), decode_position(value)
            was, now = ((p.head.sequence, p.layout, p.step) for p in (old, new))
            if was >= now or old.layout > new.layout:
                raise Violation(f"(sequence, layout, step) went from {was} to {now}: something was done twice")
        super()._set(key, value)


class Site:
    """One Redis, and the workers that believe they own it."""

    def __init__(self, number: int, world: "World") -> None:
        self.identity = Identity("bank", GROUP_ID, f"site-{number}")
        self.keyspace = WitnessedKeyspace(Keys("bank").position)
        self.store = Store.create(self.keyspace, self.identity)
        self.workers = [SiteWorker(world.log, world.codec, self.keyspace, self.identity) for _ in range(WORKERS)]
        self.snapshots = [self.keyspace.snapshot()]
        self.dropped: set[bytes] = set()  # seals of copies that were dropped here alone
