"""Copies by time: each site looks at the timestamps in its own data, and all cut the same (US8788772; G4, G20)."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_lab import CLUSTER, IDENTITY, Lab

from tidelog.schemas.events import Discard, Heartbeat, Marker, WriteBatch
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import CopyOrigin
from tidelog.stores.timed import DueCopy
from tidelog.stores.transaction import Limits

BLOCK = Lab.BLOCK
LIMITS = [Limits(1, 1), Limits(2000, 3), Limits(1 << 20, 1 << 20)]


@pytest.fixture
def lab(keyspace: Keyspace) -> Lab:
    return Lab(keyspace)


def timed(store: Store) -> dict[str, tuple[int, bytes, int]]:
    """Copies by time: name -> identity and time."""
    return {c.name: (c.sequence, c.seal, c.timestamp_us) for c in store.copies() if c.origin is CopyOrigin.TIME}


def content(lab: Lab, name: str) -> bytes:
    copy = lab.store.copy(name)
    return lab.store.read(copy.volumes[0], 0, copy.volumes[0].size, copy)


def test_a_copy_between_events(lab: Lab) -> None:
    """After the last event of at most T, before the first one behind it: without a marker, at whatever is the head."""
    before = lab.author.write((lab.volume, 0, b"a" * BLOCK))
    lab.applier.order([DueCopy("noon", before.timestamp_us + 5)])
    lab.apply()
    assert timed(lab.store) == {}  # the head's time is not past it: more may come
    lab.author.write((lab.volume, 0, b"b" * BLOCK))
    lab.apply()
    assert timed(lab.store) == {"noon": (before.sequence, before.seal, before.timestamp_us + 5)}
    assert content(lab, "noon")[:BLOCK] == b"a" * BLOCK


def test_equal_to_the_time_is_in_the_copy(lab: Lab) -> None:
    """Claim 1 of US8788772: the copy holds what was written at T itself."""
    at = lab.author.write((lab.volume, 0, b"a" * BLOCK))
    lab.applier.order([DueCopy("noon", at.timestamp_us)])
    lab.author.add(Heartbeat)
    lab.apply()
    assert timed(lab.store) == {"noon": (at.sequence, at.seal, at.timestamp_us)}
    assert content(lab, "noon")[:BLOCK] == b"a" * BLOCK


def test_a_number_names_the_marker_copy_of_several(lab: Lab) -> None:
    """A copy by time may end where a marker does; by its own name it is found, by the sequence the marker's."""
    marker = lab.author.mark("end")
    lab.applier.order([DueCopy("noon", marker.timestamp_us + 5)])
    lab.author.add(Heartbeat)
    lab.apply()
    found = {name: lab.store.copy(name) for name in ("end", "noon", f"#{marker.sequence}")}
    assert {copy.sequence for copy in found.values()} == {marker.sequence}
    assert (found["noon"].name, found[f"#{marker.sequence}"].name) == ("noon", "end")


def test_a_batch_is_cut_in_parts_in_one_step(lab: Lab) -> None:
    """T inside a batch: writes up to it are in the copy, later ones of the same block are not, and no position lies
    inside the batch, whatever becomes of the worker (L8)."""
    lab.author.write((lab.volume, 0, b"old" * 100))
    batch = lab.author.write(*[(lab.volume, 0, bytes([number]) * BLOCK) for number in range(1, 6)])
    assert isinstance(batch, WriteBatch)
    second, fourth = batch.timestamps_us[1], batch.timestamps_us[3] + 1
    lab.applier.order([DueCopy("late", fourth), DueCopy("early", second)])
    lab.apply()
    assert timed(lab.store) == {
        "early": (batch.sequence + 1, batch.seal, second),
        "late": (batch.sequence + 3, batch.seal, fourth),
    }
    assert (content(lab, "early")[0], content(lab, "late")[0]) == (2, 4)
    assert lab.store.position().head.sequence == batch.last_sequence
    with lab.store.applier(CLUSTER) as another:
        lab.author.mark()
        lab.apply(another)  # goes on behind the batch


def test_a_command_seen_again_gives_one_copy(lab: Lab) -> None:
    """Early, twice, after a restart: one copy. Too late: none, rather than one of another moment."""
    first = lab.author.write((lab.volume, 0, b"a"))
    order = DueCopy("noon", first.timestamp_us)
    for _ in range(3):
        lab.applier.order([order, order])
        lab.author.add(Heartbeat)
        lab.apply()
        lab.applier = lab.store.applier(CLUSTER)
    assert [copy.name for copy in lab.store.copies()] == ["noon"]
    lab.applier.order([order, DueCopy("missed", first.timestamp_us - 1)])
    lab.author.add(Heartbeat)
    lab.apply()
    assert list(timed(lab.store)) == ["noon"]


def test_before_the_first_event_there_is_nothing_to_copy() -> None:
    """A time before the group began is outside the window."""
    lab = Lab(MemoryKeyspace())
    lab.applier.order([DueCopy("dawn", 1)])
    lab.apply()
    assert lab.store.copies() == []


def test_a_dropped_marker_leaves_a_timed_copy_of_the_same_identity(lab: Lab) -> None:
    """`CopyDropped` is for the marker's copy; one that was ordered for the same moment is another's to drop."""
    lab.author.write((lab.volume, 0, b"a" * BLOCK))
    marker = lab.author.mark("marked")
    lab.applier.order([DueCopy("noon", marker.timestamp_us)])
    lab.author.add(Heartbeat)
    lab.author.drop(marker)
    lab.apply()
    while lab.applier.maintain():
        pass
    assert [copy.name for copy in lab.store.copies()] == ["noon"]
    assert content(lab, "noon")[:BLOCK] == b"a" * BLOCK
    assert lab.store.digest(lab.store.copy("noon")) == lab.store.verify(lab.store.copy("noon"))


def test_an_event_in_steps_is_not_cut_into(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that comes while a large discard is half done is too late for the moment before it."""
    monkeypatch.setattr("tidelog.stores.plan.STEP_BLOCKS", 1)
    lab.author.write(*[(lab.volume, block * BLOCK, b"x" * BLOCK) for block in range(3)])
    lab.apply()
    before = lab.store.position().head
    lab.author.add(Discard, volume=lab.volume, offset=0, length=3 * BLOCK)
    ((event, offset),) = lab.author.after(before.sequence)
    plan = lab.applier._planner.plan([(event, offset)])
    lab.applier._send(next(plan))
    lab.applier.settle()
    assert lab.store.position().step
    with lab.store.applier(CLUSTER) as another:
        another.order([DueCopy("noon", before.timestamp_us)])
        lab.apply(another)
    assert lab.store.copies() == [] and lab.store.position().head.sequence == event.sequence


@dataclass
class Program:
    """A log, the commands, and how two sites happen to go about it."""

    lab: Lab
    moments: list[tuple[int, int, bytes, bytes]] = field(default_factory=list)  # time, sequence, seal, content

    def grow(self, kind: str, blocks: list[int]) -> None:
        author, volume = self.lab.author, self.lab.volume
        image = bytearray(self.moments[-1][3] if self.moments else bytes(3 * BLOCK))
        if kind == "write":
            first = author.head.sequence + 1
            data = [bytes([first + index & 0xFF, 1]) * (BLOCK // 2) for index in range(len(blocks))]
            event = author.write(*[(volume, block * BLOCK, part) for block, part in zip(blocks, data, strict=True)])
            for index, (block, part) in enumerate(zip(blocks, data, strict=True)):
                image[block * BLOCK : (block + 1) * BLOCK] = part
                self.moments.append(((first + index) * 1000, first + index, event.seal, bytes(image)))
            return
        if kind == "discard":
            event = author.add(Discard, volume=volume, offset=blocks[0] * BLOCK, length=BLOCK)
            image[blocks[0] * BLOCK : (blocks[0] + 1) * BLOCK] = bytes(BLOCK)
        else:
            event = author.add(Heartbeat) if kind == "beat" else author.add(Marker, name=f"m{author.head.sequence}")
        self.moments.append((event.timestamp_us, event.sequence, event.seal, bytes(image)))


kinds = st.sampled_from(["write", "write", "write", "discard", "beat", "mark"])
events = st.lists(st.tuples(kinds, st.lists(st.integers(0, 2), min_size=1, max_size=5)), min_size=1, max_size=8)
# Whole milliseconds are the times of events: those, and in between.
times = st.lists(st.integers(2, 40).map(lambda half: half * 500), max_size=5, unique=True)
runs = st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.sampled_from(LIMITS)), min_size=20, max_size=20)


@given(events, times, runs, runs)
@settings(max_examples=300, deadline=None)
def test_every_site_cuts_the_same(
    grown: list[tuple[str, list[int]]], asked: list[int], one: list[tuple[int, bool, Limits]], other: list[tuple]
) -> None:
    """Whatever the batches, the runs, the limits and the restarts of two sites: each command whose time the log has
    passed has one copy, the image after exactly what was written up to it, equal in identity, count and digest."""
    lab = Lab(MemoryKeyspace())
    program = Program(lab)
    for kind, blocks in grown:
        program.grow(kind, blocks)
    orders = [DueCopy(f"t{at}", at) for at in asked]
    sites = [_site(lab, orders, runs) for runs in (one, other)]
    window = program.moments
    created = lab.author.log[1][0]
    expected = {}
    for at in asked:
        past = [moment for moment in window if moment[0] <= at]
        if at >= lab.author.head.timestamp_us or at < lab.author.log[0][0].timestamp_us:
            continue
        if past:
            expected[f"t{at}"] = (*past[-1][1:3], at)
        else:
            event = created if created.timestamp_us <= at else lab.author.log[0][0]
            expected[f"t{at}"] = (event.sequence, event.seal, at)
    for site in sites:
        assert timed(site) == expected
        for name, (sequence, _, _) in expected.items():
            copy = site.copy(name)
            image = next((moment[3] for moment in window if moment[1] == sequence), bytes(3 * BLOCK))
            if copy.volumes:
                assert site.read(copy.volumes[0], 0, 3 * BLOCK, copy) == image
            assert site.digest(copy) == site.verify(copy) == sites[0].digest(sites[0].copy(name))
            assert copy.blocks_changed == sites[0].copy(name).blocks_changed


def _site(lab: Lab, orders: list[DueCopy], runs: list[tuple[int, bool, Limits]]) -> Store:
    keyspace: Keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    applier = None
    for count, restart, limits in [*runs, (1000, False, LIMITS[2])]:
        if applier is None or restart:
            applier = store.applier(CLUSTER, limits)
            applier.order(orders)
        applier.submit(lab.author.after(applier.position.head.sequence)[:count])
        if not restart:
            applier.settle()
    assert applier is not None
    applier.settle()
    return store
