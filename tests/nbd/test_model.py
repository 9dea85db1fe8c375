"""The block device against a bytearray: random commands, many in flight at a time, over two connections."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.nbd.client import FLUSH, FUA, READ, STATUS, TRIM, WRITE, ZEROES, Client
from tests.nbd.conftest import COPIED, SIZE, Bank

# Commands in flight together must not touch the same bytes: each has a slice of its own.
SLICES = 8
SLICE = SIZE // SLICES

kinds = st.sampled_from([READ, WRITE, WRITE, TRIM, ZEROES, STATUS, FLUSH])
commands = st.tuples(kinds, st.integers(0, SLICE - 1), st.integers(1, 20_000), st.integers(1, 255), st.booleans())
batches = st.lists(st.lists(commands, min_size=1, max_size=SLICES), min_size=1, max_size=6)


@pytest.fixture(params=["ledger", "ledger@clone:drill"])
def pair(request: pytest.FixtureRequest, bank: Bank) -> Iterator[tuple[Client, Client]]:
    with ExitStack() as stack:
        yield tuple(stack.enter_context(bank.opened(request.param)) for _ in range(2))  # type: ignore[misc]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=batches)
def test_random_commands(pair: tuple[Client, Client], plan: list[list[tuple[int, int, int, int, bool]]]) -> None:
    """Every read of a batch sees what the batches before have left, on either connection; a hole reads as zeros."""
    model = bytearray(SIZE)
    pair[0].zero(0, SIZE)
    pair[0].write(8192, COPIED)
    model[8192 : 8192 + len(COPIED)] = COPIED
    for batch in plan:
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
    for client in pair:
        assert client.read(0, SIZE) == model
