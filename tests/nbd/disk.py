"""A live volume whose discards are looked at: what the log and the site have of them."""

from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.nbd.client import FUA, Client
from tidelog.consumers.deployment import open_store
from tidelog.producers.follower import Follower, follow
from tidelog.producers.group import Group
from tidelog.producers.memory_log import MemoryLog
from tidelog.schemas.chain import origin
from tidelog.schemas.events import Discard
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.running import RunningDeployment

BLOCK, BLOCKS = 4096, 2000
SIZE = BLOCK * BLOCKS - 100


@dataclass
class Disk:
    """A volume ``ledger`` that a server exports live, at a site whose worker runs."""

    running: RunningDeployment
    name: str
    ending: ExitStack
    group: Group = field(init=False)
    server: RunningNbd = field(init=False)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.open()
        self.running.site("tokyo")
        self.running.wait_for_store("tokyo", self.name, timeout=60)
        self.group.create_volume("ledger", SIZE)
        self.applied()
        self.connect()

    def open(self) -> None:
        """A new writer session."""
        self.group = self.running.group(self.name)

    def connect(self) -> None:
        """A new server, and a client of it."""
        server = RunningNbd(self.running.deployment, self.name, "tokyo", self.group)
        self.server = self.ending.enter_context(server)
        self.client = self.opened("ledger")

    def opened(self, volume: str) -> Client:
        """A client of that volume."""
        return self.ending.enter_context(Client(self.server.uri(volume)).go())

    @property
    def log(self) -> MemoryLog:
        cluster = self.running.deployment.cluster
        found = cluster.log(cluster.find_group(self.name))
        assert isinstance(found, MemoryLog)
        return found

    def applied(self) -> None:
        """Waits until the site has all."""
        self.group.flush(applied_at=1, sites=["tokyo"], timeout=60)

    def lose(self) -> None:
        """The log loses writes that the site has applied; a new session, which is served, goes on without them, and the
        site stands still, ahead of the session's own write."""
        self.applied()
        kept = self.group.session.confirmed.offset + 1
        for _ in range(30):
            self.client.write(0, b"lost", flags=FUA)
        self.applied()
        self.running.stop_site("tokyo")
        self.log.truncate(kept, noticed=False)
        self.open()
        self.connect()
        self.client.write(700 * BLOCK, b"in the log", flags=FUA)

    def discards(self) -> list[tuple[int, int]]:
        """Offset and length of every one in the log."""
        self.group.flush()
        cluster = self.running.deployment.cluster
        record = cluster.find_group(self.name)
        log = cluster.log(record)
        reader = log.reader(0)
        try:
            found = follow(reader, log.bounds().end, Follower(log, cluster.codec(record), origin(record.group_id)), 60)
            return [(event.offset, event.length) for event, _ in found if isinstance(event, Discard)]
        finally:
            reader.close()

    def content(self, site: str = "tokyo") -> bytes:
        """Of the volume, at a site alone."""
        self.group.flush(applied_at=1, sites=[site], timeout=60)
        store = open_store(self.running.deployment, site, self.name)
        try:
            return store.read(store.volume("ledger"), 0, SIZE)
        finally:
            store.close()
