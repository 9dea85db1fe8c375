"""The RPO on real Kafka and Redis, against this test's own clock: an idle primary, no marker, a stopped worker, a
writer that is killed; and `flush(applied_at=2)` with its time."""

import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.folded import all_equal
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.gateways.cli import main
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing, RedisServing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]
SITES = ("tokyo", "osaka")
OBJECTIVE_S = 5.0
# A report is a second old at most, a heartbeat another: on an idle machine. The rest is for one that is not.
SLACK_S = 4.0
# Does what it is told on stdin, a word a line, and says so.
WRITER = """
import sys, tidelog
group = tidelog.open_group(sys.argv[1], config=sys.argv[2])
volume = group.create_volume("ledger", "1MiB")
for line in sys.stdin:
    if line.strip() == "write":
        volume.write(0, b"x" * 5000)
        group.flush()
    elif line.strip() == "mark":
        group.mark(f"m{group.session.confirmed.sequence}").wait(timeout=60)
    else:
        break
    print(line.strip(), flush=True)
group.close()
"""


class Scene:
    """Workers of two sites in this process, the writer in one of its own, and `tidelog status`."""

    def __init__(self, config_file: Path, group: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self.group, self._capsys = config_file, group, capsys
        self.running = RunningDeployment(RealDeployment(Config.load(config_file, {})))
        self.running.deployment.cluster.create_group(group)
        for site in SITES:
            self.running.wait_for_store(site, group)
        self.writer = self.new_writer()

    def new_writer(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", WRITER, self.group, str(self.file)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, word: str) -> None:
        assert self.writer.stdin is not None and self.writer.stdout is not None
        self.writer.stdin.write(f"{word}\n")
        self.writer.stdin.flush()
        assert self.writer.stdout.readline().strip() == word

    def status(self) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """The exit code, the group and its sites by name."""
        self._capsys.readouterr()
        code = main(["-c", str(self.file), "status", "-g", self.group, "--json"])
        (found,) = json.loads(self._capsys.readouterr().out)["groups"]
        return code, found, {site["site"]: site for site in found["sites"]}

    def exits_with(self, wanted: int) -> None:
        assert wait_until(lambda: self.status()[0] == wanted, timeout_s=60), self.status()

    def all_are(self, age: str) -> None:
        """``age`` is 0 at every site, once each has reported after what was done last."""
        assert wait_until(lambda: {one[age] for one in self.status()[2].values()} == {0}, timeout_s=60), self.status()

    def end(self) -> None:
        self.writer.kill()
        self.writer.wait(30)
        self.running.close()


@pytest.fixture
def scene(
    tidelog_kafka: KafkaServing,
    tidelog_site_redis: Callable[[str], RedisServing],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Scene]:
    group = f"g-{uuid.uuid4().hex[:12]}"
    tables = "".join(f'[sites.{name}.redis]\nurl = "{tidelog_site_redis(name).url}"\n' for name in SITES)
    path = tmp_path / "tidelog.toml"
    path.write_text(
        f'prefix = "test-{uuid.uuid4().hex[:12]}"\n{tables}'
        f'[kafka]\nbootstrap_servers = "{tidelog_kafka.bootstrap_servers}"\n'
        f'[groups.{group}]\nrpo = "{OBJECTIVE_S:g}s"\ncopy_rpo = "1h"\n[worker]\nstatus_interval = "500ms"\n'
    )
    made = Scene(path, group, capsys)
    yield made
    made.end()


def idles(scene: Scene) -> None:
    """Nothing ages, however long; the writer is alive."""
    scene.tell("write")
    scene.tell("mark")
    scene.all_are("not_copied_seconds")
    scene.exits_with(0)
    scene.all_are("rpo_seconds")
    begun = time.time()
    while time.time() - begun < 2 * OBJECTIVE_S:
        code, group, sites = scene.status()
        assert code == 0 and group["writer"]["state"] == "alive"
        for site in sites.values():
            assert site["rpo_seconds"] == site["copy_rpo_seconds"] == 0


def writes_without_a_marker(scene: Scene) -> None:
    """What is applied and in no copy ages from that write on."""
    before = time.time()
    scene.tell("write")
    written = time.time()
    assert wait_until(lambda: all(site["not_copied_seconds"] for site in scene.status()[2].values()), timeout_s=60)
    asked = time.time()
    _, _, sites = scene.status()
    for site in sites.values():
        assert asked - written - 0.1 <= site["not_copied_seconds"] <= time.time() - before + 0.1
    scene.tell("mark")
    scene.all_are("not_copied_seconds")


def loses_a_worker(scene: Scene) -> None:
    """What osaka has not applied ages there from then on; tokyo is as before."""
    scene.exits_with(0)
    scene.running.stop_site("osaka")
    stopped = time.time()
    scene.tell("write")
    scene.exits_with(5)
    asked = time.time()
    code, group, sites = scene.status()
    assert code == 5 and all("at osaka" in missed for missed in group["objectives_missed"])
    assert asked - stopped - SLACK_S <= sites["osaka"]["not_applied_seconds"] <= time.time() - stopped + SLACK_S
    assert sites["tokyo"]["rpo_seconds"] < OBJECTIVE_S
    scene.running.site("osaka")
    scene.exits_with(0)
    scene.tell("mark")
    scene.all_are("not_copied_seconds")


def loses_the_writer(scene: Scene) -> None:
    """SIGKILL: not idle but silent, an alarm; the sites have all that is in the log."""
    scene.writer.kill()
    killed = time.time()
    scene.writer.wait(30)
    scene.exits_with(5)
    asked = time.time()
    _, group, sites = scene.status()
    assert group["writer"]["state"] == "silent" and group["writer"]["report"]["state"] == "OPEN"
    for site in sites.values():
        assert site["not_applied_seconds"] == site["not_copied_seconds"] == 0
        assert asked - killed <= site["not_logged_seconds"] <= time.time() - killed + SLACK_S


def comes_back_and_closes(scene: Scene) -> None:
    """The next one ends in an orderly way: nobody writes, and nothing is outside."""
    scene.writer = scene.new_writer()
    scene.tell("mark")
    assert scene.status()[1]["writer"]["state"] == "alive"
    scene.writer.communicate("end\n", timeout=60)
    assert scene.status()[1]["writer"]["state"] == "closed"
    scene.exits_with(0)
    scene.all_are("rpo_seconds")


def test_the_rpo_tells_the_truth(scene: Scene) -> None:
    """One scene, since servers take long: each act begins well, and ends so or with what it is about."""
    idles(scene)
    writes_without_a_marker(scene)
    loses_a_worker(scene)
    loses_the_writer(scene)
    comes_back_and_closes(scene)
    all_equal(scene.running.deployment, scene.group, SITES)


def test_a_flush_that_waits_for_sites_takes_less_than_a_second(tidelog_deployment: RunningDeployment) -> None:
    """Both have applied it when it returns; and no round of a worker was waited for, or the median would tell."""
    name = f"g-{uuid.uuid4().hex[:12]}"
    group = tidelog_deployment.group(name)
    for site in SITES:
        tidelog_deployment.wait_for_store(site, name)
    volume = group.create_volume("v", "1MiB")
    group.flush(applied_at=2, sites=SITES, timeout=60)
    took = []
    for index in range(30):
        volume.write(0, b"%d" % index)
        begun = time.monotonic()
        group.flush(applied_at=2, sites=SITES, timeout=60)
        took.append(time.monotonic() - begun)
        sequence = group.session.confirmed.sequence
        stores = [open_store(tidelog_deployment.deployment, site, name) for site in SITES]
        assert [store.position().head.sequence for store in stores] >= [sequence - 1] * 2  # a heartbeat may have come
        for store in stores:
            assert store.read(store.volume("v"), 0, 2).rstrip(b"\0") == b"%d" % index
            store.close()
    assert statistics.median(took) < 1
    all_equal(tidelog_deployment.deployment, name, SITES)
