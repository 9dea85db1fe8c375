"""Events straight into a store, for what is the store's alone: no Kafka, no other thread."""

import random
import uuid
from collections.abc import Sequence

from benchmarks.servers import Servers
from tidelog.consumers.deployment import RealDeployment
from tidelog.schemas.chain import origin
from tidelog.schemas.events import CopyDropped, Event, Marker, VolumeCreated, WriteBatch
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, Identity

BLOCK = 4096
VOLUME = "data"
_WRITES_A_BATCH = 4096
_BYTES_A_BATCH = 256 * 1024


class Feed:
    """One volume of ``blocks`` blocks in a store of its own, and the events of a writer that has it to itself."""

    def __init__(self, servers: Servers, group: str, site: str, blocks: int) -> None:
        identity = Identity(group, str(uuid.uuid4()), site)
        deployment = RealDeployment(servers.config())
        self.store = Store.create(deployment.keyspace(site, group), identity)
        self._applier = self.store.applier("cluster")
        self._head = origin(identity.group_id)
        self._chance = random.Random(1)
        self._volume = self._apply(VolumeCreated, name=VOLUME, size=blocks * BLOCK, block_size=BLOCK)
        self.blocks = blocks

    def write(self, blocks: Sequence[int], size: int, *, settle: bool = True) -> None:
        """``size`` random bytes at the beginning of each of these blocks, settled unless told otherwise."""
        count = min(_WRITES_A_BATCH, max(1, _BYTES_A_BATCH // size))
        for at in range(0, len(blocks), count):
            some = blocks[at : at + count]
            first = self._head.timestamp_us + 1
            self._apply(
                WriteBatch,
                timestamp_us=first + len(some) - 1,
                settle=settle,
                volumes=[self._volume.sequence] * len(some),
                offsets=[block * BLOCK for block in some],
                lengths=[size] * len(some),
                timestamps_us=list(range(first, first + len(some))),
                data=self._chance.randbytes(size * len(some)),
            )

    def cut(self) -> Event:
        """A marker, settled: the copy is there."""
        return self._apply(Marker, name=f"copy-{self._head.sequence}")

    def copy(self, marker: Event) -> Copy:
        """The copy of that marker."""
        return self.store.copy(f"#{marker.sequence}")

    @property
    def volume(self) -> VolumeInfo:
        return self.store.volume(VOLUME)

    def drop(self, marker: Event) -> None:
        """Drops the copy of that marker, and does all that follows from it."""
        self._apply(CopyDropped, copy_sequence=marker.sequence, copy_seal=marker.seal)
        while self._applier.maintain():
            pass

    def some(self, count: int) -> list[int]:
        """So many distinct blocks, in random order."""
        return self._chance.sample(range(self.blocks), count)

    def close(self) -> None:
        """Lets go of Redis; the data stay."""
        self._applier.close()
        self.store.close()

    def _apply(
        self, kind: type[Event], timestamp_us: int | None = None, settle: bool = True, **fields: object
    ) -> Event:
        event = kind(
            epoch=0,
            writer=self._head.writer,
            sequence=self._head.sequence + 1,
            timestamp_us=timestamp_us or self._head.timestamp_us + 1,
            previous=self._head.seal,
            seal=self._chance.randbytes(16),
            **fields,
        )
        self._applier.submit([(event, self._head.offset + 1)])
        if settle:
            self._applier.settle()
        self._head = self._head.after(event, self._head.offset + 1)
        return event
