"""A store that began from a base, or was rolled back over lost drops, does not alone say which copies a group has."""

from datetime import timedelta

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tests.recovery.test_rollback import rolled_back
from tidelog.consumers import vouching
from tidelog.consumers.access import read_group
from tidelog.errors import AlreadyExists, Locked, StoreUnavailable
from tidelog.producers.group_state import KnownCopy, Vouched
from tidelog.recovery import trim
from tidelog.recovery.promote import Promotion
from tidelog.recovery.promote_plan import plan_promotion
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_survey import survey
from tidelog.schemas.chain import Head
from tidelog.stores.store import CopyOrigin

SITES = ("tokyo", "osaka", "london")


@pytest.fixture
def lab():
    """Three sites with copies ``one``, locked, and ``two``; no writer. Tokyo is the primary."""
    lab = Lab()
    for site in SITES:
        lab.worker(site)
    group = lab.group("tokyo")
    volume = group.create_volume("a", 16 * KIB, block_size=512)
    volume.write(0, b"A" * 8192)
    group.mark("one")
    group.lock_copy("one", timedelta(days=10))
    volume.write(0, b"B" * 8192)
    group.mark("two")
    group.close()
    lab.group("tokyo").close()  # a session more, whose opening a trim needs
    for site in SITES:
        lab.caught_up(site)
        until(lambda site=site: all(lab.receipt(copy, site) for copy in lab.reference().copies), "receipts")
    yield lab
    lab.end()


def rebuilt(lab: Lab, site: str, source: str) -> None:
    """From copy ``two`` of another site."""
    plan = plan_rebuild(survey(lab.deployment, site, "bank", Wanted(source)), leave_locked=True)
    for _ in Rebuild(lab.deployment, plan):
        pass
    until(lambda: lab.status(site).state == "STREAMING", "the worker")
    assert [copy.name for copy in lab.store(site).copies()] == ["two"] and not lab.store(site).whole()


def known(lab: Lab) -> list[tuple[str, bool]]:
    state, _ = read_group("bank", lab.deployment)
    return [(copy.name, copy.locked_until_us > 0) for copy in state.copies()]


def away(monkeypatch: pytest.MonkeyPatch, *sites: str) -> None:
    """Their Redis do not answer whoever vouches, or trims."""
    for module in (vouching, trim):

        def opened(deployment, site, group, real=module.open_store):
            if site in sites:
                raise StoreUnavailable("Redis is away")
            return real(deployment, site, group)

        monkeypatch.setattr(module, "open_store", opened)


BOTH = [("one", True), ("two", False)]


def test_a_primary_that_was_rebuilt_from_a_base_knows_the_copies_of_the_others(lab: Lab) -> None:
    """The log behind a locked copy stays, its name stays taken, and its lock holds."""
    rebuilt(lab, "tokyo", "osaka")
    assert known(lab) == BOTH
    planned = trim.plan(lab.deployment, "bank", margin=0.0)
    assert planned.records == 0 and planned.needs[0].who == "copy one"
    group = lab.group("tokyo")
    with pytest.raises(AlreadyExists):
        group.mark("one")
    with pytest.raises(Locked):
        group.drop_copy("one")


def test_a_promoted_site_that_was_rebuilt_from_a_base_knows_the_copies_of_the_others(lab: Lab) -> None:
    rebuilt(lab, "osaka", "tokyo")
    Promotion(lab.deployment, plan_promotion(lab.deployment, "osaka", "bank", forced=False, timeout=10)).run()
    assert known(lab) == BOTH
    group = lab.group()
    group.keep_copy("one")
    group.flush()
    lab.caught_up("tokyo")
    assert lab.store("tokyo").copy("one").kept and not group.session.state.copies()[1].kept


def test_without_a_whole_store_the_log_tells(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its beginning."""
    rebuilt(lab, "tokyo", "osaka")
    away(monkeypatch, "osaka", "london")
    assert known(lab) == BOTH


def test_in_a_trimmed_log_all_stores_tell_together(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """No store is whole, one is behind, and meanwhile a copy was dropped. What does not answer is not trimmed over."""
    rebuilt(lab, "tokyo", "osaka")
    rebuilt(lab, "osaka", "london")
    two = lab.store("tokyo").copy("two")
    lab.log.trim(next(one.offset for one in lab.log._records if one.offset > two.offset - 2))
    lab.store("london")._keyspace.transact([(b"SET", lab.store("london")._keys.begun, b"1")])
    assert known(lab) == BOTH
    group = lab.group("tokyo")
    group.mark("three")
    group.drop_copy("two")
    group.mark("four")
    group.close()
    last = lab.group("tokyo")
    last.close()
    for site in SITES:
        until(lambda site=site: lab.store(site).position().head == last.session.confirmed, f"site {site}")
    assert known(lab) == [("one", True), ("three", False), ("four", False)]
    away(monkeypatch, "london")
    planned = trim.plan(lab.deployment, "bank", margin=0.0)
    assert planned.records == 0
    assert any(need.who == "site london" and "does not answer" in need.why for need in planned.needs)


def test_together_they_stand_at_the_eldest_position() -> None:
    """Pure: copies behind that position are left to the log, and what stands at it is as it was there."""
    seal = [bytes([number]) * 16 for number in range(10)]

    def head(sequence: int) -> Head:
        return Head(sequence, seal[sequence], 1, bytes(16), 0, sequence)

    def copy(sequence: int, locked: int = 0) -> KnownCopy:
        return KnownCopy(sequence, seal[sequence], f"c{sequence}", 0, (), locked)

    ahead = Vouched(head(8), (), (copy(1), copy(3, 9), copy(7)))
    behind = Vouched(head(5), (), (copy(3), copy(4)))
    assert vouching._together([ahead, behind]) == Vouched(head(5), (), (copy(1), copy(3), copy(4)))


def test_a_store_that_was_rolled_back_over_a_lost_drop(lab: Lab) -> None:
    """The log has the copy that the store has dropped."""
    group = lab.group("tokyo")
    group.mark("three")
    group.flush()
    lab.caught_up("tokyo")
    cut = lab.log.bounds().end
    group.drop_copy("two")
    group.mark("four")
    group.close()
    lab.caught_up("tokyo")
    lab.log.truncate(cut)
    until(lambda: lab.status("tokyo").state == "HALTED", "the halt")
    rolled_back(lab, "tokyo")
    until(lambda: lab.status("tokyo").state == "STREAMING", "the worker")
    there = [copy.name for copy in lab.store("tokyo").copies() if copy.origin is CopyOrigin.MARKER]
    assert there == ["one", "three"] and known(lab) == [*BOTH, ("three", False)]


def test_a_store_that_followed_from_the_beginning_is_asked_alone(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was rebuilt from the log."""
    plan = plan_rebuild(survey(lab.deployment, "tokyo", "bank", Wanted("osaka")), leave_locked=True)
    for _ in Rebuild(lab.deployment, plan):
        pass
    plan = plan_rebuild(survey(lab.deployment, "tokyo", "bank", Wanted("log")), from_scratch=True, leave_locked=True)
    for _ in Rebuild(lab.deployment, plan):
        pass
    until(lambda: lab.status("tokyo").state == "STREAMING", "the worker")
    asked = []
    real = vouching.open_store
    monkeypatch.setattr(vouching, "open_store", lambda *of: asked.append(of[1]) or real(*of))
    assert known(lab) == BOTH and asked == ["tokyo"]
