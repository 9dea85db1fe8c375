"""Logs and clusters, in memory and on a real Kafka, for one contract."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest
from kafka import TopicPartition

from tidelog.config import Config
from tidelog.producers.cluster import Cluster, KafkaCluster, MemoryCluster
from tidelog.producers.kafka_clients import open_admin
from tidelog.producers.kafka_log import KafkaLog
from tidelog.producers.kafka_topics import LOG_RULES, make_topic
from tidelog.producers.log import Appender, Log
from tidelog.producers.memory_log import MemoryLog
from tidelog.testing.servers import KafkaServing

_numbers = itertools.count()
_RUN = f"t{time.time_ns()}"


def kafka_config(server: KafkaServing, **options: object) -> Config:
    """A configuration with a prefix of its own, so that no test meets another's topics."""
    quick = {"request_timeout": 5, "connect_timeout": 5} | options
    return Config(prefix=f"{_RUN}-{next(_numbers)}", kafka={"bootstrap_servers": server.bootstrap_servers, **quick})


@pytest.fixture(scope="session")
def config_for() -> Callable[..., Config]:
    """Makes configurations for a server."""
    return kafka_config


@pytest.fixture
def config(tidelog_kafka: KafkaServing) -> Config:
    """How to reach the session's Kafka."""
    return kafka_config(tidelog_kafka)


@dataclass
class Subject:
    """A fresh, empty log under test; what differs between kinds is done here."""

    log: Log
    trim: Callable[[int], None]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.servers)])
def kind(request: pytest.FixtureRequest) -> str:
    """Which implementation."""
    return str(request.param)


@pytest.fixture
def subject(kind: str, request: pytest.FixtureRequest) -> Iterator[Subject]:
    """A fresh log."""
    if kind == "memory":
        memory = MemoryLog()
        yield Subject(memory, memory.trim)
        return
    config = request.getfixturevalue("config")
    topic = f"{config.prefix}.log"
    with closing(open_admin(config)) as admin, closing(KafkaLog(config, topic)) as log:
        make_topic(admin, config, topic, LOG_RULES)
        yield Subject(log, lambda offset: admin.delete_records({TopicPartition(topic, 0): offset}))


@pytest.fixture
def log(subject: Subject) -> Log:
    """A fresh log."""
    return subject.log


@pytest.fixture
def cluster(kind: str, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A fresh cluster, or a prefix of its own on the real one."""
    with ExitStack() as stack:
        made = MemoryCluster() if kind == "memory" else KafkaCluster(request.getfixturevalue("config"))
        yield stack.enter_context(made)


class Acks:
    """Collects what an appender calls back."""

    def __init__(self) -> None:
        self.results: list[tuple[int, Exception | None]] = []
        self._changed = threading.Condition()

    def __call__(self, offset: int, error: Exception | None) -> None:
        with self._changed:
            self.results.append((offset, error))
            self._changed.notify_all()

    def wait(self, count: int, timeout: float = 10) -> list[tuple[int, Exception | None]]:
        """The results, once there are ``count``."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.results) >= count, timeout), self.results
            return list(self.results)

    @property
    def offsets(self) -> list[int]:
        """Of the results so far."""
        return [offset for offset, _ in self.results]

    @property
    def errors(self) -> list[Exception]:
        """Of the results so far."""
        return [error for _, error in self.results if error is not None]


@pytest.fixture
def acks() -> Acks:
    """A collector of acknowledgements."""
    return Acks()


@pytest.fixture
def fill(log: Log) -> Callable[..., list[int]]:
    """Appends values, and gives their offsets once they are in the log."""

    def append(*values: bytes) -> list[int]:
        acks = Acks()
        appender: Appender = log.appender()
        for value in values:
            appender.send(value, acks)
        appender.close(10)
        assert not acks.errors
        return acks.offsets

    return append


@pytest.fixture(scope="module")
def own_kafka() -> Iterator[KafkaServing]:
    """A Kafka of the module's own, to stop, kill and pause."""
    from tidelog.testing.processes import KafkaServer

    with KafkaServer() as server:
        yield server
