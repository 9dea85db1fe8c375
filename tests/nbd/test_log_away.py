"""The log is away, and comes back: errors in time, no hang, no flush that covers what was lost; and never over somebody
else's session."""

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.losing_kafka import kafka_to_lose, operator_on
from tests.cli.operating import Operator
from tests.nbd.client import EIO, ESHUTDOWN, FLUSH, FUA, READ, WRITE, ZEROES, Client
from tests.nbd.conftest import Bank, Served
from tidelog.consumers.access import open_group
from tidelog.errors import Fenced
from tidelog.gateways.nbd.writer import Writer
from tidelog.producers.memory_log import MemoryLog
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.processes import KafkaServer
from tidelog.testing.readiness import wait_until


@pytest.fixture
def server(bank: Bank) -> Iterator[RunningNbd]:
    """One that opens the group again by itself."""
    deployment, said = bank.running.deployment, bank.said
    reopen = partial(open_group, "bank", deployment=deployment)
    writer = Writer(open_group("bank", deployment=deployment), lambda plan: reopen(plan=plan))
    with RunningNbd(deployment, "bank", "tokyo", writer, say=said.append) as running:
        yield running
    writer.abandon()


@pytest.fixture
def log(bank: Bank) -> MemoryLog:
    cluster = bank.running.deployment.cluster
    found = cluster.log(cluster.find_group("bank"))
    assert isinstance(found, MemoryLog)
    return found


def test_errors_in_time_and_back_again(bank: Bank, server: RunningNbd, log: MemoryLog) -> None:
    """A flush fails after the write timeout, and so does all that follows on that connection, which ends when the log
    is back: it must not take a later flush for its own. Copies are read all the while."""
    with Client(server.uri("ledger")).go() as client, Client(server.uri("ledger@nightly")).go() as copy:
        client.write(0, b"flushed")
        client.flush()
        log.cut_off()
        lost = client.call(WRITE, 0, 4, b"lost")
        assert lost.error == 0
        assert client.call(FLUSH).error == EIO
        assert client.call(WRITE, 0, 4, b"more").error == client.call(READ, 0, 4).error == EIO
        assert copy.read(8192, 1) == b"\0"
        with Client(server.uri("ledger")) as other, pytest.raises(LookupError, match="confirmed nothing"):
            other.go()
        log.restore()
        assert wait_until(lambda: any("the log is back" in line for line in bank.said), 60), bank.said
        assert client.left()
        assert copy.read(8192, 1) == b"\0"
    with Client(server.uri("ledger")).go() as again:
        assert again.read(0, 7) in (b"flushed", b"losthed")  # what was not flushed may or may not be there
        again.write(0, b"anew", flags=1)
        assert again.read(0, 4) == b"anew"
    assert server.running


def test_a_write_with_fua_waits_for_the_log(server: RunningNbd, log: MemoryLog) -> None:
    """Also a discard, and one of what was never written; without FUA none does."""
    for command, data, offset in ((WRITE, b"data", 0), (ZEROES, b"", 0), (ZEROES, b"", 1 << 19)):
        with Client(server.uri("ledger")).go() as client:
            log.hold()
            assert client.call(command, offset, 4, data).error == 0
            durable = client.request(command, offset, 4, data, FUA)
            plain = client.request(command, offset + 4096, 4, data)
            assert client.answer().cookie == plain
            log.release()
            assert client.answer()[:2] == (durable, 0)


def test_a_flush_covers_every_connection(bank: Bank, log: MemoryLog) -> None:
    """Which is what CAN_MULTI_CONN promises: while the log holds what one has written, the other's flush waits, and
    nothing else of its connection does."""
    deployment = bank.running.deployment
    patient = deployment.config.writer.model_copy(update={"write_timeout": 120.0})
    deployment.config = deployment.config.model_copy(update={"writer": patient})
    writer = Writer(open_group("bank", deployment=deployment))
    with (
        RunningNbd(deployment, "bank", "tokyo", writer) as server,
        Client(server.uri("ledger")).go() as first,
        Client(server.uri("ledger")).go() as second,
    ):
        log.hold()
        first.write(0, b"first")
        flush = second.request(FLUSH)
        assert wait_until(lambda: bool(log.pending), 60)
        for _ in range(50):
            cookie = second.request(READ, 8192, 1)
            assert second.answer().cookie == cookie
        assert log.pending
        log.release()
        assert second.answer()[:2] == (flush, 0)
        assert not log.pending
    writer.close()


def test_a_full_buffer_holds_up_nobody_else(bank: Bank, log: MemoryLog) -> None:
    """Writes beyond what the session buffers wait for the log, and a client of a copy does not."""
    deployment = bank.running.deployment
    small = deployment.config.writer.model_copy(update={"buffer_bytes": 1 << 20, "write_timeout": 120.0})
    deployment.config = deployment.config.model_copy(update={"writer": small})
    writer, count = Writer(open_group("bank", deployment=deployment)), 60
    with (
        RunningNbd(deployment, "bank", "tokyo", writer) as server,
        Client(server.uri("ledger")).go() as client,
        Client(server.uri("ledger@nightly")).go() as copy,
    ):
        log.hold()
        for _ in range(count):
            client.request(WRITE, 0, 65536, b"x" * 65536)
        assert wait_until(lambda: not writer.group.session.ready, 60)
        assert copy.read(8192, 1) == b"\0"
        assert log.pending and not writer.error
        log.release()
        assert not any(answer.error for answer in client.answers(count))
    writer.close()


def test_never_over_another_session(bank: Bank, server: RunningNbd, log: MemoryLog) -> None:
    """Somebody has opened the group while the log did not answer here: the server ends, and leaves it alone."""
    with Client(server.uri("ledger")).go() as client:
        log.hold()
        client.write(0, b"held")
        assert client.call(FLUSH).error == EIO
        other = threading.Thread(target=_open_elsewhere, args=(bank, opened := []))
        other.start()
        log.release()
        other.join(60)
        assert wait_until(lambda: not server.running, 60), bank.said
    assert isinstance(server.error, Fenced)
    (session,) = opened
    session.flush()  # nobody has fenced it
    session.close()


def _open_elsewhere(bank: Bank, opened: list[object]) -> None:
    opened.append(open_group("bank", deployment=bank.running.deployment))


def test_a_fenced_session(bank: Bank, server: RunningNbd) -> None:
    """What is written then is refused, at its flush at the latest; the server ends with what has fenced it."""
    with Client(server.uri("ledger")).go() as client:
        client.write(0, b"flushed")
        client.flush()
        with open_group("bank", deployment=bank.running.deployment) as other:
            assert client.call(WRITE, 0, 4, b"late").error in (0, ESHUTDOWN)
            answer = client.call(FLUSH)
            assert answer.error == ESHUTDOWN and b"fenced" in answer.data
            assert wait_until(lambda: not server.running, 60)
            assert other.volume("ledger").read(0, 7) == b"flushed"
        assert client.left()
    assert isinstance(server.error, Fenced)


@pytest.fixture
def kafka() -> Iterator[KafkaServer]:
    """One to be stopped."""
    with kafka_to_lose() as server:
        yield server


@pytest.fixture
def operator_of_its_own(kafka: KafkaServer, tmp_path: Path) -> Iterator[Operator]:
    with operator_on(kafka, tmp_path, "5s") as made:
        made.work("tokyo")
        made.ok("volume", "create", "ledger", "-g", "bank", "--size", "1MiB")
        yield made


@pytest.mark.servers
@pytest.mark.slow
def test_a_real_kafka_stands_still_and_goes_on(kafka: KafkaServer, operator_of_its_own: Operator) -> None:
    """The same of a broker that is stopped: the server as a process lives, and serves again when that does."""
    served = Served(operator_of_its_own, "bank")
    try:
        with served.ready().opened() as client:
            client.write(0, b"flushed")
            client.flush()
            kafka.pause()
            client.write(0, b"lost")
            assert client.call(FLUSH).error == EIO
            served.says("writes and flushes fail")
            kafka.resume()
            served.says("the log is back")
            assert client.left()
        with served.opened() as again:
            again.write(0, b"anew", flags=1)
            assert again.read(0, 7) == b"anewhed"
        assert served.end() == 0
    finally:
        served.command.kill()
