"""Reads that adjoin are read as one: each gets its own bytes, and nobody waits for long for one that hangs."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from tidelog.gateways.nbd import reads as reading
from tidelog.gateways.nbd.reads import AT_ONCE, TOGETHER_BYTES_MAX, Reads

KIB = 1024
DISK = random.Random(7).randbytes(MIB := KIB * KIB)


class Store:
    """Reads what it was asked for when told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, asyncio.Future[bytes]]] = []
        self.answers: dict[int, list[bytes | BaseException]] = {}
        self.reads = Reads(self._start)

    def _start(self, offset: int, length: int) -> asyncio.Future[bytes]:
        self.asked.append((offset, length, asyncio.get_running_loop().create_future()))
        return self.asked[-1][2]

    def want(self, *offsets: int, length: int = 4 * KIB) -> None:
        for offset in offsets:
            self.reads.read(offset, length, self.answers.setdefault(offset, []).append)

    @property
    def spans(self) -> list[tuple[int, int]]:
        return [(offset, length) for offset, length, _ in self.asked]

    async def find(self, number: int) -> None:
        offset, length, future = self.asked[number]
        future.set_result(DISK[offset : offset + length])
        await asyncio.sleep(0)

    async def fail(self, number: int, said: str) -> None:
        self.asked[number][2].set_exception(OSError(said))
        await asyncio.sleep(0)


def run(test: Callable[[Store], Awaitable[None]]) -> None:
    async def running() -> None:
        await test(Store())

    asyncio.run(running())


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE", 1000)


@pytest.mark.usefixtures("patient")
def test_those_that_adjoin_are_read_as_one() -> None:
    """Behind as many as are read at a time; in order, up to a gap and up to as much as is read at once."""

    async def test(store: Store) -> None:
        first = [0, *range(8 * KIB, 24 * KIB, 4 * KIB), 40 * KIB, 44 * KIB, 20 * KIB]
        store.want(*first)
        assert store.spans == [(0, 4 * KIB)] and len(store.asked) == AT_ONCE
        await store.find(0)
        assert store.spans[1:] == [(8 * KIB, 16 * KIB)]
        await store.find(1)
        assert store.spans[2:] == [(40 * KIB, 8 * KIB)]
        await store.find(2)
        assert store.spans[3:] == [(20 * KIB, 4 * KIB)]
        await store.find(3)
        wanted = {offset: [DISK[offset : offset + 4 * KIB]] for offset in first}
        wanted[20 * KIB] *= 2
        assert store.answers == wanted
        large = range(MIB // 4, MIB // 4 + TOGETHER_BYTES_MAX + 192 * KIB, 64 * KIB)
        store.want(*large, length=64 * KIB)
        await store.find(4)
        assert store.spans[5:] == [(large[1], TOGETHER_BYTES_MAX)]
        await store.find(5)
        assert store.spans[6:] == [(large[5], 128 * KIB)]
        await store.find(6)
        assert all(store.answers[offset] == [DISK[offset : offset + 64 * KIB]] for offset in large)

    run(test)


@pytest.mark.usefixtures("patient")
def test_one_that_fails_takes_none_of_the_others_with_it() -> None:
    """They are read again one by one, and each hears its own error."""

    async def test(store: Store) -> None:
        store.want(0, 8 * KIB, 12 * KIB, 16 * KIB)
        await store.find(0)
        assert store.spans[1:] == [(8 * KIB, 12 * KIB)]
        await store.fail(1, "some of it")
        assert store.spans[2:] == [(8 * KIB, 4 * KIB), (12 * KIB, 4 * KIB), (16 * KIB, 4 * KIB)]
        await store.find(2)
        await store.fail(3, "all of it")
        await store.find(4)
        assert [str(answer) for answer in store.answers[12 * KIB]] == ["all of it"]
        assert store.answers[8 * KIB] == [DISK[8 * KIB : 12 * KIB]]
        assert store.answers[16 * KIB] == [DISK[16 * KIB : 20 * KIB]]
        store.want(500 * KIB)
        assert store.spans[5:] == [(500 * KIB, 4 * KIB)]  # it goes on

    run(test)


def test_threads_that_take_nothing_more() -> None:
    """As at the end of a server: all hear it, and none is left."""

    def refuse(*_: object) -> None:
        raise RuntimeError("shut down")

    answers: list[bytes | BaseException] = []

    async def ask() -> None:
        reads = Reads(refuse)
        for _ in range(2):
            reads.read(0, KIB, answers.append)

    asyncio.run(ask())
    assert [str(answer) for answer in answers] == ["shut down"] * 2


def test_a_store_that_is_far_is_asked_all_the_same() -> None:
    """Those in front are waited for no longer than a moment."""

    async def test(store: Store) -> None:
        offsets = range(0, 80 * KIB, 8 * KIB)
        store.want(*offsets)
        for _ in range(1000):
            if len(store.asked) == len(offsets):
                break
            await asyncio.sleep(0.01)
        assert store.spans == [(offset, 4 * KIB) for offset in offsets]
        for number in reversed(range(len(offsets))):
            await store.find(number)
        assert store.answers == {offset: [DISK[offset : offset + 4 * KIB]] for offset in offsets}

    run(test)
