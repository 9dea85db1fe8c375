"""Copies of a lost history answer to no name of the present one, and are called what they are."""

from collections.abc import Iterator

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tests.recovery.test_rollback import rolled_back
from tidelog.clock import wall_us
from tidelog.errors import UsageError
from tidelog.producers import rules
from tidelog.producers.ordering import order_copy
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_survey import survey
from tidelog.stores.image import Store
from tidelog.stores.store import CopyOrigin


@pytest.fixture
def lab() -> Iterator[Lab]:
    """See `Lab`."""
    lab = Lab()
    yield lab
    lab.end()


def went_back(lab: Lab) -> Store:
    """Osaka with a marker's copy ``lost-gone``, as a log of an elder version may have it, and two lost ones:
    ``lost-gone`` and ``lost-tail``."""
    group = lab.group("osaka")
    group.create_volume("a", 16 * KIB, block_size=512).write(0, b"present")
    group.mark("lost-gone")
    cut = lab.log.bounds().end
    group.volume("a").write(0, b"lost")
    group.mark("gone")
    group.close()
    lab.worker("osaka")
    lab.caught_up("osaka")
    lab.log.truncate(cut)
    until(lambda: lab.status().state == "HALTED", "the halt")
    rolled_back(lab)
    lab.group("osaka").close()
    return lab.caught_up("osaka")


@pytest.mark.parametrize("name", ["lost-tail", "lost-", "lost-and-found"])
def test_nobody_gives_such_a_name(lab: Lab, name: str) -> None:
    """By a marker or by time: refused with nothing in the log, and the session goes on."""
    group = lab.group()
    group.flush()
    end, told = lab.log.bounds().end, set(lab.control.snapshot())
    with pytest.raises(UsageError, match="a name that a roll back gives"):
        group.mark(name)
    with pytest.raises(UsageError, match="a name that a roll back gives"):
        order_copy(lab.cluster, name, ["bank"], wall_us())
    assert lab.log.bounds().end == end and set(lab.control.snapshot()) == told
    assert group.mark("lost").name == "lost"


def test_the_present_copy_of_a_name_is_meant(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the lost one was cut later; that one is named by its sequence."""
    monkeypatch.setattr(rules, "LOST", "never given")
    store = went_back(lab)
    volume = store.volume("a")
    lost = next(one for one in store.copies(lost=True) if one.origin is CopyOrigin.LOST and one.name == "lost-gone")
    present = store.copy("lost-gone")
    assert present.origin is CopyOrigin.MARKER and store.read(volume, 0, 7, present) == b"present"
    assert store.read(volume, 0, 7, store.copy(f"#{lost.sequence}")) == b"lostent"
    store.mark_dropping(present)
    assert store.copy("lost-gone") == lost


def test_a_lost_copy_is_no_base_and_is_called_lost(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a copy by time, as which it was refused."""
    monkeypatch.setattr(rules, "LOST", "never given")
    went_back(lab)
    found = survey(lab.deployment, "tokyo", "bank", Wanted("osaka", "lost-tail"))
    assert [one.why for one in found.bases.refused] == ["it is of a lost history, which is not in the log"]
    with pytest.raises(UsageError, match="lost-tail at site osaka: it is of a lost history"):
        plan_rebuild(found)
