"""The region's log was sealed while writes stood in a sidefile (docs/runbooks/region-lost.md)."""

from pathlib import Path

import pytest

from tests.producers.author import opening, put
from tests.producers.sidefile_lab import Scene, until
from tidelog.clock import wall_us
from tidelog.errors import SidefileLost, UsageError
from tidelog.schemas.mirrors import HistorySealed, sealed_for


def test_a_sidefile_is_not_drained_behind_the_seal(tmp_path: Path) -> None:
    """It is kept and named, by the writer that lives on; and who opens the group there anew is refused, and drains
    nothing."""
    scene = Scene(tmp_path)
    common = scene.group.session.confirmed
    scene.away()
    scene.group.volume("a").write(0, b"into the sidefile")
    sealed = HistorySealed(
        group="bank",
        group_id=scene.record.group_id,
        log=scene.log.id,
        sequence=common.sequence,
        seal=common.seal,
        timestamp_us=common.timestamp_us,
        goes_on="b",
        servers="kafka-b:9092",
        epoch=common.epoch + 1,
        sealed_us=wall_us(),
        sealed_by="elsewhere:1",
    )
    scene.deployment.cluster.control.publish(sealed)
    seals = opening(common, timestamp_us=scene.group._writer.time_us, opened_by=sealed_for("b", "elsewhere:1"))
    put(scene.log, seals, scene.deployment.cluster.codec(scene.record))
    scene.log.restore()
    until(lambda: isinstance(scene.group._writer.error, SidefileLost), "the loss")
    assert len(scene.kept) == 1 and not scene.folded().changes
    scene.group.abandon()
    with pytest.raises(UsageError, match="sealed"):
        scene.open()
    assert len(scene.kept) == 1 and not scene.folded().changes
