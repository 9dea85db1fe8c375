"""Resync of a store that was rolled back: what the lost history named is no damage; its copies stay as they were."""

import copy as copying
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from resync_lab import BLOCK, KEYS, Sites
from store_lab import CLUSTER

from tests.stores.test_resync import SEEDS, changed, check
from tidelog.errors import NotFound
from tidelog.recovery.live_check import same
from tidelog.schemas.chain import Head
from tidelog.schemas.events import WriterOpened
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.records import encode_copy
from tidelog.stores.rollback import Rollback
from tidelog.stores.store import CopyOrigin

Content = dict[tuple[int, int], list[bytes]]


def lose(sites: Sites, events: int, mark: bool = True) -> None:
    """Random events that ``other`` never sees; then the site and its twin are rolled back to the newest copy that is
    left of the history before them, and a new session begins."""
    new, sizes, markers = copying.deepcopy((sites.author, sites.sizes, sites.markers))
    stores = sites.stores
    sites.stores = {name: stores[name] for name in ("site", "twin")}
    sites.happen(events)
    if mark:
        sites.mark()
        sites.happen(2)
    sites.stores, sites.author, sites.sizes, sites.markers = stores, new, sizes, markers
    go_back(sites)


def go_back(sites: Sites) -> None:
    log = sites.author.log
    there = {
        (one.last_sequence, one.seal): Head(
            one.last_sequence, one.seal, one.epoch, one.writer, one.timestamp_us, offset
        )
        for one, offset in log
    }
    for name in ("site", "twin"):
        store = sites.stores[name]
        usable = [copy for copy in store.copies() if (copy.sequence, copy.seal) in there]
        if not usable:  # the lost history has dropped them
            reject()
        head = there[usable[-1].sequence, usable[-1].seal]
        with Rollback(sites.keyspaces[name], store.identity) as rollback:
            rollback.begin(store.position().head, usable[-1], head, CLUSTER)
            list(rollback.steps())
        store.end_rebuild()
    sites.author.add(WriterOpened, opened_by="another")
    sites.happen(0)


def held(sites: Sites, name: str = "site", *, lost: bool = True) -> Content:
    """The blocks of the copies, those of the lost history or the others, by (generation, volume)."""
    store, found = sites.stores[name], Content()
    for copy in store.copies(lost=True):
        if (copy.origin is CopyOrigin.LOST) == lost:
            for volume in copy.volumes:
                every = ChangeBitmap()
                every.add_range(0, volume.blocks)
                blocks = (content for part in store.contents(copy).blocks(volume, every) for _, content in part)
                found[copy.generation, volume.id] = list(blocks)
    return found


def differing(mine: Content, right: Content) -> set[tuple[int, int, int]]:
    return {
        (*place, block)
        for place, blocks in mine.items()
        for block, content in enumerate(blocks)
        if not same(content, right[place][block])
    }


def lost_bytes(sites: Sites) -> set[str]:
    return {copy.name for copy in sites.site.copies(lost=True) if copy.origin is CopyOrigin.LOST}


def parted(written_after: bytes = b"new", mark: bool = False) -> tuple[Sites, int]:
    """Block 0 was written before the roll back, in the lost history, and behind it; block 1 only by the lost one; a
    lost copy and ``lost-tail`` keep what was there."""
    sites = Sites(1)
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"A" * 2 * BLOCK))
    sites.mark()
    new, stores = copying.deepcopy(sites.author), sites.stores
    sites.stores = {name: stores[name] for name in ("site", "twin")}
    sites.author.write((volume, 0, b"L" * 2 * BLOCK))
    sites.mark()
    sites.author.write((volume, BLOCK, b"T" * BLOCK))
    sites.happen(0)
    sites.stores, sites.author = stores, new
    go_back(sites)
    sites.author.write((volume, 0, written_after))
    sites.happen(0)
    if mark:
        sites.mark()
        sites.author.write((volume, 0, written_after * 2))
        sites.happen(0)
    return sites, volume


@pytest.mark.parametrize("mark", [False, True])
def test_what_the_lost_history_named_is_no_damage(mark: bool) -> None:
    """Not counted as bits that are too many: nothing is changed, and the lost copies are there."""
    sites, _ = parted(mark=mark)
    before, touched = held(sites), changed(sites)
    plan, report = sites.resync()
    assert plan.clean and not plan.unfollowed
    assert (report.bits, report.blocks) == (0, 0)
    assert touched() <= {KEYS.holds}
    assert held(sites) == before and lost_bytes(sites) == {"lost-m1", "lost-tail"}
    check(sites)


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("block", [0, 1])
def test_a_flipped_block_of_a_rolled_back_store_is_mended(block: int, mark: bool) -> None:
    """Live, and wherever the copy that was gone back to has it; lost copies stay, byte for byte."""
    sites, volume = parted(mark=mark)
    before = held(sites)
    copy = sites.site.copies()[0]
    for key in (KEYS.block_format(volume) % block, KEYS.before_format(copy.generation, volume) % block):
        value = bytes(sites.data[key])  # type: ignore[call-overload]
        sites.data[key] = bytes([value[0] ^ 1]) + value[1:]
        plan, report = sites.resync()
        if plan.clean:  # the copies have it elsewhere, and no event has named it since
            assert (block, mark, key) == (1, False, KEYS.block_format(volume) % 1)
            sites.data[key] = value
            continue
        assert report.blocks == 1
        assert held(sites) == before
        assert sites.survey().clean
        check(sites)


def test_bits_too_many_behind_a_roll_back_go_and_those_of_the_lost_history_stay() -> None:
    sites, volume = parted()
    before = held(sites)
    generation = sites.site.position().generation
    key = KEYS.bitmap(generation, volume)
    sites.data[key] = bytes([bytes(sites.data[key])[0] | 0x10])  # type: ignore[call-overload]
    plan, report = sites.resync()
    assert report.bits == 1 and sum(found.count for found in plan.since_spurious.values()) == 1
    assert held(sites) == before and not sites.wrong()
    check(sites)


def test_a_block_that_only_the_lost_history_named_is_not_named_for_its_mending() -> None:
    """The copy that was gone back to is here alone; an elder one, which shares its block with the lost history's, gets
    it in that copy's place: were the elder's bit set, another resync would take it back, and the block with it."""
    sites = Sites(2)
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"A" * 2 * BLOCK))
    sites.mark()
    sites.mark()
    base = sites.site.copies()[-1]
    new, stores = copying.deepcopy(sites.author), sites.stores
    sites.stores = {name: stores[name] for name in ("site", "twin")}
    sites.mark()
    sites.author.write((volume, 0, b"L" * BLOCK))
    sites.mark()
    sites.happen(0)
    place = sites.site.copies()[-2].generation
    sites.stores, sites.author = stores, new
    go_back(sites)
    sites.mark()
    other = sites.stores["other"]
    other.mark_dropping(next(copy for copy in other.copies() if copy.sequence == base.sequence))
    sites.happen(0)
    key = KEYS.before_format(place, volume) % 0
    sites.data[key] = b"wrong" * 3
    before = held(sites)
    _, report = sites.resync()
    assert report.blocks == 1
    assert held(sites) == before  # what shared the damage is in nobody's receipts
    for _ in range(2):
        plan, report = sites.resync()
        assert plan.clean and not report.blocks
    check(sites)


def rewrite(sites: Sites, **fields: Any) -> None:
    """The record of every copy of the other site."""
    keyspace = sites.keyspaces["other"]
    for copy in sites.stores["other"].copies():
        row = encode_copy(replace(copy, **fields))
        keyspace.transact([(b"HSET", KEYS.copies, b"%d" % copy.generation, row)])


def test_sites_that_found_the_log_at_different_places_are_compared() -> None:
    """A region moved: one site was rolled back and has its copies' new offsets, the other was only told where its head
    is."""
    sites, volume = parted(mark=True)
    before = held(sites)
    rewrite(sites, offset=1234, cluster_id="elsewhere")
    assert sites.survey().clean and not sites.survey().broken
    key = KEYS.block_format(volume) % 1
    sites.data[key] = b"wrong"
    _, report = sites.resync()
    assert report.blocks == 1 and held(sites) == before
    check(sites)


def test_records_that_differ_are_told_of_where_nothing_can_be_compared() -> None:
    """And not called a lack of copies."""
    sites, _ = parted(mark=True)
    rewrite(sites, epoch=7)
    with pytest.raises(NotFound, match=r"the record of copy m. \(sequence \d+\) has another epoch than at osaka"):
        sites.survey()


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, lost=st.integers(0, 15), more=st.integers(0, 8), marked=st.booleans(), twice=st.booleans())
def test_a_store_that_was_rolled_back_is_clean(seed: int, lost: int, more: int, marked: bool, twice: bool) -> None:
    """Whatever both histories hold; once more, too."""
    sites = Sites(seed)
    sites.happen(15)
    sites.mark()
    sites.happen(3)
    for _ in range(1 + twice):
        sites.mark()
        lose(sites, lost)
        sites.happen(more)
        if marked:
            sites.mark()
    touched, before = changed(sites), held(sites)
    plan, report = sites.resync()
    assert plan.clean and not report.bits
    assert touched() <= {KEYS.holds}
    assert held(sites) == before
    check(sites)


@settings(max_examples=40, deadline=None)
@given(
    seed=SEEDS,
    lost=st.integers(0, 15),
    more=st.integers(0, 8),
    damages=st.integers(1, 6),
    alone=st.booleans(),
    kinds=st.sampled_from([(b"b:",), (b"b:", b"g:"), (b"b:", b"g:", b"m:")]),
)
def test_damage_of_a_store_that_was_rolled_back_is_mended(
    seed: int, lost: int, more: int, damages: int, alone: bool, kinds: tuple[bytes, ...]
) -> None:
    """What both sites hold is right then, and stays so; no lost copy gets worse."""
    sites = Sites(seed)
    sites.happen(15)
    sites.mark()
    lose(sites, lost)
    sites.happen(more)
    sites.mark()
    if alone:
        sites.drop_alone("other")
    for _ in range(damages):
        sites.damage(kinds)
    right = held(sites, "twin")
    before = differing(held(sites), right)
    plan, _ = sites.resync()
    common = {pair.mine.generation for pair in plan.pairs}
    wrong = differing(held(sites, lost=False), held(sites, "twin", lost=False))
    assert not {one for one in wrong if one[0] in common}
    assert differing(held(sites), right) <= before
    assert sites.resync()[0].clean
