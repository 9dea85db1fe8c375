"""Copies by time that a site hears of when it is past the time: made from an elder copy and the log (DESIGN 6.2)."""

import threading
from collections.abc import Iterator

import pytest

from tests.consumers.conftest import SITES, Lab, configuration, until, written
from tests.consumers.test_timed_copies import complete, found, up_to
from tidelog.clock import wall_us
from tidelog.consumers.catalogue import Answer
from tidelog.consumers.late_events import LogEvents
from tidelog.consumers.ordered_sets import with_dropped
from tidelog.consumers.receipts import Receipts
from tidelog.errors import UsageError
from tidelog.producers.group import Group
from tidelog.producers.ordering import cancel_order, order_copy
from tidelog.schemas.control import CopyFormed, OrderAnswered
from tidelog.schemas.events import WriteBatch
from tidelog.stores.store import Copy, CopyOrigin
from tidelog.testing.running import RunningDeployment

KIB = 1024


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Writers that beat often: time passes in an idle group, too."""
    config = configuration()
    lab = Lab(config.model_copy(update={"writer": config.writer.model_copy(update={"heartbeat": 0.05})}))
    yield lab
    lab.end()


def passed(lab: Lab, at_us: int, site: str = "osaka") -> None:
    """Waits until a site has applied something later."""
    until(lambda: (status := lab.status(site)) and status.timestamp_us > at_us, "past the time")


def timed(lab: Lab, site: str = "osaka") -> list[Copy]:
    return [copy for copy in lab.store(site).copies() if copy.origin is CopyOrigin.TIME]


def same_everywhere(lab: Lab, name: str, sites: tuple[str, ...]) -> CopyFormed:
    """The receipts of a complete copy say the same; one of them."""
    complete(lab, name, sites)
    receipts = [r for r in lab.control.snapshot().values() if isinstance(r, CopyFormed) and r.name == name]
    assert {receipt.site for receipt in receipts} == set(sites)
    assert len({(r.sequence, r.seal, r.digest, r.blocks_changed, r.timestamp_us) for r in receipts}) == 1
    return receipts[0]


def some_writes(group: Group) -> int:
    """Writes, a moment in the midst of them, writes: that moment."""
    volume = group.create_volume("v", 64 * KIB)
    for index in range(30):
        volume.write(index * 1777, bytes([index + 1]) * 1500)
        group.flush()
    at = wall_us()
    for index in range(30):
        volume.write(index * 1111, bytes([index + 101]) * 900)
        group.flush()
    return at


def test_a_time_that_is_past_everywhere(lab: Lab) -> None:
    """With no copy behind the time, and none before: from the log alone; a site that replays the log cuts the same."""
    lab.worker("osaka")
    group = lab.group()
    at = some_writes(group)
    passed(lab, at)
    order_copy(lab.cluster, "noon", ["bank"], at)
    complete(lab, "noon", ("osaka",))
    lab.worker("london")
    receipt = same_everywhere(lab, "noon", ("osaka", "london"))
    sequence, content = up_to(lab, at)
    assert receipt.sequence == sequence
    for site in ("osaka", "london"):
        (copy,) = timed(lab, site)
        assert lab.store(site).read(copy.volumes[0], 0, 64 * KIB, copy) == content
        assert lab.store(site).verify(copy) == receipt.digest
    group.mark("behind").wait(["osaka", "london"])
    assert not [record for record in lab.control.snapshot().values() if isinstance(record, OrderAnswered)]


def test_between_markers_while_writes_go_on(lab: Lab) -> None:
    """Three times between markers, in any order, one in the middle dropped: as at a site that cuts them in time. The
    markers' own counts are corrected, and their receipts sent anew."""
    lab.worker("osaka")
    group = written(lab.group())
    times = []
    for index in range(4):
        written(group, 1)
        times.append(wall_us())
        until(lambda: wall_us() > times[-1], "the next microsecond")
        if index == 1:
            group.drop_copy(group.mark("gone").name)
        written(group, 2)
    passed(lab, times[-1])
    for index in (2, 0, 3):
        order_copy(lab.cluster, f"t{index}", ["bank"], times[index])
        written(group, 1)
    for index in (0, 2, 3):
        complete(lab, f"t{index}", ("osaka",))
    lab.worker("london")
    for index in (0, 2, 3):
        receipt = same_everywhere(lab, f"t{index}", ("osaka", "london"))
        assert receipt.sequence == up_to(lab, times[index])[0]
    group.mark("behind").wait(["osaka", "london"])

    def counts(site: str) -> dict[str, int]:
        view = lab.control.snapshot().values()
        return {r.name: r.blocks_changed for r in view if isinstance(r, CopyFormed) and r.site == site}

    until(lambda: counts("osaka") == counts("london"), "the same counts of changed blocks")


def test_a_restart_in_the_middle(lab: Lab) -> None:
    """Workers that end while it is made, again and again: it is made once, by whoever comes last."""
    group = lab.group()
    lab.worker("osaka")
    at = some_writes(group)
    passed(lab, at)
    order = order_copy(lab.cluster, "noon", ["bank"], at)
    for steps in range(8):
        replica = lab.replica("osaka")
        replica.orders = (order,)
        before = lab.keyspace().transactions
        until(lambda before=before, steps=steps: lab.keyspace().transactions >= before + steps, "some steps")
        replica.stop()
    complete(lab, "noon", ("osaka",))
    (copy,) = timed(lab)
    assert lab.store().read(copy.volumes[0], 0, 64 * KIB, copy) == up_to(lab, at)[1]


def test_what_the_log_does_not_reach_back_to(lab: Lab) -> None:
    """A log that was trimmed behind the time: said, with the reason, and no later image in its place."""
    lab.worker("osaka")
    group = lab.group()
    at = some_writes(group)
    group.mark("behind").wait(["osaka"])
    some = lab.store().copy("behind")
    lab.log.trim(some.offset)
    order_copy(lab.cluster, "noon", ["bank"], at)
    until(lambda: found(lab, "noon", ("osaka",)).impossible, "the answer")
    one = found(lab, "noon", ("osaka",))
    assert one.answers["osaka"]["bank"] is Answer.OUT_OF_WINDOW and not one.complete
    assert "the log begins at offset" in one.reasons["osaka"]["bank"]
    assert timed(lab) == []
    cancel_order(lab.cluster, "noon")
    group.mark("more").wait(["osaka"])
    until(
        lambda: not [record for record in lab.control.snapshot().values() if isinstance(record, OrderAnswered)],
        "nothing said of a command that was taken back",
    )


def test_behind_a_copy_that_the_log_reaches_back_to(lab: Lab) -> None:
    """The same trimmed log, and a time behind the copy: from that copy and what the log still has."""
    lab.worker("osaka")
    group = lab.group()
    some_writes(group)
    group.mark("before").wait(["osaka"])
    volume = group.volume("v")
    volume.write(5, b"in the copy")
    group.flush()
    at = wall_us()
    until(lambda: wall_us() > at, "the next microsecond")
    volume.write(0, b"not in the copy")
    group.flush()
    passed(lab, at)
    content = up_to(lab, at)
    lab.log.trim(lab.store().copy("before").offset)
    order_copy(lab.cluster, "noon", ["bank"], at)
    complete(lab, "noon", ("osaka",))
    (copy,) = timed(lab)
    assert (copy.sequence, lab.store().read(copy.volumes[0], 0, 64 * KIB, copy)) == content


def test_taken_back_while_it_is_made(lab: Lab) -> None:
    """Whether it was formed already or not, nothing of it stays."""
    lab.worker("osaka")
    group = lab.group()
    at = some_writes(group)
    passed(lab, at)
    for index in range(3):
        order_copy(lab.cluster, f"t{index}", ["bank"], at)
        cancel_order(lab.cluster, f"t{index}")
    order_copy(lab.cluster, "stays", ["bank"], at)
    complete(lab, "stays", ("osaka",))
    group.mark("behind").wait(["osaka"])
    until(lambda: [copy.name for copy in timed(lab)] == ["stays"], "one copy")


def test_before_the_group_began(lab: Lab) -> None:
    """Refused before anything is on the control topic; before its first event a site says so."""
    created = lab.record.created_us
    with pytest.raises(UsageError, match="before group bank began"):
        order_copy(lab.cluster, "noon", ["bank"], created - 1)
    lab.worker("osaka")
    some_writes(lab.group())
    order_copy(lab.cluster, "noon", ["bank"], created)
    until(lambda: found(lab, "noon", ("osaka",)).impossible, "the answer")
    assert "first event" in found(lab, "noon", ("osaka",)).reasons["osaka"]["bank"]


def test_void_records_do_not_count_late_either(lab: Lab) -> None:
    """C13: what a fenced session sent late is in the log between the copies, and in no image."""
    lab.worker("osaka")
    first = lab.group()
    first.create_volume("v", KIB)
    lab.log.hold()
    first.volume("v").write(0, b"void")

    def on_its_way() -> list[bytes]:
        values = [send.value for send in lab.log.pending]
        return [value for value in values if isinstance(lab.codec.decode(value), WriteBatch)]

    (value,) = until(on_its_way, "the write on its way")
    first.abandon()
    lab.log.release()
    second = lab.group()
    lab.log.put(value)
    second.volume("v").write(100, b"counts")
    second.flush()
    at = wall_us()
    passed(lab, at)
    until(lambda: (status := lab.status()) and status.void == 1, "the void record seen")
    order_copy(lab.cluster, "noon", ["bank"], at)
    complete(lab, "noon", ("osaka",))
    (copy,) = timed(lab)
    content = lab.store().read(copy.volumes[0], 0, KIB, copy)
    assert content == bytes(100) + b"counts" + bytes(KIB - 106)
    assert lab.reference().skipped["void"] == 1


def test_gone_before_the_receipts_have_looked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was formed and dropped while they were busy: the site does not say for ever that it makes it."""
    gate = threading.Event()
    gate.set()
    real = Receipts._round
    monkeypatch.setattr(Receipts, "_round", lambda *given: (gate.wait(20), real(*given)))
    lab.worker("osaka")
    group = lab.group()
    at = some_writes(group)
    passed(lab, at)
    store = lab.store()
    log, opened = LogEvents.take, threading.Event()
    monkeypatch.setattr(LogEvents, "take", lambda events: log(events) if opened.is_set() else [])
    order_copy(lab.cluster, "noon", ["bank"], at)
    until(lambda: found(lab, "noon", ("osaka",)).answers["osaka"]["bank"] is Answer.FORMING, "the answer")
    gate.clear()
    opened.set()
    until(lambda: timed(lab), "the copy")
    assert store.mark_dropping(store.copy("noon"), forget=True)
    assert found(lab, "noon", ("osaka",)).answers["osaka"]["bank"] is Answer.FORMING
    dropped = with_dropped(found(lab, "noon", ("osaka",)), lambda *_: store.forgotten_orders())
    assert dropped.answers["osaka"]["bank"] is Answer.DROPPED
    gate.set()
    until(
        lambda: not [record for record in lab.control.snapshot().values() if isinstance(record, OrderAnswered)],
        "nothing said of what is not made any more",
    )


@pytest.mark.servers
def test_on_real_servers(tidelog_deployment: RunningDeployment) -> None:
    """Kafka and Redis: a worker that has passed the time, restarted in the middle, and one that replays the log."""
    cluster = tidelog_deployment.deployment.cluster
    group = tidelog_deployment.group("late")
    tidelog_deployment.wait_for_store("osaka", "late")
    volume = group.create_volume("v", "1MiB")
    times = []
    for number in range(1, 2001):
        volume.write(number * 7919 % 1020 * KIB, number.to_bytes(8) * 512)
        if number % 500 == 0:
            group.flush()
            times.append(wall_us())
            until(lambda: wall_us() > times[-1], "the next microsecond")
            if number == 1000:
                group.mark("between").wait(["osaka"], timeout=60)
    group.mark("behind").wait(["osaka"], timeout=60)
    for index, at in enumerate(times[:3]):
        order_copy(cluster, f"t{index}", ["late"], at)
        tidelog_deployment.stop_site("osaka")
        tidelog_deployment.site("osaka")
    tidelog_deployment.site("london")

    def receipts(name: str) -> list[CopyFormed]:
        view = cluster.control.snapshot().values()
        return [r for r in view if isinstance(r, CopyFormed) and r.name == name]

    for index in range(3):
        until(lambda: len(receipts(f"t{index}")) == 2, f"both receipts of t{index}")  # noqa: B023
        assert len({(r.sequence, r.seal, r.digest, r.blocks_changed) for r in receipts(f"t{index}")}) == 1
    data = [tidelog_deployment.site(site).group("late").copy("t1").volume("v").read(0, 1 << 20) for site in SITES[1:]]
    assert data[0] == data[1]
