"""Servers to test: in memory, everything real but Kafka and Redis; and as processes, by the command line."""

import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Self

import pytest

from tests.cli.operating import Command, Operator, operating
from tests.nbd.client import Client
from tests.nbd.disk import Disk
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import MemoryDeployment, RealDeployment
from tidelog.gateways.nbd.address import UnixAddress
from tidelog.producers.group import Group
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing, RedisServing

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


@pytest.fixture(scope="module")
def operator(
    tmp_path_factory: pytest.TempPathFactory,
    tidelog_kafka: KafkaServing,
    tidelog_site_redis: Callable[[str], RedisServing],
) -> Iterator[Operator]:
    """With real servers, at tokyo and osaka, a worker of each running: commands in processes of their own."""
    urls = {site: tidelog_site_redis(site).url for site in ("tokyo", "osaka")}
    with operating(tmp_path_factory.mktemp("nbd"), tidelog_kafka.bootstrap_servers, urls) as made:
        made.config.write_text(made.config.read_text() + '[worker]\nstatus_interval = "200ms"\n')
        for site in urls:
            made.work(site)
        yield made


@pytest.fixture
def bank_of_its_own(operator: Operator) -> str:
    """A group that both sites serve, with the volume ``ledger`` of 16 MiB: its name."""
    name = f"bank-{uuid.uuid4().hex[:8]}"
    with RunningDeployment(RealDeployment(Config.load(operator.config, {}))) as running:
        running.deployment.cluster.create_group(name)
        with open_group(name, deployment=running.deployment) as group:
            group.create_volume("ledger", "16MiB")
            group.flush(applied_at=2, timeout=60)
    return name


class Served:
    """`tidelog serve nbd` as a process, on a socket of its own."""

    def __init__(self, operator: Operator, group: str, *options: str, name: str = "nbd") -> None:
        self.path = operator.folder / f"{group}-{name}.sock"
        self.command = Command(operator.line("serve", "nbd", "-g", group, "--socket", str(self.path), *options))

    @property
    def pid(self) -> int:
        return self.command.popen.pid

    @property
    def said(self) -> str:
        return self.command.err.decode()

    def uri(self, export: str) -> str:
        return UnixAddress(self.path).uri(export)

    def ready(self) -> Self:
        """Waits until clients can connect; fails if it ends before."""
        self.says("nbd+unix")
        return self

    def says(self, text: str) -> None:
        self.command.reaches(lambda: text in self.said, text)

    def opened(self, export: str = "ledger") -> Client:
        return Client(self.uri(export)).go()

    def ends(self) -> int:
        """Waits for the end; the exit code."""
        code = self.command.popen.wait(90)
        self.command.gathered()
        assert "Traceback" not in self.said, self.said
        return code

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.command.popen.send_signal(number)
        return self.ends()


Serve = Callable[..., Served]


@pytest.fixture
def serve(operator: Operator, bank_of_its_own: str) -> Iterator[Serve]:
    """Starts servers of `bank_of_its_own`, and ends what is left of them."""
    started: list[Served] = []

    def start(*options: str, name: str = "nbd") -> Served:
        started.append(Served(operator, bank_of_its_own, *options, name=name))
        return started[-1]

    yield start
    for one in started:
        one.command.kill()


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.servers)])
def disk(request: pytest.FixtureRequest) -> Iterator[Disk]:
    kind = "tidelog_memory_deployment" if request.param == "memory" else "tidelog_deployment"
    with ExitStack() as ending:
        yield Disk(request.getfixturevalue(kind), f"bank-{uuid.uuid4().hex[:8]}", ending)


@pytest.fixture
def memory_disk(tidelog_memory_deployment: RunningDeployment) -> Iterator[Disk]:
    with ExitStack() as ending:
        yield Disk(tidelog_memory_deployment, "bank", ending)
