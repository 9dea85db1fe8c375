"""The copy that a roll back is to go to is dropped between its plan, which somebody thinks about, and its beginning."""

import pytest
from late_lab import BLOCK, LateAuthor, LateSite
from rollback_lab import common_copy, contents, forked, heads, roll_back
from store_lab import CLUSTER, IDENTITY

from tidelog.errors import NotFound, StoreUnavailable
from tidelog.stores.rollback import Rollback
from tidelog.stores.timed import DueCopy


def diverged() -> tuple[LateSite, LateAuthor]:
    """A site with a marker's copy and a later one by time, and a log that shares both with it."""
    author = LateAuthor()
    author.create("v1", 5 * BLOCK)
    for number in range(4):
        author.grow("write", number, number + 1)
        author.grow("mark" if number == 1 else "write", number, 0)
    other = forked(author, 1)
    author.grow("write", 2, 2)
    site = LateSite(author)
    site.order([DueCopy("timed", author.log[-4][0].timestamp_us)])
    site.apply()
    site.crash()
    return site, other


@pytest.mark.parametrize("steps", [0, 1, 99])
def test_a_copy_that_was_dropped_is_not_gone_back_to(steps: int) -> None:
    """Marked, dropped in part or wholly: nothing has changed, and run again it goes to the copy before."""
    site, other = diverged()
    copy, stands = common_copy(site.store, other), site.store.position().head
    assert copy is not None and copy.name == "timed"
    assert site.store.mark_dropping(copy)
    site.maintain(steps)
    site.crash()
    before, held = site.keyspace.snapshot(), contents(site.store, site.store.copies())
    with Rollback(site.keyspace, IDENTITY) as rollback, pytest.raises(NotFound, match="not here any more"):
        rollback.begin(stands, copy, heads(other)[copy.sequence, copy.seal], CLUSTER)
    assert site.keyspace.snapshot() == before
    elder = common_copy(site.store, other)
    assert elder is not None and elder.sequence < copy.sequence
    roll_back(site, other, elder)
    site.finish()
    assert held.items() <= contents(site.store, site.store.copies(lost=True)).items()
    assert site.store.position().head.seal == other.head.seal


def test_dropped_in_the_last_moment() -> None:
    """Right before the EXEC: it is conditional on the copies that were looked at."""
    site, other = diverged()
    copy, stands = common_copy(site.store, other), site.store.position().head
    assert copy is not None
    moments: list[str] = []

    def between(moment: str) -> None:
        if moment == "exec" and not moments:
            moments.append(moment)
            assert site.store.mark_dropping(copy)

    site.keyspace.between = between
    with Rollback(site.keyspace, IDENTITY) as rollback:
        with pytest.raises(StoreUnavailable, match="another process"):
            rollback.begin(stands, copy, heads(other)[copy.sequence, copy.seal], CLUSTER)
        assert rollback.under_way() is None
