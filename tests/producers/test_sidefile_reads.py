"""Reads at a site while writes go into a sidefile, and while that is drained."""

import pytest

from tests.producers.sidefile_lab import Scene, until
from tidelog.errors import LogDiverged
from tidelog.producers.outage import Outage
from tidelog.producers.resumable_session import ResumableSession

pytestmark = pytest.mark.usefixtures("quick_outages")


def test_a_site_at_events_of_every_session(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the one that was cut off, of the one that drains, and of that which goes on: twice over."""
    worker = scene.worker()
    volume, held = scene.group.volume("b"), [True]
    finish = Outage.finish

    def finished(outage: Outage) -> ResumableSession | None:
        return None if held[0] else finish(outage)

    monkeypatch.setattr(Outage, "finish", finished)
    try:
        for turn in (b"one", b"two"):
            held[0] = True
            volume.write(0, b"in the log " + turn)
            scene.group.flush()
            cut_off = scene.group.session.writer
            until(lambda: scene.applied() == scene.group.session.confirmed.sequence, "the site")
            assert volume.read(0, 14) == b"in the log " + turn
            scene.away()
            volume.write(3, b"outside" + turn)
            scene.group.flush()
            assert volume.read(0, 14) == b"in outside" + turn + turn[-1:]
            scene.log.restore()
            until(lambda: scene.folded().changes[-1:] == [("b", 3, b"outside" + turn)], "the drain")  # noqa: B023
            until(lambda: scene.applied() == scene.folded().sequence, "what was drained at the site")
            assert scene.group.session.writer != cut_off and scene.group.sidefile is not None
            assert volume.read(0, 14) == b"in outside" + turn + turn[-1:]
            volume.write(13, b"!")
            assert volume.read(0, 14) == b"in outside" + turn + b"!"
            held[0] = False
            until(lambda: scene.group.sidefile is None, "the end of the drain")
            assert volume.read(0, 14) == b"in outside" + turn + b"!"
    finally:
        held[0] = False
        worker.stop()


@pytest.mark.parametrize("away", [False, True])
def test_a_site_of_another_history(scene: Scene, away: bool) -> None:
    """It is ahead of the log, by what that has lost: neither with the log nor without it is it believed."""
    end = scene.log.bounds().end
    worker = scene.worker()
    for _ in range(20):
        scene.group.volume("b").write(0, b"lost")
        scene.group.flush()
    until(lambda: scene.applied() == scene.group.session.confirmed.sequence, "the site")
    worker.stop()
    scene.group.abandon()
    scene.log.truncate(end, noticed=False)
    volume = scene.open().volume("b")
    volume.write(10, b"own")
    scene.group.flush()
    if away:
        scene.away()
    with pytest.raises(LogDiverged):
        volume.read(0, 20)
