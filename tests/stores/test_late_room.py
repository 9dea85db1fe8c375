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


def crowd(author: LateAuthor, first_us: int) -> tuple[LateSite, list[DueCopy]]:
    """A site at the head, with as many late copies as there is room for in one gap, each behind the one before."""
    site, orders = LateSite(author), [DueCopy(f"t{index:02}", first_us + index) for index in range(24)]
    site.finish()
    for count in range(len(orders)):
        site.order(orders[: count + 1])
        site.finish()
    assert site.refused() == {}
    return site, orders


def test_room_that_a_drop_makes() -> None:
    """What was refused for want of room is made once there is some, without a restart."""
    author = LateAuthor()
    author.mark("m0")
    for _ in range(3):
        author.add(Heartbeat)
    last = DueCopy("last", author.head.timestamp_us)
    gone = author.mark("m1")
    author.add(Heartbeat)
    author.mark("m2")
    site, orders = crowd(author, 3500)
    site.order([*orders, last])
    site.finish()
    assert site.refused() == {
        "last": "there is no room for another copy between copies t23 and m1; drop one that was made late there"
    }
    author.drop(gone)
    site.finish()
    assert site.refused() == {} and [copy.name for copy in site.store.copies()][-3:] == ["t23", "last", "m2"]


def test_no_room_before_the_first_copy() -> None:
    """Said as it is: this site began from no copy."""
    author = LateAuthor()
    for _ in range(6):
        author.add(Heartbeat)
    author.mark("m")
    site, orders = LateSite(author), [DueCopy(f"t{index:02}", 5500 - index) for index in range(25)]
    site.finish()
    for count in range(len(orders)):
        site.order(orders[: count + 1])
        site.finish()
    assert site.refused() == {
        "t24": "there is no room for another copy before copy t23, the first; drop one that was made late there"
    }


def test_a_dropped_copy_behind_which_room_is_made() -> None:
    """The newest copy goes with the next cut, which counts from it, though a generation has begun in between."""
    author = LateAuthor()
    volume = author.create("v", 4 * BLOCK)
    author.mark("e")
    author.write((volume, 0, b"a" * BLOCK), (volume, BLOCK, b"b" * BLOCK))
    gone = author.mark("m")
    order = DueCopy("t", author.write((volume, 2 * BLOCK, b"c" * BLOCK)).timestamp_us)
    author.write((volume, 2 * BLOCK, b"d" * BLOCK))
    author.drop(gone)
    never, late = LateSite(author), LateSite(author)
    for site in (never, late):
        site.apply()
    late.order([order])
    late.maintain(3)
    assert has_split(late)
    late.order([])
    late.finish()
    author.write((volume, 2 * BLOCK, b"e" * BLOCK))
    author.mark("f")
    for site in (never, late):
        site.finish()
    assert holds(late) == holds(never) and late.store.copy("f").blocks_changed == 1
    assert not has_split(late) and [copy.name for copy in late.store.copies(dropping=True)] == ["e", "f"]
