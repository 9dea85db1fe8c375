"""Locked copies at sites (G14): every way to drop one before its time, a clock set forward, a rebuild, the schedule."""

from datetime import timedelta
from typing import Any

import pytest

from tests.consumers.conftest import Lab, configuration, until, written
from tests.producers.author import following, put
from tidelog.clock import HybridClock, microseconds, wall_us
from tidelog.config import KeepConfig
from tidelog.consumers.access import open_group, read_group
from tidelog.consumers.replica import State
from tidelog.consumers.site_view import SiteGroup
from tidelog.errors import ClockSkew, Locked, LockInDoubt
from tidelog.producers import schedule as schedule_module
from tidelog.producers.group import Group
from tidelog.schemas.events import CopyDropped, CopyLocked
from tidelog.stores import copy_changes

DAY = timedelta(days=1)
DAY_US = 86_400_000_000
SITES = ("tokyo", "osaka")


def locked(lab: Lab) -> tuple[Group, str, int]:
    """A group with copies, the first of which is locked for thirty days: its name, and the end of the lock."""
    group = written(lab.group())
    name = group.session.state.copies()[0].name
    return group, name, microseconds(group.lock_copy(name, 30 * DAY))


def drop_by_hand(lab: Lab, group: Group, name: str, **fields: Any) -> None:
    """Puts a drop into the log past every check, well sealed and chained."""
    copy = group.session.state.copy(name)
    assert copy is not None
    event = following(CopyDropped, group.session.confirmed, copy_sequence=copy.sequence, copy_seal=copy.seal, **fields)
    group.abandon()
    put(lab.log, event, lab.codec)


@pytest.mark.parametrize("when", ["now", "just before"])
def test_a_drop_by_hand_before_the_end_changes_no_site(lab: Lab, when: str) -> None:
    """The event counts at every site, and the copy stays, as a later session and a rebuilt site have it, too."""
    group, name, end = locked(lab)
    for site in SITES:
        lab.replica(site)
    drop_by_hand(lab, group, name, **({} if when == "now" else {"timestamp_us": end - 1}))
    for site in SITES:
        assert lab.caught_up(site).copies()[0].locked_until_us == end
    state, head = read_group("bank", lab.deployment)
    found = state.copy(name)
    assert found is not None and found.locked_until_us == end and head.sequence == lab.reference().sequence


def test_a_lock_by_hand_shortens_nothing_at_any_site(lab: Lab) -> None:
    """Not to zero, not to a moment ago."""
    group, name, end = locked(lab)
    copy = group.session.state.copy(name)
    assert copy is not None
    head = group.session.confirmed
    group.abandon()
    for until_us in (0, end - 1):
        event = following(CopyLocked, head, copy_sequence=copy.sequence, copy_seal=copy.seal, until_us=until_us)
        head = put(lab.log, event, lab.codec)
    for site in SITES:
        lab.replica(site)
        assert lab.caught_up(site).copies()[0].locked_until_us == end


def test_a_clock_set_forward_opens_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer a month ahead, with the library: refused, since the sites' clocks are asked. Past the library: each
    site halts in front of the drop and keeps the copy, readable; and goes on when its clock comes to agree."""
    group, name, end = locked(lab)
    group.close()
    for site in SITES:
        lab.worker(site)
        lab.caught_up(site)
        until(lambda site=site: lab.status(site) is not None)
    forward = HybridClock(lambda: wall_us() + 40 * DAY_US)
    ahead = open_group("bank", deployment=lab.deployment, clock=forward)
    with pytest.raises(Locked, match="locked until"):
        ahead.drop_copy(name)
    assert not any(d.dropped for d in ahead.apply_retention(KeepConfig(last=9, named=True)))
    with pytest.raises(Locked):
        lab.caught_up().mark_dropping(lab.store().copy(name))
    drop_by_hand(lab, ahead, name)
    with pytest.raises(ClockSkew):  # nobody with a true clock goes on with a log that is a month ahead
        lab.group()
    for site in SITES:
        status = until(lambda site=site: _halted(lab, site))
        assert status.reason.startswith("LockInDoubt: ") and "clocks" in status.hint
        view = SiteGroup(lab.store(site), lab.deployment).copy(name)
        content = lab.reference(status.sequence).copies[view.sequence].volumes[2][2]
        assert view.volumes()[0].read(0, len(content)) == content and view.locked_until_us == end
    assert isinstance(_replica_error(lab), LockInDoubt)
    monkeypatch.setattr(copy_changes, "wall_us", lambda: end)
    replica = lab.replica("osaka")  # as after a restart
    lab.caught_up("osaka")
    assert replica.running and name not in [copy.name for copy in lab.store("osaka").copies()]


def _halted(lab: Lab, site: str) -> Any:
    status = lab.status(site)
    return status if status is not None and status.state == "HALTED" else None


def _replica_error(lab: Lab) -> Any:
    replica = lab.replica("tokyo")
    until(lambda: not replica.running)
    progress = replica.progress(0)
    assert progress.state is State.HALTED
    return progress.error


def test_a_rebuild_from_the_log_brings_the_locks_back(lab: Lab) -> None:
    """An erased store replays them; so erasing a site does not get around one."""
    group, name, end = locked(lab)
    group.keep_copy(name)
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    for _ in lab.store().erase():
        pass
    assert lab.store().copies() == []
    lab.replica()
    copy = lab.caught_up().copies()[0]
    assert (copy.name, copy.locked_until_us, copy.kept) == (name, end, True)


def test_a_session_that_a_site_vouches_for_knows_locks_and_keeps(lab: Lab) -> None:
    """Folded from the site's position, not from the log: with the same result."""
    group, name, _ = locked(lab)
    group.keep_copy(group.session.state.copies()[1].name)
    lab.replica("tokyo")
    lab.caught_up("tokyo")
    known = group.session.state.copies()
    group.close()
    lab.log.trim(lab.store("tokyo").position().head.offset)
    again = lab.group("tokyo")
    assert again.session.state.copies() == known
    with pytest.raises(Locked):
        again.drop_copy(name)


def test_the_configured_schedule_and_its_retention_are_the_same_at_every_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """`every` and `keep` of the configuration, by the application's session; a command's session makes no copy."""
    monkeypatch.setattr(schedule_module, "LOOK_EVERY", 0.002)
    lab = Lab(configuration(groups={"bank": {"every": 1, "keep": {"last": 2}}}))
    try:
        for site in SITES:
            lab.replica(site)
        now = [wall_us()]
        clock = HybridClock(lambda: now[0])
        quiet = open_group("bank", deployment=lab.deployment, clock=clock, schedule=False)
        quiet.create_volume("v", 1024)
        quiet.close()
        assert lab.reference().copies == {}
        group = open_group("bank", deployment=lab.deployment, clock=clock)
        for wanted in range(1, 6):
            group.volume("v").write(0, bytes([wanted]))
            until(lambda wanted=wanted: len([e for e in lab.reference().counted if e.kind == "Marker"]) == wanted)
            now[0] += 1_000_000
        until(lambda: len(lab.reference().copies) == 2)
        group.close()
        stores = [lab.caught_up(site) for site in SITES]
        first, second = ([(copy.sequence, copy.name) for copy in store.copies()] for store in stores)
        assert first == second and len(first) == 2 and all(name.startswith("auto-") for _, name in first)
    finally:
        lab.end()
