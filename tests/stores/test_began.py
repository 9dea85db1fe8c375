"""Where a store began: kept over a roll back, and read as an earlier version wrote it."""

import pytest
from late_lab import LateSite
from rollback_lab import common_copy, forked, grown, roll_back
from test_rollback import begun

from tidelog.errors import StoreDamaged
from tidelog.stores.began import Began, decode_began, encode_began


@pytest.mark.parametrize("loaded", [None, Began(2, 77)])
def test_a_roll_back_keeps_the_time_of_what_was_loaded(loaded: Began | None) -> None:
    """Elder copies of others may be missing from then on; whether one by time can be made is another matter."""
    author = begun()
    other = forked(author, 1)
    grown(author, [("write", 1, 1)])
    site = LateSite(author)
    site.apply()
    if loaded is not None:
        site.keyspace.transact([(b"SET", site.store._keys.begun, encode_began(loaded))])
    assert site.store.began() == (loaded or Began(0, 0)) and site.store.whole() == (loaded is None)
    site.crash()
    copy = common_copy(site.store, other)
    assert copy is not None
    roll_back(site, other, copy)
    assert site.store.began() == Began(copy.sequence, loaded.timestamp_us if loaded else 0)
    assert not site.store.whole()


def test_what_is_read() -> None:
    assert decode_began(None) == Began(0, 0)
    assert decode_began(b"12") == Began(12, 0)
    assert decode_began(encode_began(Began(12, 34))) == Began(12, 34)
    for wrong in (b"", b"x", b"1:x", 7, [b"1"]):
        with pytest.raises(StoreDamaged, match="beginning"):
            decode_began(wrong)
