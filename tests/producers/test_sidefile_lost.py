"""Another writer was accepted while writes stood in a sidefile."""

import pytest

from tests.producers.author import following, opening, put
from tests.producers.sidefile_lab import Scene, until
from tests.producers.test_sidefile_crashes import Killed, killed_at
from tidelog.errors import SidefileLost
from tidelog.producers.durability import Durability
from tidelog.producers.opening import read_state
from tidelog.producers.resumable_session import ResumableSession
from tidelog.producers.sidefile_folder import summary
from tidelog.schemas.chain import Head
from tidelog.schemas.events import WriteBatch

pytestmark = pytest.mark.usefixtures("quick_outages")


def take_over(scene: Scene) -> Head:
    """Another writer, past the outage that ours has; it writes, too."""
    mine = scene.group._writer.confirmed
    codec = scene.deployment.cluster.codec(scene.record)
    opened = put(scene.log, opening(mine, timestamp_us=scene.group._writer.time_us), codec)
    volume = scene.group.volume("a").id
    batch = {"volumes": [volume], "offsets": [0], "lengths": [6], "timestamps_us": [opened.timestamp_us + 1]}
    return put(scene.log, following(WriteBatch, opened, data=b"theirs", **batch), codec)


def test_another_writer_meanwhile(scene: Scene) -> None:
    """The sidefile is kept and named, nothing of it gets into the log, and nothing goes on by itself."""
    scene.away()
    volume = scene.group.volume("a")
    take_over(scene)
    scene.log.restore()
    until(lambda: isinstance(scene.group._writer.error, SidefileLost), "the loss")
    for call in (lambda: volume.write(0, b"more"), scene.group.flush, lambda: scene.group.mark("m"), scene.group.close):
        with pytest.raises(SidefileLost, match=r"lost-bank-1-.*\.sidefile") as raised:
            call()
        assert str(scene.kept[0]) in str(raised.value) and not scene.active.exists()
    assert scene.folded().changes == [("a", 0, b"theirs")]
    again = scene.open()
    assert again.volume("a").id == volume.id and len(scene.kept) == 1
    again.close()


def test_another_writer_before_the_group_is_opened_again(scene: Scene) -> None:
    """Said once, to whoever opens; nobody is fenced by that."""
    scene.away()
    scene.die()
    head = take_over(scene)
    scene.log.restore()
    with pytest.raises(SidefileLost, match="lost-bank-1-"):
        scene.open()
    assert (scene.folded().sequence, scene.folded().writer) == (head.sequence, head.writer)
    scene.open()
    assert scene.folded().changes == [("a", 0, b"theirs")] and len(scene.kept) == 1


def test_all_was_in_the_log_already(scene: Scene) -> None:
    """What had been sent landed after all: nothing is sent twice, and another writer after it makes nothing lost."""
    scene.log.cut_off()
    scene.group.volume("a").write(0, b"landed")
    until(lambda: scene.log.pending)
    scene.log.pending[0].land()
    assert scene.group.flush() is Durability.IN_SIDEFILE
    scene.die()
    assert b"landed" in scene.active.read_bytes()
    head = scene.group._writer.confirmed
    event = scene.deployment.cluster.codec(scene.record).decode(scene.log._records[-1].value)
    landed = head.after(event, head.offset + 1)
    put(scene.log, opening(landed), scene.deployment.cluster.codec(scene.record))
    scene.log.restore()
    scene.open()
    assert scene.folded().changes == [("a", 0, b"landed")] and not scene.active.exists() and not scene.kept


def test_another_writer_in_the_middle_of_a_drain(scene: Scene) -> None:
    """What the log has got of it stays, the rest is kept, and the file says which is which."""
    scene.away()
    for number in range(6):
        scene.group.volume("b").write(number, b"%d" % number)
        scene.group.flush()
    scene.die()
    scene.log.restore()
    with killed_at(8, ((ResumableSession, "drain"),)), pytest.raises(Killed):
        scene.open()
    codec = scene.deployment.cluster.codec(scene.record)
    _, head = read_state(scene.log, codec, scene.record.group_id, 5)
    put(scene.log, opening(head), codec)
    with pytest.raises(SidefileLost):
        scene.open()
    found = summary(scene.kept[0], codec)
    drained = scene.folded().changes
    assert drained == [("a", 0, b"the first write that nobody confirms"), *(("b", n, b"%d" % n) for n in range(3))]
    assert found is not None and (found.writes, found.in_log) == (7, len(drained))
    assert "elsewhere:1 opened the group" in found.kept_because
