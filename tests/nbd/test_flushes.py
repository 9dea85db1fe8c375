"""Flushes that share one: how many there are, and that none is answered by one that began before it came."""

import asyncio
from collections.abc import Callable

import pytest

from tests.nbd.client import EIO, FLUSH, WRITE, Client
from tests.nbd.conftest import Bank
from tidelog.consumers.access import open_group
from tidelog.gateways.nbd import flushes as flushing
from tidelog.gateways.nbd.exports import LiveExport
from tidelog.gateways.nbd.flushes import Flushes
from tidelog.producers.memory_log import MemoryLog
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.readiness import wait_until


class Log:
    """Confirms when told to: what each flush waits for, in the order in which they began."""

    def __init__(self, *, soon: bool) -> None:
        self.begun: list[asyncio.Future[None]] = []
        self._soon = soon  # whether a flush can begin without waiting
        self.waited = 0

    def flush_soon(self, tell: Callable[[bool], None]) -> bool:
        if self._soon:
            self._begin().add_done_callback(lambda done: tell(done.exception() is None))
        return self._soon

    async def flush(self) -> None:
        self.waited += 1
        await (self.begun[-1] if self._soon else self._begin())

    def _begin(self) -> asyncio.Future[None]:
        self.begun.append(asyncio.get_running_loop().create_future())
        return self.begun[-1]


async def turn() -> None:
    """Until nothing is left to be done at once."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("soon", [True, False])
def test_the_next_one_covers_all_that_came_meanwhile(soon: bool) -> None:
    """And begins once the one before has ended; then there is none until somebody wants one."""

    async def run() -> None:
        log = Log(soon=soon)
        flushes = Flushes(log, log.flush)
        answers: list[Exception | None] = []
        for wave, done in enumerate((0, 1, 5)):  # the first of a wave's five begins one only where none is under way
            for _ in range(5):
                flushes.flush(answers.append)
                await turn()
            assert (len(log.begun), len(answers)) == (wave + 1, done)
            log.begun[wave].set_result(None)
            await turn()
        log.begun[3].set_result(None)
        await turn()
        assert answers == [None] * 15 and len(log.begun) == 4
        flushes.flush(answers.append)
        await turn()
        assert len(log.begun) == 5 and len(answers) == 15
        log.begun[4].set_result(None)
        await turn()
        assert answers == [None] * 16 and log.waited == (0 if soon else 5)

    asyncio.run(run())


@pytest.mark.parametrize("soon", [True, False])
def test_an_error_is_everybodys(soon: bool) -> None:
    """As the flush that waits says it. The one behind is tried all the same."""

    async def run() -> None:
        log = Log(soon=soon)
        flushes = Flushes(log, log.flush)
        answers: list[Exception | None] = []
        flushes.flush(answers.append)
        await turn()
        for _ in range(2):
            flushes.flush(answers.append)
        log.begun[0].set_exception(OSError("lost"))
        await turn()
        assert [str(answer) for answer in answers] == ["lost"] and len(log.begun) == 2
        log.begun[1].set_exception(OSError("lost again"))
        await turn()
        assert [str(answer) for answer in answers] == ["lost", "lost again", "lost again"] and log.waited == 2

    asyncio.run(run())


def test_a_log_that_takes_long_is_waited_for_on_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits there knows what hinders it. A word that comes later than that does no harm."""
    monkeypatch.setattr(flushing, "SOON", 0.01)

    async def run() -> None:
        log = Log(soon=True)
        answered = asyncio.Event()
        Flushes(log, log.flush).flush(lambda _: answered.set())
        while not log.waited:
            await asyncio.sleep(0.001)
        assert not answered.is_set()
        log.begun[0].set_result(None)
        await asyncio.wait_for(answered.wait(), 60)

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
