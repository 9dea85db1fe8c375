"""SIGKILL of a writer with a sidefile, while Kafka is away and in a drain: what was flushed is in the log, once."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.child import WRITES_PER_FLUSH
from tests.faults.folded import all_equal
from tests.producers.sidefile_lab import Changes
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.worker import SiteWorker
from tidelog.producers.sidefile_folder import active_path, summary
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.processes import KafkaServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.servers import RedisServing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

# Killed while Kafka is away; and once it answers again, by the writer itself or by the next one.
SPOOLING = [("before-create", 1), ("after-create", 1), ("before-append", 3), ("after-append", 4), ("before-sync", 2)]
DRAINING = [("before-plan", 1), ("after-plan", 1), ("after-drain", 1), ("before-drain", 4), ("before-remove", 1)]
HANDING_OVER = [("before-finish", 1), ("before-adopt", 1), ("after-remove", 1), ("after-adopt", 1)]


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaServer]:
    """One to be paused."""
    with KafkaServer() as server:
        yield server
        server.resume()


class Life:
    """A group on a Kafka that is paused and resumed, and its writers, one after another."""

    def __init__(self, kafka: KafkaServer, redis: RedisServing, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder / "sidefiles"
        self.folder.mkdir()
        self.group = f"g-{uuid.uuid4().hex[:8]}"
        self.file = folder / "tidelog.toml"
        self.file.write_text(
            f'prefix = "test-{uuid.uuid4().hex[:8]}"\n[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\n'
            f'request_timeout = "3s"\nconnect_timeout = "3s"\n[sites.tokyo.redis]\nurl = "{redis.url}"\n'
            f'[groups.{self.group}]\nsidefile = "{self.folder}"\nsidefile_after = "500ms"\n'
        )
        self.deployment = RealDeployment(Config.load(self.file, {}))
        self.record = self.deployment.cluster.create_group(self.group)
        self.first = 1
        self.lines: list[list[str]] = []

    def start(self, point: str, nth: int) -> "subprocess.Popen[str]":
        launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
        command = [sys.executable, "-m", "tests.crash.sidefile_child", str(self.file), self.group, point, str(nth)]
        return subprocess.Popen(
            [*launcher, *command, str(self.first)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )

    def flushes(self, child: "subprocess.Popen[str]", count: int) -> None:
        """Reads what it says until so many flushes have reached the log, or it has ended."""
        assert child.stdout is not None
        while count and (line := child.stdout.readline()):
            self.lines.append(line.split())
            count -= self.lines[-1][1] == "IN_LOG"

    def spools(self, writes: int) -> None:
        """Waits until so many stand in the sidefile, whatever has been said of flushes before Kafka was paused."""
        path, codec = active_path(self.folder, self.group), self.deployment.cluster.codec(self.record)

        def there() -> bool:
            found = summary(path, codec)
            return found is not None and found.writes >= writes

        assert wait_until(there, timeout_s=60)

    def ends(self, child: "subprocess.Popen[str]", point: str) -> None:
        assert child.stdout is not None
        self.lines += [line.split() for line in child.stdout]
        assert child.wait(60) == -signal.SIGKILL, f"{point} was not reached"

    def changes(self) -> list[int]:
        """The numbers of the writes that count."""
        log = self.deployment.cluster.log(self.record)
        reader = log.reader(0)
        values = [(found.offset, found.value) for found in reader.records(log.bounds().end, 30)]
        reader.close()
        log.close()
        folded = Changes(self.record.group_id).fold(values)
        return [int.from_bytes(data[:8], "big") for _, _, data in folded.changes if isinstance(data, bytes)]

    def settle(self) -> None:
        """Opened again, and everything is there that a flush had returned for, once, and of the rest a prefix."""
        with open_group(self.group, deployment=self.deployment):
            found = self.changes()
        flushed = int(self.lines[-1][0]) if self.lines else 0
        assert found == list(range(1, len(found) + 1))
        assert flushed <= len(found) <= flushed + WRITES_PER_FLUSH
        assert list(self.folder.iterdir()) == []
        self.first = len(found) + 1

    def ends_equal(self) -> None:
        """A copy behind it all, and a site that applies the log: it is the fold, with the copy."""
        with open_group(self.group, deployment=self.deployment) as group:
            group.mark("after")
        worker = SiteWorker(self.deployment, "tokyo", SoleWorker, [self.group])
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        try:
            assert list(all_equal(self.deployment, self.group, ["tokyo"]).copies)
        finally:
            worker.stop()
            thread.join(60)

    def outage(self, point: str, nth: int) -> "subprocess.Popen[str]":
        """A writer into whose work an outage falls."""
        child = self.start(point, nth)
        self.flushes(child, 3)
        self.kafka.pause()
        return child


@pytest.fixture
def life(kafka: KafkaServer, tidelog_redis: RedisServing, tmp_path: Path) -> Iterator[Life]:
    made = Life(kafka, tidelog_redis, tmp_path)
    yield made
    kafka.resume()
    made.deployment.close()


def test_killed_while_kafka_is_away(life: Life) -> None:
    """At each point, one outage after another on one log."""
    for point, nth in SPOOLING:
        child = life.outage(point, nth)
        life.ends(child, point)
        life.kafka.resume()
        life.settle()
    assert {where for _, where in life.lines} == {"IN_LOG", "IN_SIDEFILE"}
    life.ends_equal()


def test_killed_while_the_next_one_drains(life: Life) -> None:
    """One drain, in which one process after another dies, each at another point."""
    child = life.outage("before-flush", 1_000_000)
    life.spools(12 * WRITES_PER_FLUSH)
    child.kill()
    life.lines += [line.split() for line in child.communicate()[0].splitlines()]
    life.kafka.resume()
    for point, nth in DRAINING:
        drainer = life.start(point, nth)
        assert drainer.stdout is not None and drainer.stdout.read() == ""
        assert drainer.wait(60) == -signal.SIGKILL, f"{point} was not reached"
    assert wait_until(lambda: (life.folder / f"{life.group}.sidefile").exists(), timeout_s=5)
    life.settle()
    life.ends_equal()


def test_killed_while_it_hands_over(life: Life) -> None:
    """In the writer that goes on itself once Kafka answers."""
    for point, nth in [*HANDING_OVER, ("after-drain", 3)]:
        child = life.outage(point, nth)
        life.spools(5 * WRITES_PER_FLUSH)
        life.kafka.resume()
        life.ends(child, point)
        life.settle()
    life.ends_equal()
