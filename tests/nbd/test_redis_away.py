"""A site's Redis is away while clients choose: nobody is told that there is no such copy."""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.nbd.client import EXPORT_NAME, GO, INFO, LIST, SHUTDOWN, UNKNOWN, Client, chosen_data
from tests.nbd.disk import Disk
from tests.tools import tool
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.processes import RedisServer
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing

pytestmark = pytest.mark.servers


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def copies(tidelog_kafka: KafkaServing, redis: RedisServer, said: list[str]) -> Iterator[RunningNbd]:
    """A server of the copy ``ledger@nightly``, whose site has that Redis."""
    with ExitStack() as ending:
        config = Config(
            prefix=f"test-{uuid.uuid4().hex[:12]}",
            kafka={"bootstrap_servers": tidelog_kafka.bootstrap_servers},
            sites={"tokyo": {"redis": {"url": redis.url, "socket_timeout": 1, "connect_timeout": 1}}},
            worker={"status_interval": 0.2, "poll_timeout": 0.05},
        )
        running = ending.enter_context(RunningDeployment(RealDeployment(config)))
        disk = Disk(running, "bank", ending)
        disk.group.mark("nightly").wait(sites=["tokyo"])
        running.stop_site("tokyo")
        yield ending.enter_context(RunningNbd(running.deployment, "bank", "tokyo", say=said.append))


@pytest.mark.parametrize("away", ["pause", "kill"])
def test_a_copy_that_cannot_be_asked_for(copies: RunningNbd, redis: RedisServer, said: list[str], away: str) -> None:
    """Frozen or gone: another error than of a copy that is not there, with the reason, which the server says, too. A
    frozen one that goes on gives the copy to the same connection."""
    with Client(copies.uri("ledger@nightly")) as client:
        ((missing, _),) = client.option(INFO, chosen_data("ledger@nothing"))
        assert missing == UNKNOWN and not said
        getattr(redis, away)()
        for option, data in ((INFO, chosen_data("ledger@nightly")), (GO, chosen_data("ledger@nightly")), (LIST, b"")):
            ((kind, why),) = client.option(option, data)
            assert kind == SHUTDOWN and b"Redis" in why
        assert ["ledger@nightly" in line for line in said] == [True, True, False]
        assert all(line.startswith("a client is refused") and "Redis" in line for line in said), said
        shown = subprocess.run(
            [tool("nbdinfo"), copies.uri("ledger@nightly")], capture_output=True, text=True, timeout=60, check=False
        )
        assert shown.returncode != 0 and "no export" not in shown.stderr, shown.stderr
        said.clear()
        with Client(copies.uri("ledger@nightly")) as old:
            old.send_option(EXPORT_NAME, b"ledger@nightly")
            assert old.left()
        (line,) = said
        assert line.startswith("a client is refused ledger@nightly: ") and "Redis" in line
        if away == "pause":
            redis.resume()
            assert client.go().size


def test_an_unknown_name_by_the_old_option(copies: RunningNbd, said: list[str]) -> None:
    """The client cannot be told, so the server says it."""
    with Client(copies.uri("ledger@nothing")) as client:
        client.send_option(EXPORT_NAME, b"ledger@nothing")
        assert client.left()
    (line,) = said
    assert line.startswith("a client is refused ledger@nothing: ") and "no copy" in line
