"""docs/runbooks/sidefile.md: its commands, in order, in the situations that they are for, on a Kafka that goes away."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.documents.test_runbooks import commands, tidelog
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment
from tidelog.errors import SidefileLost
from tidelog.producers.sidefile_folder import active_path, summary
from tidelog.schemas.codec import Codec
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]
WRITER = """
import sys, tidelog
group = tidelog.open_group("bank", config=sys.argv[1])
volume = group.create_volume("ledger", "1MiB")
for count in range(1_000_000):
    volume.write(0, b"%08d" % count)
    print(group.flush().name, flush=True)
"""


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[tuple[KafkaServer, Path, RunningDeployment]]:
    """Servers of the test's own, a folder for sidefiles, and a worker at tokyo."""
    (folder := tmp_path / "sidefiles").mkdir()
    with KafkaServer() as kafka, RedisServer() as redis:
        path = tmp_path / "tidelog.toml"
        path.write_text(
            f'[kafka]\nbootstrap_servers = "{kafka.bootstrap_servers}"\nrequest_timeout = "4s"\n'
            f'connect_timeout = "4s"\n[sites.tokyo.redis]\nurl = "{redis.url}"\n'
            f'[groups.bank]\nsidefile = "{folder}"\nsidefile_after = "500ms"\n'
        )
        with RunningDeployment(RealDeployment(Config.load(path, {}))) as running:
            running.deployment.cluster.create_group("bank")
            running.wait_for_store("tokyo", "bank", timeout=60)
            yield kafka, path, running
            kafka.resume()


def killed_after(kafka: KafkaServer, config_file: Path, then: Callable[[], None]) -> None:
    """A writer into whose outage ``then`` falls, and which then dies; Kafka answers again."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(config_file)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    try:
        assert any(line == "IN_LOG\n" for line in writer.stdout)
        kafka.pause()
        path = active_path(config_file.parent / "sidefiles", "bank")
        assert wait_until(lambda: (found := summary(path, Codec())) is not None and found.writes > 5, timeout_s=60)
        then()
    finally:
        writer.kill()
        writer.wait(30)
        kafka.resume()


def test_the_page(scene: tuple[KafkaServer, Path, RunningDeployment], tmp_path: Path) -> None:
    """While Kafka is away, when it answers again, and when another writer was accepted meanwhile."""
    kafka, config_file, running = scene
    page = commands("sidefile.md")
    away, back, lost = page[:2], page[2:4], page[4:]

    def runs(arguments: list[str], code: int = 0) -> str:
        done = tidelog(config_file, *arguments)
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
        return done.stdout

    killed_after(kafka, config_file, lambda: [runs(one) for one in away] and None)
    for one in back:
        runs(one)
    assert list((tmp_path / "sidefiles").iterdir()) == []

    killed_after(kafka, config_file, lambda: None)
    with open_group("bank", deployment=running.deployment, sidefile=False) as other:
        other.mark("theirs").wait(["tokyo"], timeout=60)
    with pytest.raises(SidefileLost, match="lost-bank-"):
        open_group("bank", deployment=running.deployment)
    (name,) = (path.stem for path in (tmp_path / "sidefiles").iterdir())
    export = tmp_path / "lost-writes.json"
    *looking, last = [[word.replace("LOST", name).replace("/tmp/", f"{tmp_path}/") for word in one] for one in lost]
    outputs = [runs(one, 3 if one[0] == "status" or one[1] == "list" else 0) for one in looking]
    assert "ALARM" in outputs[0] and name in outputs[0] and name in outputs[1]
    writes = [json.loads(line) for line in export.read_text().splitlines()]
    assert writes and all(write["length"] == 8 for write in writes)
    assert wait_until(lambda: tidelog(config_file, *last).returncode == 0, timeout_s=60)
