"""Copies onto volumes from the writer to every site: equal whatever the lag, thin on the wire, and stopped on doubt."""

import uuid
from random import Random

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tidelog.consumers.replica import State
from tidelog.errors import CopyMissing
from tidelog.producers.group import Group
from tidelog.stores import volume_copy
from tidelog.testing.running import RunningDeployment

BLOCK = 4 * KIB
MIB = KIB * KIB


def copying(group: Group) -> None:
    """Copies of every kind, with writes around them that must not leak in."""
    for name in "abc":
        group.create_volume(name, 200 * KIB, 512)
    group.volume("a").write(100, b"first" * 5000)
    group.volume("b").write(50_000, b"old" * 9000)
    group.mark("start")
    group.copy_volume("a", "b")
    group.volume("a").write(0, b"second" * 100)
    group.volume("b").write(777, b"own")
    group.mark("middle")
    group.copy_volume("b", "c")
    group.copy_volume("a", "b", "start")
    group.volume("c").discard(0, 5000)
    group.copy_volume("c", "a")
    group.volume("a").write(3000, b"third")
    group.copy_volume("a", "b")
    group.mark("late")
    group.drop_copy("start")
    group.restore_volume("c", "middle")
    group.volume("a").resize(100 * KIB)
    group.copy_volume("a", "c")
    group.mark("end")


def test_sites_with_different_lags_are_equal(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One applies each event as it comes, one all of them at the end, in steps of a few blocks."""
    lab.replica("tokyo")
    group = lab.group("tokyo")
    copying(group)
    tokyo = lab.caught_up("tokyo")
    monkeypatch.setattr(volume_copy, "STEP_BLOCKS", 7)
    lab.replica("osaka")
    osaka = lab.caught_up("osaka")
    assert [osaka.digest(copy) for copy in osaka.copies()] == [tokyo.digest(copy) for copy in tokyo.copies()]
    until(lambda: [copy.name for copy in osaka.copies(dropping=True)] == ["middle", "late", "end"], "the drop")
    lab.compare("osaka")
    for name in "abc":
        info = osaka.volume(name)
        assert group.volume(name).read(0, info.size) == osaka.read(info, 0, info.size)
        for other in "abc":
            pair = info.id, osaka.volume(other).id
            assert osaka.changes(*pair)[0] == tokyo.changes(*pair)[0]


def test_what_a_copy_costs_in_the_log(lab: Lab) -> None:
    """A thin volume of 1 GiB, 10 % of its blocks changed at random: the log grows by less than 1 % of that."""
    lab.replica("tokyo")
    group = lab.group("tokyo")
    source = group.create_volume("source", "1GiB", BLOCK)
    group.create_volume("target", "1GiB", BLOCK)
    group.copy_volume("source", "target")
    blocks = 1024 * MIB // BLOCK
    changed = Random(1).sample(range(blocks), blocks // 10)
    for block in changed:
        source.write(block * BLOCK, block.to_bytes(4) * (BLOCK // 4))
    group.flush()
    before = sum(len(record.value) for record in lab.log._records)
    copied = group.copy_volume("source", "target")
    wire = sum(len(record.value) for record in lab.log._records) - before
    assert copied.blocks == len(changed)
    assert wire < len(changed) * BLOCK / 100 / 10  # and a tenth of that
    store = lab.store("tokyo")
    until(lambda: store.position().head.sequence >= copied.sequence, "the copy applied")
    target = store.volume("target")
    for block in changed[:200]:
        assert store.read(target, block * BLOCK, BLOCK) == block.to_bytes(4) * (BLOCK // 4)
    assert not store.changes(source.id, target.id)[0].count


def test_c10_a_site_that_dropped_the_source_copy_halts_and_a_replay_heals_it(lab: Lab) -> None:
    """It says which copy, and what to do; the other sites go on."""
    lab.replica("tokyo")
    group = lab.group("tokyo")
    for name in "ab":
        group.create_volume(name, 20 * KIB, 512).write(0, name.encode() * 999)
    group.mark("m")
    group.volume("a").write(0, b"later")
    group.flush()
    first = lab.replica("osaka")
    osaka = lab.caught_up("osaka")
    assert osaka.mark_dropping(osaka.copy("m"))
    copied = group.copy_volume("a", "b", "m")
    until(lambda: not first.running, "the halt")
    progress = first.progress(0)
    assert progress.state is State.HALTED and isinstance(progress.error, CopyMissing)
    assert progress.error.sequence == copied.sequence
    assert "tidelog site rebuild osaka --group bank" in progress.error.hint
    lab.caught_up("tokyo")
    for _ in osaka.erase():
        pass
    lab.replica("osaka")
    lab.caught_up("osaka")


@pytest.mark.servers
def test_on_kafka_and_redis(tidelog_deployment: RunningDeployment) -> None:
    """The same over real servers: receipts of two sites, of which one starts late, are equal to the last block."""
    tidelog_deployment.site("tokyo")
    group = tidelog_deployment.group(f"group-{uuid.uuid4().hex[:12]}")
    copying(group)
    osaka = tidelog_deployment.site("osaka")
    marked = group.mark("whole")
    receipts = marked.wait(["tokyo", "osaka"], timeout=60)
    assert receipts["tokyo"].digest == receipts["osaka"].digest
    for name in "abc":
        volume = group.volume(name)
        content = volume.read(0, volume.size)
        assert osaka.group(group.name).volume(name).read(0, volume.size) == content
    assert group.volume("c").read(0, 100 * KIB) == group.volume("a").read(0, 100 * KIB)
