"""A damaged store after a resync is what it was before: every copy, the live image, the bitmaps; nothing else moved."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resync_lab import BLOCK, BLOCKS, KEYS, Sites
from store_lab import check_copy
from store_model import Model

from tidelog.errors import CopiesDiffer, NotFound, OutOfWindow
from tidelog.recovery import live_fold
from tidelog.recovery.live_check import same
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.mending import Mending
from tidelog.stores.store import HoldKind
from tidelog.stores.watched import change_beside

# Keys that a resync may change beside what is wrong: its holds, and what makes a worker read anew.
BESIDE = {KEYS.position, KEYS.holds, KEYS.digests}
SEEDS = st.integers(0, 2**32)


def check(sites: Sites) -> None:
    """The site against a model of the log, byte for byte."""
    model = Model()
    model.fold(sites.author.log)
    for copy in sites.site.copies():
        check_copy(sites.site, copy, model, digests=True)
    _, state = max(model.states.items())
    for info, content in state.volumes.values():
        assert sites.site.read_live(info, 0, info.size)[0] == content


def changed(sites: Sites) -> Callable[[], set[bytes]]:
    """Asked later, the keys of the site that were written since."""
    keyspace = sites.keyspaces["site"]
    before = dict(keyspace._changes)
    return lambda: {key for key, count in keyspace._changes.items() if before.get(key) != count}


def wrong_blocks(sites: Sites) -> set[tuple[int, int, int]]:
    """Of each copy of the site the blocks that are not the twin's: sequence, volume, block."""
    found = set()
    for copy in sites.stores["twin"].copies():
        for volume in copy.volumes:
            every = ChangeBitmap()
            every.add_range(0, volume.blocks)
            both = (sites.stores[name].contents(copy).blocks(volume, every) for name in ("site", "twin"))
            for mine, right in zip(*both, strict=True):
                wrong = (one[0] for one, other in zip(mine, right, strict=True) if not same(one[1], other[1]))
                found |= {(copy.sequence, volume.id, block) for block in wrong}
    return found


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, damages=st.integers(1, 8), marked=st.booleans())
def test_what_was_damaged_and_nothing_else_is_mended(seed: int, damages: int, marked: bool) -> None:
    """Values of live blocks, before-images and bitmaps; with writes behind the newest copy, or none."""
    sites = Sites(seed)
    sites.happen(40)
    sites.mark()
    if not marked:
        sites.happen(6)
    for _ in range(damages):
        sites.damage()
    wrong, touched = sites.wrong(), changed(sites)
    plan, report = sites.resync()
    first_bits = {KEYS.bitmap(0, volume) for volume in sites.sizes}
    assert touched() <= wrong | BESIDE | first_bits
    assert not sites.wrong()
    check(sites)
    if not plan.bits_differing:
        assert report.blocks == len([key for key in wrong if b":m:" not in key])
        assert report.bytes_moved == report.blocks * BLOCK == plan.bytes_differing
    assert sites.resync()[0].clean


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, damages=st.integers(1, 6), more=st.integers(0, 3))
def test_a_site_that_went_on_upon_its_damage(seed: int, damages: int, more: int) -> None:
    """Its worker started again on wrong bitmaps, wrote over wrong blocks, cut and dropped copies."""
    sites = Sites(seed)
    sites.happen(20)
    sites.mark()
    sites.happen(6)
    for _ in range(damages):
        sites.damage()
    sites.happen(15)
    sites.mark()
    sites.happen(4)
    for _ in range(more):
        sites.damage()
    sites.resync()
    assert not sites.wrong()
    assert not wrong_blocks(sites)
    assert sites.resync()[0].clean


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, damages=st.integers(1, 8))
def test_copies_that_only_this_site_has_get_no_worse(seed: int, damages: int) -> None:
    """The common ones are mended, and what of the others was right stays so."""
    sites = Sites(seed)
    sites.happen(40)
    sites.mark()
    sites.drop_alone("other")
    sites.drop_alone("other")
    sites.drop_alone("site", "twin")
    for _ in range(damages):
        sites.damage()
    before = wrong_blocks(sites)
    plan, _ = sites.resync()
    after = wrong_blocks(sites)
    assert after <= before
    assert not after & {(pair.mine.sequence, *one[1:]) for pair in plan.pairs for one in after}
    assert sites.resync()[0].clean


def test_a_lost_bit_does_not_cost_what_was_written_since() -> None:
    """With its bit gone a copy reads the live block, which is newer: the copy's content must not go over it."""
    sites = Sites(1)
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"old" * 100))
    sites.mark()
    sites.author.write((volume, 0, b"new" * 100))
    sites.happen(0)
    del sites.data[KEYS.bitmap(sites.site.copies()[-1].generation, volume)]
    plan, report = sites.resync()
    assert plan.bits_differing == 1 and report.bits == 1
    assert not sites.wrong()
    assert sites.site.read_live(sites.site.volume("one"), 0, 300)[0] == b"new" * 100
    check(sites)


def test_a_live_block_written_since_the_newest_copy_is_mended_by_the_log() -> None:
    """It is in no copy yet, so no other site's copy can tell."""
    sites = Sites(2)
    sites.mark()
    volume = min(sites.sizes)
    sites.author.write((volume, 3, b"now" * 400))
    sites.happen(0)
    key = KEYS.block_format(volume) % 1
    sites.data[key] = b"then" + sites.data[key][4:]  # type: ignore[index]
    plan, report = sites.resync()
    (found,) = plan.damaged(10)
    assert (found.block, found.copies, found.live) == (1, (), True)
    assert report.blocks == 1 and not sites.wrong()


def test_a_source_that_is_wrong_itself_is_refused() -> None:
    """By its blocks, by its own receipt or by another site's; and nothing is changed."""
    sites = Sites(3)
    sites.happen(20)
    sites.mark()
    name = sites.site.copies()[-1].name
    with pytest.raises(CopiesDiffer, match=r"the receipts of osaka"):
        sites.resync(sites.told(wrong=[("osaka", name)]))
    data = sites.keyspaces["other"].data
    key = sorted(key for key in data if key.startswith(KEYS.prefix + b"b:"))[0]
    data[key] = b"wrong" + data[key][5:]  # type: ignore[index]
    touched = changed(sites)
    with pytest.raises(CopiesDiffer, match=r"is not what the receipts of osaka, london say"):
        sites.resync()
    assert touched() <= {KEYS.holds}


def test_more_receipts_must_agree_than_say_otherwise() -> None:
    """A third site that is wrong does not stand in the way; where two contradict one another nobody can tell."""
    sites = Sites(3)
    sites.happen(20)
    sites.mark()
    sites.damage([b"b:"])
    name = sites.site.copies()[-1].name
    with pytest.raises(CopiesDiffer, match=r"the receipts of london"):
        sites.resync(sites.told(wrong=[("london", name), ("tokyo", name)]))
    sites.resync(sites.told(wrong=[("london", name)]))
    assert not sites.wrong()


def test_a_copy_onto_a_volume_since_the_newest_copy_asks_for_a_newer_one() -> None:
    """What it made of the target is not followed; with a copy behind it all is compared again."""
    sites = Sites(9)
    one, two = sorted(sites.sizes)
    sites.author.write((one, 0, b"data" * 500))
    sites.mark()
    sites.author.copy(one, two, range(BLOCKS))
    sites.happen(0)
    plan = sites.survey()
    assert plan.clean and "copied onto another" in plan.unfollowed
    sites.mark()
    sites.damage([b"b:"])
    assert sites.wrong()
    sites.resync()
    assert not sites.wrong() and not sites.survey().unfollowed


def test_a_site_that_told_a_wrong_digest_is_mended_all_the_same() -> None:
    """It was damaged before it digested: its own receipt is no proof against the other site's."""
    sites = Sites(4)
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"data" * 100))
    sites.mark()
    sites.data[KEYS.block_format(volume) % 0] = b"other"
    copy = sites.site.copies()[-1]
    told = sites.told(wrong=[("tokyo", copy.name)])
    sites.site.verify(copy)  # so that the store keeps the wrong one, too
    layout = sites.site.position().layout
    plan, report = sites.resync(told)
    assert plan.digests_wrong and report.digests == 1
    assert sites.site.digest(copy) == sites.stores["twin"].digest(copy)
    assert sites.site.position().layout > layout  # the worker reads anew, and tells its receipts anew


def test_without_a_copy_in_common_nothing_can_be_said() -> None:
    sites = Sites(5)
    sites.happen(5)
    for copy in sites.site.copies():
        sites.markers.clear()
        sites.author.drop(copy)
    told = sites.told()
    with pytest.raises(NotFound, match="no copy of group bank in common"):
        sites.resync([one for one in told if one.sequence < 0])


def test_too_much_since_the_newest_copy_asks_for_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is mended then: what the copy holds could go over what was written since."""
    sites = Sites(6)
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"old" * 1000))
    sites.mark()
    sites.author.write((volume, 0, b"new" * 1000))
    sites.happen(0)
    assert sites.damage([b"g:"])
    monkeypatch.setattr(live_fold, "BLOCKS_MAX", 1)
    touched = changed(sites)
    with pytest.raises(OutOfWindow, match="more was written"):
        sites.resync()
    assert touched() <= {KEYS.holds}


@pytest.mark.parametrize("call", range(12))
def test_cut_short_anywhere_it_is_run_again(call: int) -> None:
    """After any of its transactions: copies read as before or right, and the next resync ends it."""
    sites = Sites(7)
    sites.happen(40)
    sites.mark()
    sites.happen(5)
    for _ in range(6):
        sites.damage()
    before = wrong_blocks(sites)
    left = [call]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tidelog.stores.mending.change_beside", _cut_after(left))
        try:
            sites.resync()
        except KeyboardInterrupt:
            assert wrong_blocks(sites) <= before
    sites.resync()
    assert not sites.wrong()
    check(sites)


def _cut_after(left: list[int]) -> Callable[..., bool]:
    def cut(*arguments: object) -> bool:
        done = change_beside(*arguments)  # type: ignore[arg-type]
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return done

    return cut


def test_mending_writes_nothing_that_is_right() -> None:
    """Not even the same bytes again."""
    sites = Sites(8)
    sites.happen(30)
    sites.mark()
    store = sites.site
    copy = store.copies()[-1]
    with store.hold(copy, HoldKind.VOLUME) as lease:
        mending, touched = Mending(sites.keyspaces["site"], store.identity), changed(sites)
        for volume in copy.volumes:
            for blocks in store.contents(lease.copy).blocks(volume, store.contents(lease.copy).named(volume)):
                assert mending.blocks(lease.copy, None, volume, blocks) == []
        assert touched() == set()
