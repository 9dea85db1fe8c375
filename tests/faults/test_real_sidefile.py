"""A real Kafka is stopped and started again under a writer with a sidefile; and another writer takes over meanwhile."""

import base64
import json
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.folded import all_equal
from tests.producers.sidefile_lab import Changes
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.errors import SidefileLost
from tidelog.gateways.cli import main
from tidelog.producers.durability import Durability
from tidelog.producers.sidefile_folder import active_path, summary
from tidelog.producers.sidefile_group import SidefileGroup
from tidelog.testing.processes import KafkaServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import RedisServing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
# Writes and flushes, and says what became of each; goes on in the log or out of it.
WRITER = """
import sys, time, tidelog
group = tidelog.open_group(sys.argv[2], config=sys.argv[1])
volume = group.create_volume("ledger", "1MiB")
count = 0
try:
    while True:
        volume.write(0, b"%08d" % count)
        print(count, group.flush().name, flush=True)
        count += 1
        time.sleep(0.02)
except tidelog.TidelogError as error:
    print(count, type(error).__name__, error, flush=True)
"""


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaServer]:
    """One to be stopped."""
    with KafkaServer() as server:
        yield server


class Scene:
    """A worker at tokyo, and a group with a sidefile."""

    def __init__(self, kafka: KafkaServer, redis: RedisServing, folder: Path) -> None:
        self.kafka, self.folder = kafka, folder / "sidefiles"
        self.folder.mkdir()
        self.group = f"g-{uuid.uuid4().hex[:8]}"
        self.file = folder / "tidelog.toml"
        self.file.write_text(
            f'prefix = "test-{uuid.uuid4().hex[:8]}"\n[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\n'
            f'request_timeout = "4s"\nconnect_timeout = "4s"\n[sites.tokyo.redis]\nurl = "{redis.url}"\n'
            f'[worker]\nstatus_interval = "200ms"\n[writer]\nwrite_timeout = "60s"\n'
            f'[groups.{self.group}]\nsidefile = "{self.folder}"\nsidefile_after = "1s"\n'
        )
        self.running = RunningDeployment(RealDeployment(Config.load(self.file, {})))
        self.record = self.running.deployment.cluster.create_group(self.group)
        self.codec = self.running.deployment.cluster.codec(self.record)

    def folded(self) -> Changes:
        log = self.running.deployment.cluster.log(self.record)
        reader = log.reader(0)
        values = [(found.offset, found.value) for found in reader.records(log.bounds().end, 60)]
        reader.close()
        log.close()
        return Changes(self.record.group_id).fold(values)

    def spooled(self) -> int:
        """How many writes stand in the sidefile now."""
        found = summary(active_path(self.folder, self.group), self.codec)
        return 0 if found is None else found.writes

    def tidelog(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["-c", str(self.file), *arguments])
        return code, capsys.readouterr().out


@pytest.fixture
def scene(kafka: KafkaServer, tidelog_site_redis, tmp_path: Path) -> Iterator[Scene]:
    kafka.start()  # a test that failed may have left it stopped
    made = Scene(kafka, tidelog_site_redis("tokyo"), tmp_path)
    yield made
    made.running.close()


def load(group: SidefileGroup, stop: threading.Event, written: list[int], number: int, seen: set[Durability]) -> None:
    volume, count = group.volume("ledger"), 0
    while not stop.is_set():
        volume.write(number * 4096, b"%d:%08d" % (number, count) * 100)
        count += 1
        if count % 5 == 0:
            seen.add(group.flush())
    written[number] = count


def test_kafka_is_stopped_and_started_under_load(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Writers do not notice but by what their flushes say; log and site hold everything in order, each once."""
    scene.running.wait_for_store("tokyo", scene.group, timeout=60)
    group = scene.running.group(scene.group)
    assert isinstance(group, SidefileGroup)
    volume = group.create_volume("ledger", "1MiB")
    stop, written, seen = threading.Event(), [0, 0], set[Durability]()
    threads = [threading.Thread(target=load, args=(group, stop, written, number, seen)) for number in range(2)]
    for thread in threads:
        thread.start()
    assert wait_until(lambda: Durability.IN_LOG in seen, timeout_s=60)
    scene.kafka.stop()
    assert wait_until(lambda: scene.spooled() > 0, timeout_s=60)
    code, out = scene.tidelog(capsys, "sidefile", "list", "--json")
    (found,) = json.loads(out)["sidefiles"]
    assert code == 0 and found["state"] == "undrained" and found["writes"] > 0
    scene.kafka.start()
    assert wait_until(lambda: group.sidefile is None, timeout_s=120)
    seen.clear()
    assert wait_until(lambda: Durability.IN_LOG in seen, timeout_s=60)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert group.flush(in_log=True, applied_at=1, sites=["tokyo"], timeout=120) is Durability.IN_LOG
    changes = scene.folded().changes
    for number in range(2):
        own = [data for _, offset, data in changes if offset == number * 4096]
        assert own == [b"%d:%08d" % (number, count) * 100 for count in range(written[number])]
        last = b"%d:%08d" % (number, written[number] - 1) * 100
        assert volume.read(number * 4096, len(last)) == last
    group.mark("after").wait(["tokyo"], timeout=60)
    assert list(scene.folder.iterdir()) == []
    assert '"sidefiles": []' in scene.tidelog(capsys, "status", "-g", scene.group, "--json")[1]
    all_equal(scene.running.deployment, scene.group, ["tokyo"])


def test_another_writer_is_accepted_while_this_one_hangs(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Kept and named by the writer's error, by status and by the commands; with every write that it held."""
    command = [sys.executable, "-c", WRITER, str(scene.file), scene.group]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    try:
        lines = iter(writer.stdout)
        assert any(line.split()[1] == "IN_LOG" for line in lines)
        scene.kafka.pause()
        assert wait_until(lambda: scene.spooled() > 20, timeout_s=60)
        writer.send_signal(signal.SIGSTOP)
        scene.kafka.resume()
        with open_group(scene.group, deployment=scene.running.deployment, sidefile=False) as other:
            other.volume("ledger").write(4096, b"theirs")
        writer.send_signal(signal.SIGCONT)
        rest = list(lines)
        assert "SidefileLost" in rest[-1] and f"lost-{scene.group}-1-" in rest[-1]
        assert writer.wait(60) == 0
    finally:
        scene.kafka.resume()
        writer.kill()
        writer.wait(30)
    changes = scene.folded().changes
    logged = [data for _, offset, data in changes if offset == 0]
    assert changes[-1] == ("ledger", 4096, b"theirs") and logged == [b"%08d" % n for n in range(len(logged))]
    code, out = scene.tidelog(capsys, "sidefile", "list", "--json")
    (found,) = json.loads(out)["sidefiles"]
    assert code == 3 and found["state"] == "lost" and found["name"] in rest[-1]
    target = scene.folder.parent / "lost.json"
    assert scene.tidelog(capsys, "sidefile", "export", found["name"], "-g", scene.group, "--to", str(target))[0] == 0
    kept = [json.loads(line) for line in target.read_text().splitlines()]
    assert len(kept) == found["writes"] > 20 and found["writes_in_log"] <= 1
    outside = [base64.b64decode(one["data"]) for one in kept if not one["in_log"]]
    assert logged + outside == [b"%08d" % number for number in range(len(logged) + len(outside))]
    code, out = scene.tidelog(capsys, "status", "-g", scene.group)
    assert code == 3 and found["name"] in out and "ALARM" in out
    with open_group(scene.group, deployment=scene.running.deployment) as again:
        assert isinstance(again, SidefileGroup) and again.sidefile is None
    assert scene.tidelog(capsys, "sidefile", "drop", found["name"], "-g", scene.group, "--yes")[0] == 0
    assert list(scene.folder.iterdir()) == []
    scene.running.wait_for_store("tokyo", scene.group, timeout=60)
    all_equal(scene.running.deployment, scene.group, ["tokyo"])


def test_the_error_is_one_that_a_fenced_writer_knows() -> None:
    """Whoever stops on `Fenced` stops on this."""
    assert SidefileLost.exit_code == 13
