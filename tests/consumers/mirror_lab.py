"""Two regions in memory: a log, and another that a model of Kafka's MirrorMaker fills from it."""

import random
from collections.abc import Sequence

from tests.consumers.conftest import KIB, Lab, configuration
from tests.producers.author import following, opening, put
from tidelog.consumers.deployment import MemoryDeployment
from tidelog.consumers.replica import Replica
from tidelog.producers.cluster import MemoryCluster
from tidelog.producers.log import Record
from tidelog.producers.mirrors import MirrorSource, mirror_follower, mirror_here
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.events import Heartbeat


class Mirror:
    """Sends a log's records to another, at least once, each run of it in order, from where any run has come to or
    before. A run that was given up may go on for a while beside the next one."""

    def __init__(self, source: Lab, target: Lab) -> None:
        self._source, self._target = source, target
        self._sent = 0
        self._runs = [0]

    @property
    def _records(self) -> Sequence[Record]:
        return self._source.log._records

    def send(self, count: int | None = None, run: int = -1) -> None:
        """The next records of a run, all by default."""
        first = self._runs[run]
        last = len(self._records) if count is None else min(len(self._records), first + count)
        for record in self._records[first:last]:
            self._target.log.put(record.value)
        self._runs[run] = last
        self._sent = max(self._sent, last)

    def begin(self, at: int) -> None:
        """Another run, from at most what was sent."""
        self._runs.append(min(at, self._sent))

    def at_random(self, chance: random.Random) -> None:
        """Some records, with restarts and runs beside each other."""
        for _ in range(chance.randrange(1, 5)):
            if chance.random() < 0.4:
                self.begin(chance.choice([0, self._sent, max(0, self._sent - chance.randrange(20))]))
            self.send(chance.randrange(1, 12), run=chance.randrange(-2 if len(self._runs) > 1 else -1, 0))


class MirrorLab(Lab):
    """Region b, whose log of the group `bank` is a mirror of a `Lab`'s; what its sites hold is compared with that
    one's log."""

    def __init__(self, source: Lab, *, told: bool = True) -> None:
        self.source = source
        self.deployment = MemoryDeployment(configuration())
        self.cluster = self.deployment.cluster = MemoryCluster(self.deployment.config, "b")
        self.control = self.cluster.control
        known = MirrorSource(source.log.id, ["kafka-a:9092"], source.control)
        self.mirrored = self.cluster.mirror_group(source.record, known if told else MirrorSource())
        self.record: GroupCreated = self.cluster.find_group("bank")
        self.codec = self.cluster.codec(self.record)
        self.mirror = Mirror(source, self)
        self._replicas, self._workers, self._groups = [], [], []

    def reference(self, until_sequence=None):
        mirrored = mirror_here(self.control.snapshot(), "bank", self.log.id) is not None
        return self.source.reference(until_sequence) if mirrored else super().reference(until_sequence)

    def replica(self, site: str = "osaka") -> Replica:
        replica = Replica(
            "bank",
            self.codec,
            lambda: self.cluster.log(self.record),
            lambda: self.store(site, create=True),
            self.control,
            self.deployment.config.worker,
            make_follower=mirror_follower(self.control, "bank"),
        )
        self._replicas.append(replica)
        replica.start()
        return replica

    def takes_store_of(self, source: Lab, site: str) -> None:
        """The site's Redis is now this region's."""
        self.deployment._keyspaces[site, "bank"] = source.deployment._keyspaces[site, "bank"]


class History:
    """A group that is written to at random, by one session after another, with what fenced and failed ones leave."""

    def __init__(self, lab: Lab, chance: random.Random) -> None:
        self._lab, self._chance, self._turn = lab, chance, 0
        self._volumes: list[str] = []
        self._group = lab.group()

    def go_on(self, steps: int) -> None:
        """Ends with a session that is open, and everything flushed."""
        for _ in range(steps):
            self._turn += 1
            action = self._chance.choice(("write", "write", "write", "mark", "volume", "drop", "void", "hole", "open"))
            getattr(self, f"_{action}")()
        self._group.flush()

    def _volume(self) -> None:
        if len(self._volumes) < 3:
            self._volumes.append(f"v{self._turn}")
            self._group.create_volume(self._volumes[-1], 20 * KIB, block_size=512)

    def _write(self) -> None:
        if not self._volumes:
            self._volume()
        volume = self._group.volume(self._chance.choice(self._volumes))
        for _ in range(self._chance.randrange(1, 4)):
            volume.write(self._chance.randrange(18 * KIB), self._chance.randbytes(self._chance.randrange(1, 2 * KIB)))
        self._group.flush()

    def _mark(self) -> None:
        self._group.mark(f"m{self._turn}")

    def _drop(self) -> None:
        copies = self._group.session.state.copies()
        if len(copies) > 1:
            self._group.drop_copy(copies[0].name)

    def _open(self) -> None:
        self._group = self._lab.group()

    def _void(self) -> None:
        """A fenced session that has not noticed, and an opening that lost the race."""
        before = self._group.session.confirmed
        self._group = self._lab.group()
        put(self._lab.log, following(Heartbeat, before), self._lab.codec)
        put(self._lab.log, opening(before, epoch=before.epoch + 2), self._lab.codec)
        self._group = self._lab.group()

    def _hole(self) -> None:
        """A session that lost a send: what it sent behind that is held, and void once the next one is there."""
        head = self._group.session.confirmed
        put(self._lab.log, following(Heartbeat, head, sequence=head.sequence + 3), self._lab.codec)
        self._group = self._lab.group()
