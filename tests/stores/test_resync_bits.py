"""Bits that a resync mends: however many, and where they belong."""

from tests.stores.resync_lab import Sites
from tests.stores.test_resync import KEYS, check, wrong_blocks
from tidelog.stores.store import Copy


def lose_first_bit(sites: Sites, copy: Copy, volume: int) -> None:
    """That of block 0, in a copy's generation."""
    key = KEYS.bitmap(copy.generation, volume)
    bits = bytearray(sites.data[key])  # type: ignore[call-overload]
    bits[0] &= 0x7F
    sites.data[key] = bits


def test_more_wrong_bits_than_one_step_mends() -> None:
    """A page of a bitmap that is all ones: 32 thousand of them."""
    sites = Sites(3)
    sites.mark()
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"new" * 100))
    sites.happen(0)
    key = KEYS.bitmap(sites.site.copies()[-1].generation, volume)
    sites.data[key] = bytearray(bytes(sites.data[key]) + b"\xff" * 4096)  # type: ignore[call-overload]
    _, report = sites.resync()
    assert report.bits > 4096 * 7
    assert sites.resync()[0].clean
    check(sites)


def test_a_lost_bit_goes_back_to_the_copy_that_kept_the_block() -> None:
    """Between two copies that both sites have there is one that only this site has, whose before-image it is: with the
    bit at the elder one that would read as zeros, and the one between as something newer, for ever."""
    sites = Sites(4)
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"old" * 100))
    sites.mark()
    sites.mark()
    between = sites.site.copies()[-1]
    sites.author.write((volume, 0, b"new" * 100))
    sites.mark()
    store = sites.stores["other"]
    store.mark_dropping(next(copy for copy in store.copies() if copy.sequence == between.sequence))
    sites.happen(0)
    lose_first_bit(sites, between, volume)
    assert wrong_blocks(sites)
    _, report = sites.resync()
    assert report.bits == 1 and not wrong_blocks(sites)
    check(sites)


def test_a_block_that_a_copy_between_shares_by_a_lost_bit_gets_a_place_of_its_own() -> None:
    """The bit that is lost is of the eldest copy, and a copy that only this site has names the block as well: so no bit
    is missing between the two that both sites have, and the eldest reads what the one between kept. That is right there
    and must stay."""
    sites = Sites(5)
    volume = min(sites.sizes)
    sites.author.write((volume, 0, b"old" * 100))
    sites.mark()
    eldest = sites.site.copies()[-1]
    sites.author.write((volume, 0, b"mid" * 100))
    sites.mark()
    between = sites.site.copies()[-1]
    sites.author.write((volume, 0, b"new" * 100))
    sites.mark()
    store = sites.stores["other"]
    store.mark_dropping(next(copy for copy in store.copies() if copy.sequence == between.sequence))
    sites.happen(0)
    lose_first_bit(sites, eldest, volume)
    assert wrong_blocks(sites)
    plan, report = sites.resync()
    assert plan.bits_differing == 0 and report.blocks == 1
    assert not wrong_blocks(sites)
    check(sites)
