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

# Some 6 s, the end of the process included, and what a loaded machine adds; waiting for others that wait for Kafka it
# took 18 to 25.
BOUND_S = 12.0


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
                time.sleep(6)  # it is asked again and again, and answers in more than one way
                assert said.read_text().count("waiting: ") == 1
                assert "it goes on by itself: bank at sequence " in said.read_text()
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


def test_a_line_when_kafka_goes_and_a_line_when_it_is_back(kafka: KafkaServer, tmp_path: Path) -> None:
    """And none of kafka-python's, nor another cause in between."""
    with RedisServer() as redis:
        file, said = tmp_path / "tidelog.toml", tmp_path / "said"
        file.write_text(stack_toml(kafka.bootstrap_servers, {"osaka": redis.url}))
        deployment = RealDeployment(Config.load(file, {}))
        deployment.cluster.create_group("bank")
        command = [sys.executable, "-m", "tidelog", "-c", str(file), "site", "run", "osaka", "--sole"]
        with said.open("w") as output:
            worker = subprocess.Popen(command, stderr=output)
        try:
            with open_group("bank", deployment=deployment) as group:
                group.mark("first").wait(timeout=60)
            deployment.close()
            kafka.kill()
            assert wait_until(lambda: "waiting: " in said.read_text(), timeout_s=60)
            kafka.start()
            assert wait_until(lambda: "reachable again, after " in said.read_text(), timeout_s=120)
            worker.terminate()
            assert worker.wait(60) == 0
        finally:
            worker.kill()
            worker.wait()
    lines = said.read_text().splitlines()
    assert all(line.startswith("20") and " " in line for line in lines), lines
    # A Kafka that has just come back may not answer a worker that leaves, which is said again then.
    before = lines[: next(at for at, line in enumerate(lines) if "SIGTERM" in line)]
    assert [line.count("waiting: ") for line in before].count(1) == 1, "\n".join(lines)
    assert [line.count("reachable again") for line in before].count(1) == 1, "\n".join(lines)
