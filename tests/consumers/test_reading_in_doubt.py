"""A writer's reads at a site that has applied another history than the log's: refused, and never of wrong bytes."""

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tidelog.config import Config
from tidelog.errors import Fenced, LogDiverged, SiteBehind
from tidelog.producers import volume as volume_module
from tidelog.producers.group import Group
from tidelog.producers.volume import Volume
from tidelog.stores.memory import MemoryKeyspace


class Parted:
    """A site that has applied ``lost`` events which the log then lost, by ``sessions`` further sessions if any, and has
    stopped; and what its store was where log and site part."""

    def __init__(self, lab: Lab, *, sessions: int = 0, lost: int = 30) -> None:
        self.lab = lab
        group = lab.group("osaka")
        volume = group.create_volume("v", 20 * KIB, block_size=512)
        group.create_volume("w", 20 * KIB, block_size=512)
        volume.write(0, b"kept")
        group.flush()
        replica = lab.replica("osaka")
        lab.caught_up("osaka")
        end, self.before = lab.log.bounds().end, lab.keyspace("osaka").snapshot()
        for _ in range(sessions):
            group.close()
            group = lab.group("osaka")
        for _ in range(lost):
            group.volume("v").write(0, b"lost" * 1000)
            group.flush()
        lab.caught_up("osaka")
        replica.stop()
        group.abandon()
        lab.log.truncate(end, noticed=False)
        self.sequence = lab.store("osaka").position().head.sequence

    def open(self) -> tuple[Group, Volume]:
        """A new session, at the end that the log has now, and a write of it that the site may seem to have."""
        group = self.lab.group("osaka")
        assert group.session.confirmed.sequence <= self.sequence
        volume = group.volume("v")
        volume.write(10, b"own")
        group.flush()
        return group, volume

    def mend(self) -> None:
        """The site goes back to where its history is the log's, and on from there."""
        keyspace = self.lab.keyspace("osaka")
        assert isinstance(keyspace, MemoryKeyspace)
        keyspace.restore(self.before)
        self.lab.replica("osaka")
        self.lab.caught_up("osaka")


@pytest.fixture
def parted(lab: Lab) -> Parted:
    """See `Parted`."""
    return Parted(lab)


def test_a_site_ahead_on_a_lost_history(parted: Parted) -> None:
    """Each read says so at once, however far the log is by now, and what to look at; mended, the site is read."""
    group, volume = parted.open()
    for _ in range(2 * parted.sequence):
        with pytest.raises(LogDiverged) as told:
            volume.read(0, 20)
        volume.write(10, b"own")
        group.flush()
    assert "osaka" in str(told.value) and "tidelog site status osaka" in told.value.hint
    parted.mend()
    assert volume.read(0, 20) == b"kept" + bytes(6) + b"own" + bytes(7)


def test_a_copy_onto_a_volume_is_not_made_from_it(parted: Parted) -> None:
    """Which blocks differ it does not know, and will not: that is told at once."""
    group, _ = parted.open()
    with pytest.raises(LogDiverged):
        group.copy_volume("v", "w")
    parted.mend()
    group.copy_volume("v", "w")
    assert group.volume("w").read(0, 20) == b"kept" + bytes(6) + b"own" + bytes(7)


def test_a_lost_history_of_more_sessions(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's epoch is above this session's, as if another one had fenced it: that is waited for, and then said."""
    monkeypatch.setattr(volume_module, "READ_TIMEOUT", 0.3)
    _, volume = Parted(lab, sessions=3).open()
    with pytest.raises(LogDiverged):
        volume.read(0, 20)


def test_a_lost_history_behind_the_session(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a site that the log has overtaken nothing is known but that it is behind."""
    monkeypatch.setattr(volume_module, "READ_TIMEOUT", 0.3)
    parted = Parted(lab, lost=3)
    group, volume = parted.open()
    for _ in range(parted.sequence):
        volume.write(10, b"own")
        group.flush()
    group.close()
    volume = lab.group("osaka").volume("v")
    with pytest.raises(SiteBehind):
        volume.read(0, 20)
    parted.mend()
    assert volume.read(0, 20) == b"kept" + bytes(6) + b"own" + bytes(7)


def test_a_volume_made_where_the_lost_history_had_one(lab: Lab) -> None:
    """Under the same id, with blocks of another size: what a read has seen of that is not taken for this one's."""
    group = lab.group("osaka")
    replica = lab.replica("osaka")
    lab.caught_up("osaka")
    end, before = lab.log.bounds().end, lab.keyspace("osaka").snapshot()
    group.close()
    lost = lab.group("osaka").create_volume("v", 20 * KIB, block_size=512)
    lost.write(0, b"lost" * 1000)
    lost.flush()
    lab.caught_up("osaka")
    replica.stop()
    lab.log.truncate(end, noticed=False)
    group = lab.group("osaka")
    volume = group.create_volume("v", 20 * KIB, block_size=4096)
    assert volume.id == lost.id
    volume.write(5000, b"own" * 1000)
    group.flush()
    with pytest.raises(LogDiverged):
        volume.read(0, 20 * KIB)
    lab.keyspace("osaka").restore(before)
    lab.replica("osaka")
    lab.caught_up("osaka")
    for _ in range(2):
        assert volume.read(0, 20 * KIB) == bytes(5000) + b"own" * 1000 + bytes(20 * KIB - 8000)


def test_who_was_fenced_is_told_that() -> None:
    """The site has gone on with another session: the one before reads nothing until it hears of that, and then so."""
    lab = Lab(
        Config(
            sites={"osaka": {"redis": {"url": "redis://memory-osaka"}}},
            writer={"heartbeat": 0.3, "write_timeout": 20},
            worker={"status_interval": 0.02, "poll_timeout": 0.02},
        )
    )
    try:
        fenced = lab.group("osaka")
        volume = fenced.create_volume("v", KIB)
        fenced.flush()
        lab.replica("osaka")
        lab.caught_up("osaka")
        assert volume.read(0, 3) == bytes(3)
        group = lab.group("osaka")
        group.volume("v").write(0, b"new")
        group.flush()
        until(lambda: lab.store("osaka").position().head.writer == group.session.writer, "the new session at the site")
        with pytest.raises(Fenced):
            volume.read(0, 3)
        assert group.volume("v").read(0, 3) == b"new"
    finally:
        lab.end()
