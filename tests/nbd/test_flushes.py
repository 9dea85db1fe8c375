"""Flushes that share one: how many there are, and that none is answered by one that began before it came."""

import asyncio

import pytest

from tests.nbd.client import EIO, FLUSH, WRITE, Client
from tests.nbd.conftest import Bank
from tidelog.consumers.access import open_group
from tidelog.gateways.nbd.exports import LiveExport
from tidelog.gateways.nbd.flushes import Flushes
from tidelog.producers.memory_log import MemoryLog
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.readiness import wait_until


class Log:
    """Confirms when told to: what each flush waits for, in the order in which they began."""

    def __init__(self) -> None:
        self.begun: list[asyncio.Future[None]] = []

    async def flush(self) -> None:
        self.begun.append(asyncio.get_running_loop().create_future())
        await self.begun[-1]


async def turn() -> None:
    """Until nothing is left to be done at once."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_next_one_covers_all_that_came_meanwhile() -> None:
    """And begins once the one before has ended; then there is none until somebody wants one."""

    async def run() -> None:
        log = Log()
        flushes = Flushes(log.flush)
        came: list[asyncio.Task[None]] = []
        for wave, done in enumerate((0, 1, 5)):  # the first of a wave's five begins one only where none is under way
            came += [asyncio.ensure_future(flushes.flush()) for _ in range(5)]
            await turn()
            assert len(log.begun) == wave + 1
            assert [task.done() for task in came] == [True] * done + [False] * (5 * wave + 5 - done)
            log.begun[wave].set_result(None)
            await turn()
        log.begun[3].set_result(None)
        await turn()
        assert all(task.done() for task in came) and len(log.begun) == 4
        last = asyncio.ensure_future(flushes.flush())
        await turn()
        assert len(log.begun) == 5 and not last.done()
        log.begun[4].set_result(None)
        await last

    asyncio.run(run())


def test_an_error_is_everybodys_and_who_leaves_takes_it_from_nobody() -> None:
    """The flush behind one that failed is tried all the same."""

    async def run() -> None:
        log = Log()
        flushes = Flushes(log.flush)
        first, gone, second, third = (asyncio.ensure_future(flushes.flush()) for _ in range(4))
        await turn()
        gone.cancel()
        log.begun[0].set_exception(OSError("lost"))
        await turn()
        assert isinstance(first.exception(), OSError) and len(log.begun) == 2
        assert not second.done() and not third.done()
        log.begun[1].set_exception(OSError("lost again"))
        await turn()
        assert str(second.exception()) == str(third.exception()) == "lost again"

    asyncio.run(run())


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each flush of the group."""
    calls: list[int] = []
    original = LiveExport.flush

    def told(export: LiveExport) -> None:
        calls.append(1)
        original(export)

    monkeypatch.setattr(LiveExport, "flush", told)
    return calls


def test_a_flush_behind_every_write(bank: Bank, flushed: list[int]) -> None:
    """As fio sends them: all are answered when the log is there, none before, and the log is asked a few times."""
    deployment = bank.running.deployment
    cluster = deployment.cluster
    log = cluster.log(cluster.find_group("bank"))
    assert isinstance(log, MemoryLog)
    writer = deployment.config.writer.model_copy(update={"write_timeout": 120.0})
    deployment.config = deployment.config.model_copy(update={"writer": writer})
    group = open_group("bank", deployment=deployment)
    with RunningNbd(deployment, "bank", "tokyo", group) as server, Client(server.uri("ledger")).go() as client:
        log.hold()
        writes, flushes = set(), set()
        for number in range(40):
            writes.add(client.request(WRITE, number * 4096, 4, b"data"))
            flushes.add(client.request(FLUSH))
        assert {client.answer().cookie for _ in writes} == writes
        assert wait_until(lambda: bool(log.pending), 60)
        log.release()
        answers = [client.answer() for _ in flushes]
        assert {answer.cookie for answer in answers} == flushes and not any(answer.error for answer in answers)
        assert len(flushed) <= 3 and not log.pending  # the last ones may not have been read yet
        log.cut_off()
        lost = [client.request(FLUSH) for _ in range(5)]
        client.request(WRITE, 0, 4, b"lost")
        lost += [client.request(FLUSH) for _ in range(5)]
        group.abandon()
        answers = [client.answer() for _ in range(11)]
        assert {answer.cookie for answer in answers if answer.error in (EIO, 108)} >= set(lost[5:])
