"""The room for late copies: the generations that are begun to make it, and what is said when there is none."""

from late_lab import BLOCK, LateAuthor, LateSite, has_split, holds
from store_lab import all_keys, check_generations

from tidelog.schemas.events import Heartbeat, VolumeDeleted
from tidelog.stores.timed import DueCopy


def test_a_volume_that_is_deleted_while_the_split_stands() -> None:
    """Its blocks are before-images of that generation too: nothing is left of it when it has gone, and the next late
    copy in that gap, which gets its number, reads none of it."""
    author = LateAuthor()
    author.add(Heartbeat)
    first = DueCopy("first", author.head.timestamp_us)
    volume = author.create("v", 2 * BLOCK)
    second = DueCopy("second", author.write((volume, 0, b"A" * BLOCK)).timestamp_us)
    author.write((volume, BLOCK, b"B" * BLOCK))
    late, timely = LateSite(author), LateSite(author)
    timely.order([first, second])
    for site in (late, timely):
        site.apply()
    late.order([first])
    late.finish()
    assert has_split(late)
    (split,) = [copy for copy in late.store.copies(dropping=True) if not copy.name]
    author.write((volume, BLOCK, b"C" * BLOCK))
    author.add(VolumeDeleted, volume=volume)
    for site in (late, timely):
        site.finish()
        check_generations(site.keyspace)
    author.mark("m")
    for site in (late, timely):
        site.finish()
        check_generations(site.keyspace)
        site.order([second] if site is timely else [])
        assert site.store.mark_dropping(site.store.copy("first"))
        site.finish()
    left = (b"g:", b"b:%d:" % volume)
    assert not has_split(late) and not [key for key in all_keys(late.keyspace) if key.startswith(left)]
    late.order([second])
    late.finish()
    copy = late.store.copy("second")
    assert copy.generation == split.generation
    assert late.store.read(copy.volume("v"), 0, 2 * BLOCK, copy) == b"A" * BLOCK + bytes(BLOCK)
    assert holds(late) == holds(timely)
