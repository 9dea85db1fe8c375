"""Copies by time: a command on the control topic, and each site looks at its own data to decide when (G4, G19, G20)."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.consumers.conftest import SITES, Lab, configuration, until, written
from tests.reference import decode
from tidelog.clock import HybridClock, wall_us
from tidelog.consumers.access import open_group
from tidelog.consumers.catalogue import Answer
from tidelog.consumers.deployment import open_store
from tidelog.consumers.ordered_sets import OrderedSet, ordered_sets, recoverable_us
from tidelog.errors import AlreadyExists, InvalidName, NotFound, UsageError
from tidelog.producers.group import Group
from tidelog.producers.ordering import MAX_AHEAD, cancel_order, lead_seconds, order_copy
from tidelog.schemas.control import CopyFormed
from tidelog.stores.store import CopyOrigin
from tidelog.testing.running import RunningDeployment

SECOND = 1_000_000
KIB = 1024


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Writers that beat often: time passes in an idle group, too."""
    config = configuration()
    lab = Lab(config.model_copy(update={"writer": config.writer.model_copy(update={"heartbeat": 0.05})}))
    yield lab
    lab.end()


def soon(lab: Lab, seconds: float = 0.0) -> int:
    """The nearest time that may be ordered, and so much later."""
    return wall_us() + round((lead_seconds(lab.cluster) + 0.1 + seconds) * SECOND)


def found(lab: Lab, name: str, sites: tuple[str, ...] = SITES) -> OrderedSet:
    (one,) = [one for one in ordered_sets(lab.control.snapshot(), sites) if one.order.name == name]
    return one


def complete(lab: Lab, name: str, sites: tuple[str, ...] = SITES) -> OrderedSet:
    until(lambda: found(lab, name, sites).complete, f"{name} complete")
    return found(lab, name, sites)


def up_to(lab: Lab, at_us: int) -> tuple[int, bytes]:
    """By the reference: the sequence of the last event or write of at most that time, and the first volume's content,
    from the bare records of a log with nothing void in it."""
    sequence, data = 0, bytearray()
    for record in lab.log._records:
        event = decode(record.value)
        times = event.get("timestamps_us") or [event["timestamp_us"]]
        if event["kind"] == "VolumeCreated" and not data:
            data = bytearray(event["size"])
        place = 0
        for index, stamp in enumerate(times):
            if stamp > at_us:
                return sequence, bytes(data)
            sequence = event["sequence"] + index
            if event["kind"] == "WriteBatch":
                offset, length = event["offsets"][index], event["lengths"][index]
                data[offset : offset + length] = event["data"][place : place + length]
                place += length
    return sequence, bytes(data)


def test_every_site_cuts_at_the_time_and_answers(lab: Lab) -> None:
    """While writes go on: the same identity and digest everywhere, and it is what was written up to then."""
    for site in SITES:
        lab.worker(site)
    group = lab.group()
    volume = group.create_volume("v", 64 * KIB)
    at = soon(lab, 0.3)
    order_copy(lab.cluster, "noon", ["bank"], at)
    chance = random.Random(1)
    while wall_us() < at + SECOND // 10:
        for _ in range(20):
            volume.write(chance.randrange(60 * KIB), chance.randbytes(chance.randrange(1, 3000)))
        group.flush()
    complete(lab, "noon")
    sequence, content = up_to(lab, at)
    receipts = [r for r in lab.control.snapshot().values() if isinstance(r, CopyFormed) and r.name == "noon"]
    assert {receipt.site for receipt in receipts} == set(SITES)
    assert len({(r.sequence, r.seal, r.digest, r.blocks_changed, r.timestamp_us) for r in receipts}) == 1
    assert (receipts[0].sequence, receipts[0].timestamp_us) == (sequence, at)
    for site in SITES:
        store = lab.store(site)
        copy = store.copy("noon")
        assert copy.origin is CopyOrigin.TIME and store.read(copy.volumes[0], 0, 64 * KIB, copy) == content


def test_a_set_is_complete_when_every_group_has_it(lab: Lab) -> None:
    """Over two groups one time; a group whose writer is gone stays pending, and holds the recoverable time back."""
    lab.cluster.create_group("orders")
    lab.worker("osaka")
    bank = lab.group()
    written(bank)
    at = soon(lab)
    order_copy(lab.cluster, "noon", ["bank", "orders"], at)
    until(lambda: found(lab, "noon", ("osaka",)).answers["osaka"]["bank"] is Answer.FORMED, "bank's copy")
    half = found(lab, "noon", ("osaka",))
    assert half.answers["osaka"]["orders"] is Answer.PENDING and not half.complete and half.complete_at == ()
    view = lab.control.snapshot()
    assert recoverable_us(view, ["bank", "orders"], "osaka") == 0 < recoverable_us(view, ["bank"], "osaka")


def test_groups_that_lag_differently_cut_at_one_time(lab: Lab) -> None:
    """What one group holds of a pair of writes, made in turn by one clock, the other holds as well or one less."""
    lab.cluster.create_group("orders")
    bank, orders = lab.group(), open_group("orders", deployment=lab.deployment)
    volumes = [group.create_volume("v", 64 * KIB) for group in (bank, orders)]
    at = soon(lab, 1)
    order_copy(lab.cluster, "noon", ["bank", "orders"], at)
    count, begun = 0, 0
    while begun < at:  # the last pair is of behind the time
        count, begun = count + 1, wall_us()
        for volume in volumes:
            volume.write(0, count.to_bytes(8))
        (bank if count % 2 else orders).flush()
    bank.flush()
    lab.worker("osaka", groups=("bank",))
    until(lambda: found(lab, "noon", ("osaka",)).answers["osaka"]["bank"] is Answer.FORMED, "bank's copy")
    lab.worker("osaka", groups=("orders",))  # far behind
    complete(lab, "noon", ("osaka",))
    held = []
    for name in ("bank", "orders"):
        store = open_store(lab.deployment, "osaka", name)
        copy = store.copy("noon")
        held.append(int.from_bytes(store.read(copy.volumes[0], 0, 8, copy)))
    orders.abandon()
    assert held[0] in (held[1], held[1] + 1) and 0 < held[1] < count


def test_a_site_that_comes_later_cuts_the_same(lab: Lab) -> None:
    """A command stands: a site that replays the log long afterwards makes the copy when it comes by."""
    group = lab.group()
    lab.worker("osaka")
    written(group)
    order_copy(lab.cluster, "noon", ["bank"], soon(lab))
    complete(lab, "noon", ("osaka",))
    written(group)
    lab.worker("london")
    both = complete(lab, "noon", ("osaka", "london"))
    assert both.complete_at == ("osaka", "london")
    assert lab.store("osaka").digest(lab.store("osaka").copy("noon")) == lab.store("london").digest(
        lab.store("london").copy("noon")
    )


def test_a_void_event_does_not_move_time(lab: Lab) -> None:
    """C13: the late record of a fenced session is past the time, and cuts nothing: no site takes its time for real.

    The command is heard before the record comes, since one that was given later is obeyed by then; a cut that came of
    the record would be there before the marker behind it."""
    first = lab.group()
    first.create_volume("v", KIB)
    stray = lab.codec.decode(lab.log._records[-1].value)
    first.abandon()
    second = lab.group()  # fences the first
    lab.worker("osaka")
    at = soon(lab, 1800)
    order_copy(lab.cluster, "noon", ["bank"], at)
    order_copy(lab.cluster, "heard", ["bank"], soon(lab))
    complete(lab, "heard", ("osaka",))
    later = replace(stray, timestamp_us=at + 1800 * SECOND, sequence=stray.sequence + 1)
    lab.log.put(lab.codec.encode(later)[0])
    until(lambda: (s := lab.status("osaka")) and s.void == 1, "the void record seen")
    marker = second.mark("after")
    until(
        lambda: (s := lab.status("osaka")) and (s.sequence >= marker.sequence or s.state == "HALTED"),
        "the marker behind it applied",
    )
    assert [copy.name for copy in lab.store("osaka").copies()] == ["heard", "after"]
    assert lab.store("osaka").position().head.timestamp_us < at
    assert found(lab, "noon", ("osaka",)).answers["osaka"]["bank"] is Answer.PENDING


def test_what_is_taken_back_is_dropped_everywhere(lab: Lab) -> None:
    """Its copies go at every site, also where it is heard of later; its name is not used again."""
    for site in ("tokyo", "osaka"):
        lab.worker(site)
    group = written(lab.group())
    order_copy(lab.cluster, "noon", ["bank"], soon(lab))
    complete(lab, "noon", ("tokyo", "osaka"))
    with pytest.raises(AlreadyExists):
        order_copy(lab.cluster, "noon", ["bank"], soon(lab))
    cancel_order(lab.cluster, "noon")

    def gone() -> bool:
        receipts = (r for r in lab.control.snapshot().values() if isinstance(r, CopyFormed))
        return "noon" not in {receipt.name for receipt in receipts}

    until(gone, "the receipts taken back")
    for site in ("tokyo", "osaka"):
        assert "noon" not in {copy.name for copy in lab.store(site).copies()}
    assert ordered_sets(lab.control.snapshot(), SITES) == []
    group.mark("after").wait(["tokyo", "osaka"])
    with pytest.raises(NotFound):
        cancel_order(lab.cluster, "noon")
    with pytest.raises(AlreadyExists):
        order_copy(lab.cluster, "noon", ["bank"], soon(lab))


@pytest.mark.parametrize("step_us", [-500_000, 500_000])
def test_a_stepped_clock_changes_nothing(lab: Lab, step_us: int) -> None:
    """G20: the wall clock of the writer's machine jumps around the time: every site still cuts at one place."""
    offset = [0]
    group = open_group("bank", deployment=lab.deployment, clock=HybridClock(lambda: wall_us() + offset[0]))
    volume = group.create_volume("v", 64 * KIB)
    for site in ("osaka", "london"):
        lab.worker(site)
    at = soon(lab, 0.7)
    order_copy(lab.cluster, "noon", ["bank"], at)
    while wall_us() < at + SECOND:
        offset[0] = step_us if at - SECOND // 4 < wall_us() < at + SECOND // 4 else 0
        volume.write(0, wall_us().to_bytes(8))
        group.flush()
    complete(lab, "noon", ("osaka", "london"))
    group.abandon()
    sequence, content = up_to(lab, at)
    for site in ("osaka", "london"):
        store = lab.store(site)
        copy = store.copy("noon")
        assert copy.sequence == sequence and store.read(copy.volumes[0], 0, 64 * KIB, copy) == content


BAD: list[tuple[Callable[[Lab], Any], type[Exception], str]] = [
    (lambda lab: order_copy(lab.cluster, "../x", ["bank"], soon(lab)), InvalidName, "no name"),
    (lambda lab: order_copy(lab.cluster, "x" * 300, ["bank"], soon(lab)), InvalidName, "no name"),
    (lambda lab: order_copy(lab.cluster, "noon", ["nobody"], soon(lab)), NotFound, "no group"),
    (lambda lab: order_copy(lab.cluster, "noon", [], soon(lab)), UsageError, "one or more"),
    (lambda lab: order_copy(lab.cluster, "noon", ["bank", "bank"], soon(lab)), UsageError, "named once"),
    (lambda lab: order_copy(lab.cluster, "noon", ["bank"], wall_us() - 3600 * SECOND), UsageError, "before group"),
    (lambda lab: order_copy(lab.cluster, "noon", ["bank"], soon(lab, MAX_AHEAD)), UsageError, "days from now"),
]


@pytest.mark.parametrize(("call", "kind", "says"), BAD)
def test_commands_that_cannot_be(lab: Lab, call: Callable[[Lab], Any], kind: type[Exception], says: str) -> None:
    """Refused before anything is on the control topic."""
    before = dict(lab.control.snapshot())
    with pytest.raises(kind, match=says):
        call(lab)
    assert dict(lab.control.snapshot()) == before


def test_a_name_that_a_marker_has_is_refused(lab: Lab) -> None:
    lab.worker("osaka")
    written(lab.group()).mark("noon").wait(["osaka"])
    with pytest.raises(AlreadyExists):
        order_copy(lab.cluster, "noon", ["bank"], soon(lab))


@pytest.mark.servers
def test_on_real_servers(tidelog_deployment: RunningDeployment) -> None:
    """Two groups on Kafka, two sites on Redis, writes going on: one time, complete, equal."""
    cluster = tidelog_deployment.deployment.cluster
    groups: list[Group] = [tidelog_deployment.group(f"timed-{index}") for index in range(2)]
    for site in ("tokyo", "osaka"):
        for group in groups:
            tidelog_deployment.wait_for_store(site, group.name)
    volumes = [group.create_volume("v", 64 * KIB) for group in groups]
    at = wall_us() + round((lead_seconds(cluster) + 1) * SECOND)
    order_copy(cluster, "noon", [group.name for group in groups], at)
    count = 0
    while wall_us() < at + SECOND // 2:
        count += 1
        for group, volume in zip(groups, volumes, strict=True):
            volume.write(count % 15 * 4 * KIB, count.to_bytes(8) * 512)
            group.flush()

    def answered() -> bool:
        (one,) = ordered_sets(cluster.control.snapshot(), ("tokyo", "osaka"))
        return one.complete

    until(answered, "the set complete at both sites")
    receipts = [r for r in cluster.control.snapshot().values() if isinstance(r, CopyFormed) and r.name == "noon"]
    for group in groups:
        mine = [receipt for receipt in receipts if receipt.group == group.name]
        assert len(mine) == 2 and len({(r.sequence, r.seal, r.digest) for r in mine}) == 1
