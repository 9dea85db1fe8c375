"""A worker that is told to stop while Kafka is gone: it ends in bounded time, whatever it waits for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.stack import stack_toml

pytestmark = [pytest.mark.servers, pytest.mark.timeout(200)]

# Some 10 s, and what a loaded machine adds; with questions of 30 s each it took 40 to 60.
BOUND_S = 20.0


@pytest.fixture
def kafka() -> Iterator[KafkaServer]:
    """One to be killed."""
    with KafkaServer() as server:
        yield server


@pytest.mark.parametrize("gone", ["just now", "for a while", "hung"])
def test_sigterm_while_kafka_is_gone(kafka: KafkaServer, tmp_path: Path, gone: str) -> None:
    with RedisServer() as redis:
        file, said = tmp_path / "tidelog.toml", tmp_path / "said"
        file.write_text(stack_toml(kafka.bootstrap_servers, {"osaka": redis.url}))
        command = [sys.executable, "-m", "tidelog", "-c", str(file), "site", "run", "osaka"]
        with said.open("w") as output:
            worker = subprocess.Popen(command, stderr=output)
        try:
            deployment = RealDeployment(Config.load(file, {}))
            deployment.cluster.create_group("bank")
            with open_group("bank", deployment=deployment) as group:
                group.mark("first").wait(timeout=60)
            deployment.close()
            assert kafka.pid is not None
            os.kill(kafka.pid, signal.SIGSTOP if gone == "hung" else signal.SIGKILL)
            if gone == "for a while":
                assert wait_until(lambda: "waiting: " in said.read_text(), timeout_s=60)
            told = time.monotonic()
            worker.terminate()
            assert worker.wait(BOUND_S * 3) == 0
            took = time.monotonic() - told
        finally:
            worker.kill()
            worker.wait()
            if gone == "hung" and kafka.pid is not None:
                os.kill(kafka.pid, signal.SIGCONT)
    assert took < BOUND_S
    assert "has stopped" in said.read_text() and "Traceback" not in said.read_text()
