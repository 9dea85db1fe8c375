"""A hint can be typed as it stands: wherever the site is known, no placeholder reaches a user."""

from collections.abc import Callable

import pytest

from tests.consumers.conftest import Lab, until, written
from tidelog.consumers.access import open_site
from tidelog.consumers.deployment import open_store
from tidelog.consumers.site_view import SiteGroup
from tidelog.errors import NeedsRebuild, SiteBehind, StoreDamaged, TidelogError
from tidelog.producers import volume as volume_module
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_survey import survey

REBUILD = "tidelog site rebuild osaka --group bank"


def filled(told: pytest.ExceptionInfo[TidelogError]) -> str:
    """The hint, which is also the error's note, without a placeholder."""
    error = told.value
    assert "SITE" not in error.hint and "GROUP" not in error.hint
    assert error.__notes__ == [f"hint: {error.hint}"]
    return error.hint


def test_only_words_are_placeholders_and_notes_of_others_stay() -> None:
    """A setting's name that contains one of the words is none."""
    error = TidelogError("x", hint="set TIDELOG_SITES__A or SITES; tidelog site rebuild SITE --group GROUP")
    error.add_note("seen at noon")
    error.at_site("osaka", "bank")
    assert error.hint == f"set TIDELOG_SITES__A or SITES; {REBUILD}"
    assert error.__notes__ == [f"hint: {error.hint}", "seen at noon"]
    plain = TidelogError("x")
    plain.at_site("osaka", "bank")
    assert plain.hint == "" and not hasattr(plain, "__notes__") and plain.group == "bank"


READERS: dict[str, Callable[[SiteGroup], object]] = {
    "position": lambda group: group.position,
    "copies": lambda group: group.copies(),
    "copy": lambda group: group.copy("any"),
    "volumes": lambda group: group.volumes(),
    "volume": lambda group: group.volume("any"),
}


@pytest.mark.parametrize("damage", ["garbage", "gone"])
@pytest.mark.parametrize("reader", READERS)
def test_the_reading_side(lab: Lab, damage: str, reader: str) -> None:
    """Of a damaged store, or one without a position."""
    written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    with open_site("osaka", deployment=lab.deployment) as site:
        group = site.group("bank")
        volume, copies = group.volumes()[0], group.copies()
        data = lab.keyspace().data
        if damage == "gone":
            del data[b"tidelog:{bank}:position"]
        else:
            data[b"tidelog:{bank}:position"] = b"garbage"
        with pytest.raises((NeedsRebuild, StoreDamaged)) as told:
            READERS[reader](group)
        assert filled(told).endswith(REBUILD)
        with pytest.raises((NeedsRebuild, StoreDamaged)) as told:
            volume.read(0, 10)
        assert filled(told).endswith(REBUILD)
        if damage == "gone":  # reading a copy looks whether there is a position, not at what it says
            for read in (
                lambda: copies[-1].volumes()[0].read(0, 10),
                lambda: copies[-1].diff(copies[0], exact=True),
                lambda: list(group._store.stream(copies[-1].info.volumes[0], copies[-1].info)),
            ):
                with pytest.raises(NeedsRebuild) as told:
                    read()
                assert filled(told).endswith(REBUILD)


def test_opening_a_damaged_store(lab: Lab) -> None:
    """Also what is met before there is a store to ask."""
    lab.store(create=True)
    lab.keyspace().data[b"tidelog:{bank}:identity"] = b"no hash"
    with pytest.raises(TidelogError) as told:
        open_store(lab.deployment, "osaka", "bank")
    assert "SITE" not in told.value.hint and "GROUP" not in told.value.hint


def test_a_writer_whose_site_is_behind(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows where it reads."""
    monkeypatch.setattr(volume_module, "READ_TIMEOUT", 0.05)
    group = lab.group("osaka")
    volume = group.create_volume("v", 1024)
    volume.write(0, b"x")
    group.flush()
    monkeypatch.setattr(group.session, "patch", lambda *_: False)
    with pytest.raises(SiteBehind, match="site osaka has applied") as told:
        volume.read(0, 1)
    assert filled(told).endswith("tidelog site run osaka")


def test_a_trimmed_log_leads_to_another_base(lab: Lab) -> None:
    """The site's halt names the command as it is typed; where there is no base, that says what would be one."""
    written(lab.group())
    replica = lab.replica()
    position = lab.caught_up().position()
    replica.stop()
    written(lab.group())
    lab.log.trim(position.head.offset + 2)
    replica = lab.replica()
    until(lambda: not replica.running, "the halt")
    error = replica.progress(0).error
    assert isinstance(error, NeedsRebuild)
    with pytest.raises(NeedsRebuild) as told:
        plan_rebuild(survey(lab.deployment, "osaka", "bank"))
    assert error.hint.endswith(REBUILD)
    assert filled(told).endswith(f"{REBUILD} --from PLACE") and "pitc create NAME --group bank" in filled(told)


def test_another_log_names_the_roll_back_in_full(lab: Lab) -> None:
    """A log that was truncated below the head."""
    group = written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    group.abandon()
    replica.stop()
    lab.log.truncate(2)
    replica = lab.replica()
    until(lambda: not replica.running, "the halt")
    error = replica.progress(0).error
    assert error is not None and error.hint.endswith("tidelog site rollback osaka --group bank")
