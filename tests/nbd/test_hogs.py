"""Clients that hold what others need, and stores that do not answer: whoever asks for little goes on meanwhile.

The times after which hogs are left are made long, so that what returns here has not waited for them."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.nbd.client import READ, STATUS, WRITE, ZEROES, Client
from tests.nbd.conftest import COPIED, SIZE, Bank
from tidelog.gateways.nbd import watch
from tidelog.gateways.nbd.budget import Budget
from tidelog.gateways.nbd.exports import CopyExport
from tidelog.gateways.nbd.server import TOTAL_BYTES_MAX
from tidelog.gateways.nbd.share import RESERVE_BYTES, SMALL_BYTES_MAX, Share
from tidelog.producers.volume import Volume
from tidelog.stores.image import Store
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.readiness import wait_until

PAYLOAD = 32 << 20
LONG = 600.0


@pytest.fixture
def large(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """With a volume ``large``, also in the copy ``wide``; nobody is left for standing still."""
    monkeypatch.setattr(watch, "STALL_TIMEOUT", LONG)
    monkeypatch.setattr(watch, "PRESSED_TIMEOUT", LONG)
    bank.group.create_volume("large", "64MiB")
    bank.group.mark("wide").wait(sites=["tokyo"])
    return bank


@pytest.fixture
def hogs(large: Bank) -> Iterator[list[Client]]:
    """Clients that are ended at the end."""
    made: list[Client] = []
    yield made
    for one in made:
        one.socket.close()
    assert wait_until(lambda: large.server.in_flight == 0, 60)


def _announce(bank: Bank, hogs: list[Client]) -> None:
    """Eight write 32 MiB each, and send none of it."""
    for _ in range(8):
        hogs.append(bank.opened("large"))
        hogs[-1].request(WRITE, 0, PAYLOAD)


def _take_nothing(name: str) -> Callable[[Bank, list[Client]], None]:
    def ask(bank: Bank, hogs: list[Client]) -> None:
        for _ in range(4):
            hogs.append(bank.opened(name))
            for _ in range(2):
                hogs[-1].request(READ, 0, PAYLOAD)

    return ask


@pytest.mark.parametrize("hold", [_announce, _take_nothing("large"), _take_nothing("large@wide")])
def test_small_commands_go_on(large: Bank, hogs: list[Client], hold: Callable[[Bank, list[Client]], None]) -> None:
    """Of live volumes, copies and clones, whatever is held of whichever kind."""
    hold(large, hogs)
    assert wait_until(lambda: large.server.in_flight >= TOTAL_BYTES_MAX, 60)
    with large.opened() as live, large.opened("ledger@nightly") as copy, large.opened("ledger@clone:drill") as clone:
        for client in (live, clone):
            client.write(0, b"y" * SMALL_BYTES_MAX)
            client.flush()
            assert client.read(0, 1) == b"y"
        assert copy.read(8192, len(COPIED)) == COPIED


def test_readers_of_copies_hold_up_no_large_write(large: Bank, hogs: list[Client]) -> None:
    """Live volumes have room of their own."""
    _take_nothing("large@wide")(large, hogs)
    assert wait_until(lambda: large.server.in_flight >= TOTAL_BYTES_MAX, 60)
    with large.opened("large") as client:
        client.write(0, b"z" * PAYLOAD, flags=1)


@pytest.mark.parametrize("command", [READ, WRITE])
def test_who_stands_still_is_left_once_others_wait(large: Bank, monkeypatch: pytest.MonkeyPatch, command: int) -> None:
    """Long before it would be otherwise: another's large write then comes through."""
    monkeypatch.setattr(watch, "PRESSED_TIMEOUT", 0.4)
    served = RunningNbd(
        large.running.deployment, "bank", "tokyo", large.group, total_bytes=PAYLOAD, say=large.said.append
    )
    with served as server, Client(server.uri("large")).go() as hog, Client(server.uri("large")).go() as other:
        hog.request(command, 0, PAYLOAD)
        assert wait_until(lambda: server.in_flight == PAYLOAD, 60)
        other.write(0, b"z" * (1 << 20))
    assert any("nothing to speak of" in line and "0.4 s" in line for line in large.said), large.said


@pytest.mark.parametrize("command", [READ, WRITE])
def test_who_gets_on_slowly_is_served(large: Bank, monkeypatch: pytest.MonkeyPatch, command: int) -> None:
    """For longer than anybody may stand still."""
    limit, size = 2.0, 8 << 20
    monkeypatch.setattr(watch, "STALL_TIMEOUT", limit)
    began, piece = time.monotonic(), size // 32
    with large.opened("large") as client:
        client.request(command, 0, size)
        for _ in range(32):
            if command == READ:
                client.receive(piece)
            else:
                client.socket.sendall(b"s" * piece)
            time.sleep(limit / 20)  # it is slow
        if command == READ:
            client.receive(28)  # the head of the chunk, in front
        else:
            assert client.answer().error == 0
        assert time.monotonic() - began > limit
        assert client.call(WRITE, 0, 1, b"x").error == 0


@pytest.mark.usefixtures("large")
def test_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goes by what was moved: who moves is not left, however little; who is pressed must move more."""
    monkeypatch.setattr(watch, "STALL_TIMEOUT", 0.2)

    async def scenario(step: int, pressed: bool, looks: int) -> float | None:
        told, ended = [0], asyncio.Event()

        def moved() -> int:
            told.append(told[-1] + step)
            if len(told) > looks:
                ended.set()
            return told[-1]

        with watch.Watch(moved, lambda: pressed, ended.set) as watching:
            await asyncio.wait_for(ended.wait(), 60)
        return watching.over

    assert asyncio.run(scenario(1, False, 20)) is None
    assert asyncio.run(scenario(0, False, 1000)) == 0.2
    monkeypatch.setattr(watch, "PRESSED_TIMEOUT", 0.1)
    assert asyncio.run(scenario(1, True, 1000)) == 0.1
    assert asyncio.run(scenario(watch.PRESSED_BYTES, True, 20)) is None


async def _settled(done: Callable[[], bool]) -> None:
    """Lets the loop go round until it is."""
    while not done():
        await asyncio.sleep(0)


def test_a_share_of_a_total() -> None:
    """Small commands go by the reserve, then by whichever has room first; who gives up has taken nothing."""

    async def scenario() -> None:
        total = Budget(PAYLOAD)
        share, other = Share(total), Share(total)
        large = await other.take(PAYLOAD)
        small = [await share.take(SMALL_BYTES_MAX) for _ in range(RESERVE_BYTES // SMALL_BYTES_MAX)]
        assert share.reserved == RESERVE_BYTES and total.left == 0 and not other.pressed()
        waits = asyncio.ensure_future(share.take(SMALL_BYTES_MAX))
        await _settled(other.pressed)
        assert not waits.done() and not share.pressed()
        share.give(SMALL_BYTES_MAX, small.pop())
        small.append(await waits)
        gives_up = asyncio.ensure_future(share.take(SMALL_BYTES_MAX))
        await _settled(other.pressed)
        gives_up.cancel()
        await asyncio.wait([gives_up])
        await _settled(lambda: not other.pressed())
        waits = asyncio.ensure_future(share.take(SMALL_BYTES_MAX))
        await _settled(other.pressed)
        other.give(PAYLOAD, large)
        assert await waits is total
        share.give(SMALL_BYTES_MAX, total)
        for taken in small:
            share.give(SMALL_BYTES_MAX, taken)
        assert total.left == PAYLOAD and share.reserved == 0 and total.waiting == 0

    asyncio.run(asyncio.wait_for(scenario(), 60))


@pytest.fixture
def frozen(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The site's store answers no read, and no look for holes or for what a discard has to name, until this is set."""
    goes_on = threading.Event()
    for kind, name in ((Volume, "read"), (CopyExport, "read"), (Store, "presence"), (Store, "named")):
        asked: Callable[..., object] = getattr(kind, name)

        def waits(*arguments: object, asked: Callable[..., object] = asked) -> object:
            assert goes_on.wait(LONG)
            return asked(*arguments)

        monkeypatch.setattr(kind, name, waits)
    with bank.opened():
        yield goes_on
    goes_on.set()


def test_a_frozen_store_holds_up_no_flush(bank: Bank, frozen: threading.Event) -> None:
    """However many reads, looks and discards of live volumes and copies wait for it; new clients come in, too."""
    with bank.opened() as reader, bank.opened("ledger@nightly") as copy, bank.opened() as writer:
        for index in range(64):
            for one, kinds in ((reader, (READ, STATUS, READ, ZEROES)), (copy, (READ, STATUS))):
                one.request(kinds[index % len(kinds)], 4096 * index, 4096)
        for _ in range(5):
            writer.write(0, b"on")
            writer.flush()
        with bank.opened() as newcomer:
            newcomer.write(0, b"in", flags=1)
        frozen.set()
        assert not any(answer.error for one in (reader, copy) for answer in one.answers(64))
        assert reader.read(0, 2) == b"in"


def test_block_status_is_in_the_budget(bank: Bank, frozen: threading.Event) -> None:
    """By what its answer may have: two extents of each block at most, eight bytes each."""
    with bank.opened("ledger@nightly") as client:
        for _ in range(100):
            client.request(STATUS, 0, SIZE)
        assert wait_until(lambda: bank.server.in_flight >= 100 * 8 * (SIZE // 4096), 60)
        frozen.set()
        assert all(len(answer.extents) == 3 for answer in client.answers(100))


def test_a_client_that_is_gone_is_told_nothing_more(bank: Bank, caplog: pytest.LogCaptureFixture) -> None:
    """Of its answers none is tried; asyncio would warn of each from the fifth on."""
    with caplog.at_level(logging.WARNING, "asyncio"):
        with bank.opened() as client:
            for _ in range(60):
                client.request(READ, 0, SIZE)
            assert wait_until(lambda: bank.server.in_flight >= 50 * SIZE, 60)
        assert wait_until(lambda: bank.server.in_flight == 0, 60)
    assert not [record for record in caplog.records if record.name == "asyncio"]
