"""A writer with a sidefile that is asked to end for a promotion: once all that it has accepted is in the log."""

from pathlib import Path

import pytest

from tests.producers.sidefile_lab import Scene, until
from tidelog.clock import wall_us
from tidelog.errors import Fenced
from tidelog.producers.outage import Outage
from tidelog.schemas.promotions import PromotionAsked


def test_asked_while_it_drains_it_ends_once_all_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is heard again and again for as long as it holds; nothing of the sidefile is lost by it."""
    finish, may_finish = Outage.finish, list[bool]()
    monkeypatch.setattr(Outage, "finish", lambda outage: finish(outage) if may_finish else None)
    scene = Scene(tmp_path, writer={"heartbeat": 3600})
    group = scene.group
    scene.away()
    group.volume("b").write(0, b"into the sidefile")
    group.flush()
    scene.log.restore()
    until(lambda: group._writer._away is not None and group._writer._away.ready, "all but a little drained")
    asked = PromotionAsked(
        group="bank",
        site="osaka",
        epoch=group.session.epoch,
        writer=group.session.writer,
        forced=False,
        asked_us=wall_us(),
        expires_us=wall_us() + 60_000_000,
        asked_by="elsewhere:1",
    )
    control = scene.deployment.cluster.control
    control.publish(asked)
    looked = wall_us()
    until(lambda: wall_us() - looked > 1_500_000, "some looks at the request")
    assert not group.session.ended
    may_finish.append(True)
    until(lambda: group.session.ended, "the end")
    assert group.sidefile is None and ("b", 0, b"into the sidefile") in scene.folded().changes
    with pytest.raises(Fenced, match="promoted to site osaka"):
        group.volume("b").write(0, b"too late")
    group.abandon()
