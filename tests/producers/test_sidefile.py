"""The log afterwards is what was accepted, in order, each once: whatever goes away, comes back, dies or takes over."""

import random
import threading
from pathlib import Path

import pytest

from tests.producers.sidefile_lab import SIZE, Change, Scene, until, with_timeout
from tidelog.errors import LogUnavailable
from tidelog.producers.durability import Durability
from tidelog.recovery.rpo import WriterState, writer_standing
from tidelog.schemas.reports import writer_key

pytestmark = pytest.mark.usefixtures("quick_outages")


class Program:
    """A random life of a writer, with the model of what it has accepted."""

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene, self.chance = scene, random.Random(seed)
        self.accepted: list[Change] = []
        self.safe = 0  # so many of them were flushed, wherever to
        self.number = 0

    def change(self) -> None:
        volume, self.number = self.chance.choice("ab"), self.number + 1
        offset = self.chance.randrange(SIZE - 200_000)
        target = self.scene.group.volume(volume)
        if self.chance.random() < 0.2:
            target.discard(offset, self.number)
            self.accepted.append((volume, offset, self.number))
        else:
            data = b"%08d" % self.number * self.chance.choice((1, 1, 1, 2000))
            target.write(offset, data)
            self.accepted.append((volume, offset, data))

    def flush(self) -> None:
        self.scene.group.flush()
        self.safe = len(self.accepted)

    def goes_away(self) -> None:
        """Some of what is on its way lands unacknowledged; of the rest some may land later, in order or not at all."""
        self.scene.log.cut_off()
        for _ in range(self.chance.randrange(4)):
            self.change()
        if self.chance.random() < 0.8:
            self.flush()  # the session ends here, if anything was unconfirmed

    def lands_late(self) -> None:
        log = self.scene.log
        for send in log.pending[: self.chance.randrange(3)]:
            if self.chance.random() < 0.5:
                send.land()
            else:
                send.on_wire = True

    def comes_back(self) -> None:
        self.scene.log.restore()
        if self.chance.random() < 0.7:
            self.scene.group.flush(in_log=True)
            self.safe = len(self.accepted)

    def dies(self) -> None:
        """And somebody opens the group again, which waits for Kafka."""
        self.scene.die()
        self.scene.log.restore()
        self.scene.open()
        found = self.scene.folded().changes
        assert len(found) >= self.safe, "a flush that returned is void"
        assert found == self.accepted[: len(found)]
        del self.accepted[len(found) :]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            what = self.chance.random()
            if what < 0.5:
                self.change()
            elif what < 0.65:
                self.flush()
            elif what < 0.75:
                self.goes_away()
            elif what < 0.83:
                self.lands_late()
            elif what < 0.95:
                self.comes_back()
            else:
                self.dies()
        self.scene.log.restore()
        self.scene.group.flush(in_log=True)
        until(lambda: self.scene.group.sidefile is None)


@pytest.mark.parametrize("seed", range(60))
def test_the_log_is_what_was_accepted(tmp_path: Path, seed: int) -> None:
    """Outages at any moment, sends that land late or never, crashes while spooling and in a drain."""
    scene = Scene(tmp_path, key="00" * 16 if seed % 4 == 0 else "")
    program = Program(scene, seed)
    program.run(50)
    folded = scene.folded()
    assert folded.changes == program.accepted
    assert folded.times_us == sorted(set(folded.times_us))
    scene.group.close()
    assert list(tmp_path.iterdir()) == []


def test_a_flush_says_where_it_is(scene: Scene) -> None:
    """In the log, then in the sidefile, then in the log; who insists on the log waits for it."""
    volume = scene.group.volume("a")
    volume.write(0, b"one")
    assert scene.group.flush() is Durability.IN_LOG and scene.group.sidefile is None
    scene.away()
    assert scene.group.sidefile == scene.active and scene.active.stat().st_mode & 0o777 == 0o600
    volume.write(0, b"two")
    assert volume.flush() is Durability.IN_SIDEFILE
    timer = threading.Timer(0.2, scene.log.restore)
    timer.start()
    assert scene.group.flush(in_log=True) is Durability.IN_LOG
    assert scene.folded().changes[-1] == ("a", 0, b"two")
    until(lambda: not scene.active.exists())
    timer.join()


def test_a_write_keeps_its_time(scene: Scene) -> None:
    """A copy by time of a moment within the outage holds what was written up to it."""
    scene.away()
    before = scene.group._writer.time_us
    scene.group.volume("a").write(0, b"within")
    after = scene.group._writer.time_us
    scene.group.flush()
    assert before > scene.group._writer.unlogged_us > 0
    scene.back()
    scene.group.flush()
    assert before < scene.folded().times_us[-1] < after
    assert scene.group._writer.unlogged_us == 0


def test_the_report_says_what_stands_outside_the_log(tmp_path: Path) -> None:
    """The first part of the RPO is the age of the oldest spooled write, while it is drained, too; then nothing."""
    scene = Scene(tmp_path, writer={"heartbeat": 0.05})
    scene.away()
    first_us = scene.group._writer.unlogged_us
    control = scene.deployment.cluster.control
    until(lambda: control.snapshot()[writer_key("bank")].unlogged_us == first_us, "the report")
    for number in range(50):
        scene.group.volume("b").write(number, b"later")
    scene.group.flush()
    codec = scene.deployment.cluster.codec(scene.record)
    newest = codec.decode(scene.log._records[-1].value)
    standing = writer_standing(control.snapshot(), "bank", newest, first_us + 2_500_000, 10.0)
    assert standing.state is WriterState.ALIVE and standing.not_logged_seconds == 2.5
    scene.back()
    until(lambda: control.snapshot()[writer_key("bank")].unlogged_us == 0, "the report")
    assert control.snapshot()[writer_key("bank")].epoch == 2
    scene.group.close()


def test_what_a_sidefile_does_not_take(scene: Scene) -> None:
    """Markers, volumes, drops and sites' positions: refused at once, with nothing done, and possible afterwards."""
    scene.group.mark("before")
    scene.away()
    volume = scene.group.volume("a")
    for refused in (
        lambda: scene.group.mark("m"),
        lambda: scene.group.create_volume("c", SIZE),
        lambda: scene.group.delete_volume("b"),
        lambda: volume.resize(SIZE * 2),
        lambda: scene.group.drop_copy("before"),
        lambda: scene.group.keep_copy("before"),
        lambda: scene.group.copy_volume("a", "b"),
    ):
        with pytest.raises(LogUnavailable, match="Kafka is away"):
            refused()
    records = len(scene.log._records)
    scene.back()
    assert scene.kinds()[records:] == ["WriterOpened", "WriteBatch"]
    assert scene.group.mark("m").sequence and scene.folded().markers == ["before", "m"]


def test_a_flush_at_sites_waits_for_the_log(tmp_path: Path) -> None:
    """And says that it did not come."""
    scene = Scene(tmp_path, writer={"write_timeout": 0.3})
    scene.away()
    with pytest.raises(LogUnavailable, match="in the sidefile"):
        scene.group.flush(applied_at=1)
    with pytest.raises(LogUnavailable, match="in the sidefile"):
        scene.group.flush(in_log=True)
    with pytest.raises(LogUnavailable, match="in the sidefile"):
        scene.group.close()
    assert scene.active.exists()
    scene.log.restore()
    scene.open()
    assert scene.folded().changes == [("a", 0, b"the first write that nobody confirms")]
    assert not scene.active.exists()
    scene.group.close()


def test_a_volume_that_may_be_there_or_not(scene: Scene) -> None:
    """Writes wait until it is known; what was written before is safe; afterwards all is as the log says."""
    scene.group.volume("a").write(0, b"before")
    scene.log.hold()
    with pytest.raises(LogUnavailable):
        scene.group.create_volume("c", SIZE)
    assert scene.group.flush() is Durability.IN_SIDEFILE
    scene.group._writer._settings = with_timeout(scene, 0.2)
    with pytest.raises(LogUnavailable, match="VolumeCreated is unknown"):
        scene.group.volume("a").write(0, b"nowhere")
    scene.log.release()
    until(lambda: scene.group.sidefile is None)
    scene.group.volume("a").write(0, b"after")
    scene.group.flush()
    assert scene.folded().changes == [("a", 0, b"before"), ("a", 0, b"after")]


def test_threads_that_write_while_it_drains(scene: Scene) -> None:
    """Every thread's writes come in its order, none is lost, and none comes twice."""
    scene.away()
    stop = threading.Event()
    written: dict[int, int] = {}

    def work(number: int) -> None:
        volume, count = scene.group.volume("b"), 0
        while not stop.is_set():
            volume.write(number * 8, b"%d:%06d" % (number, count))
            count += 1
            if count % 7 == 0:
                scene.group.flush()
        written[number] = count

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        scene.log.restore()
        until(lambda: scene.group.sidefile is None)
        scene.log.cut_off()
        until(lambda: scene.group.sidefile is not None)
    scene.log.restore()
    until(lambda: scene.group.sidefile is None)
    stop.set()
    for thread in threads:
        thread.join(30)
    scene.group.flush(in_log=True)
    for number in range(3):
        own = [data for name, start, data in scene.folded().changes if name == "b" and start == number * 8]
        assert own == [b"%d:%06d" % (number, count) for count in range(written[number])]
