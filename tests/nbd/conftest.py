"""A server on a deployment in memory, everything real but Kafka and Redis: volume ``ledger``, its copy ``nightly`` and
that one's clone ``drill``."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.nbd.client import Client
from tidelog.config import Config
from tidelog.consumers.deployment import MemoryDeployment
from tidelog.producers.group import Group
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.running import RunningDeployment

SIZE = (1 << 20) + 100  # the last block is not whole
COPIED = bytes(range(256)) * 32


@dataclass
class Bank:
    running: RunningDeployment
    group: Group
    said: list[str] = field(default_factory=list)
    server: RunningNbd = field(init=False)

    def __post_init__(self) -> None:
        self.server = RunningNbd(self.running.deployment, "bank", "tokyo", self.group, say=self.said.append)

    def connect(self, export: str = "ledger", **options: int) -> Client:
        """A client that has not chosen yet."""
        return Client(self.server.uri(export), **options)

    def opened(self, export: str = "ledger", *, structured: bool = True) -> Client:
        """A client of that export."""
        return self.connect(export).go(structured=structured)


@pytest.fixture
def running() -> Iterator[RunningDeployment]:
    """A deployment in memory whose workers and writers are quick to notice and to end."""
    sites = {name: {"redis": {"url": f"redis://memory-{name}"}} for name in ("tokyo", "osaka")}
    config = Config(
        sites=sites,
        worker={"status_interval": 0.1, "poll_timeout": 0.02},
        writer={"heartbeat": 0.2, "write_timeout": 2},
    )
    with RunningDeployment(MemoryDeployment(config)) as running:
        yield running


@pytest.fixture
def bank(running: RunningDeployment) -> Iterator[Bank]:
    running.site("tokyo")
    group = running.group("bank")
    running.wait_for_store("tokyo", "bank")
    ledger = group.create_volume("ledger", SIZE)
    ledger.write(8192, COPIED)
    group.mark("nightly").wait(sites=["tokyo"])
    running.site("tokyo").group("bank").create_clone("nightly", "drill")
    made = Bank(running, group)
    with made.server:
        yield made
