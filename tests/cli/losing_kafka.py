"""An operator whose Kafka is to be lost: a broker of the test's own, and timeouts that are soon over."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.operating import Operator, operating
from tidelog.testing.processes import KafkaServer, RedisServer


@contextmanager
def kafka_to_lose() -> Iterator[KafkaServer]:
    """One to be killed or stopped; it is let go on before it is ended."""
    with KafkaServer() as server:
        yield server
        if server.pid is not None:
            os.kill(server.pid, signal.SIGCONT)


@contextmanager
def operator_on(kafka: KafkaServer, folder: Path, write_timeout: str) -> Iterator[Operator]:
    """At tokyo alone, on a Redis of its own, with the group ``bank``."""
    with RedisServer() as redis, operating(folder, kafka.bootstrap_servers, {"tokyo": redis.url}) as made:
        timeouts = f'[writer]\nwrite_timeout = "{write_timeout}"\n[kafka]\nconnect_timeout = "2s"\n'
        timeouts += 'request_timeout = "3s"\n'
        made.config.write_text(made.config.read_text().replace("[kafka]\n", timeouts))
        made.ok("group", "create", "bank")
        yield made
