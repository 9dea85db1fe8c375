"""The block device against a bytearray: random commands, many in flight at a time, over two connections."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.nbd.client import FLUSH, FUA, READ, STATUS, TRIM, WRITE, ZEROES, Client
from tests.nbd.conftest import COPIED, SIZE, Bank
from tidelog.consumers.deployment import open_store

# Commands in flight together must not touch the same bytes: each has a slice of its own.
SLICES = 8
SLICE = SIZE // SLICES

kinds = st.sampled_from([READ, WRITE, WRITE, TRIM, ZEROES, STATUS, FLUSH])
commands = st.tuples(kinds, st.integers(0, SLICE - 1), st.integers(1, 20_000), st.integers(1, 255), st.booleans())
# Before each all may be discarded.
batches = st.lists(
    st.tuples(st.sampled_from([False, False, True]), st.lists(commands, min_size=1, max_size=SLICES)),
    min_size=1,
    max_size=6,
)
numbers = count()


@contextmanager
def clone(bank: Bank) -> Iterator[tuple[Client, Client]]:
    """Two clients of a clone, made all zeros."""
    with bank.opened("ledger@clone:drill") as one, bank.opened("ledger@clone:drill") as other:
        one.zero(0, SIZE)
        yield one, other


@contextmanager
def new_volume(bank: Bank) -> Iterator[tuple[Client, Client]]:
    """Two clients of a new live volume of small blocks: so that little of what is discarded has a name."""
    name = f"ledger-{next(numbers)}"
    bank.group.create_volume(name, SIZE, block_size=512)
    bank.group.flush(applied_at=1, sites=["tokyo"], timeout=60)
    with bank.opened(name) as one, bank.opened(name) as other:
        yield one, other
        bank.running.site("tokyo")
        bank.group.flush(applied_at=1, sites=["tokyo"], timeout=60)
        store = open_store(bank.running.deployment, "tokyo", "bank")
        assert store.read(store.volume(name), 0, SIZE) == one.read(0, SIZE)
        store.close()


@contextmanager
def new_volume_of_a_site_that_stands_still(bank: Bank) -> Iterator[tuple[Client, Client]]:
    """As `new_volume`; nothing that is written in it is applied."""
    with new_volume(bank) as pair:
        bank.running.stop_site("tokyo")
        yield pair


@pytest.mark.parametrize("opened", [clone, new_volume, new_volume_of_a_site_that_stands_still])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=batches)
def test_random_commands(bank: Bank, opened, plan: list[tuple[bool, list[tuple[int, int, int, int, bool]]]]) -> None:
    """Every read of a batch sees what the batches before have left, on either connection; a hole reads as zeros. So
    does the site, once it has all."""
    model = bytearray(SIZE)
    with opened(bank) as pair:
        pair[0].write(8192, COPIED)
        model[8192 : 8192 + len(COPIED)] = COPIED
        for zeroed, batch in plan:
            if zeroed:
                pair[1].zero(0, SIZE, TRIM)
                model[:] = bytes(SIZE)
            carry_out(pair, batch, model)
        for client in pair:
            assert client.read(0, SIZE) == model


def carry_out(pair: tuple[Client, Client], batch: list[tuple[int, int, int, int, bool]], model: bytearray) -> None:
    """Sends all commands of a batch, and looks at the answers."""
    sent: dict[tuple[int, int], tuple[int, int, int]] = {}
    for index, (kind, start, length, byte, durable) in enumerate(batch):
        offset, which = SLICE * index + start, (index + byte) % 2
        length = 0 if kind == FLUSH else min(length, SLICE * (index + 1) - offset)
        data = bytes([byte]) * length if kind == WRITE else b""
        at = 0 if kind == FLUSH else offset
        cookie = pair[which].request(kind, at, length, data, FUA if durable else 0)
        sent[which, cookie] = (kind, offset, length)
        if kind in (TRIM, ZEROES, WRITE):
            model[offset : offset + length] = data or bytes(length)
    for which in (0, 1):
        for answer in pair[which].answers(sum(place == which for place, _ in sent)):
            kind, offset, length = sent[which, answer.cookie]
            assert answer.error == 0
            if kind == READ:
                assert answer.data == model[offset : offset + length]
            if kind == STATUS:
                at = offset
                for size, flags in answer.extents:
                    assert not flags or not any(model[at : at + size])
                    at += size
                assert at == offset + length
