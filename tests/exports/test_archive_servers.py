"""Archives on a real Kafka and real Redis: by the command, killed in between, and by the policy."""

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.gateways.exports.place import place_of
from tidelog.producers.archived import archives_of
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing, RedisServing

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]
SITES = ("tokyo", "osaka")
MIB = 1024 * 1024


class Operator:
    """One configuration file, commands in processes of their own, and a deployment beside them."""

    def __init__(self, folder: Path, kafka: str, urls: dict[str, str]) -> None:
        self.group = f"g-{uuid.uuid4().hex[:12]}"
        self.archive = folder / "archive"
        self.archive.mkdir()
        self.file = folder / "tidelog.toml"
        tables = "".join(f'[sites.{site}.redis]\nurl = "{url}"\n' for site, url in urls.items())
        self.file.write_text(
            f'prefix = "test-{uuid.uuid4().hex[:12]}"\n[kafka]\nbootstrap_servers = "{kafka}"\n{tables}'
            f'[groups.{self.group}]\nevery = "1s"\nkeep = {{last = 2}}\narchive = "{self.archive}"\n'
            '[worker]\nstatus_interval = "100ms"\n'
        )
        self.deployment = RealDeployment(Config.load(self.file, {}))

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tidelog", "-c", str(self.file), *arguments, "-g", self.group]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __call__(self, *arguments: str) -> tuple[int, bytes, str]:
        out, err = (process := self.begin(*arguments)).communicate(timeout=90)
        assert b"Traceback" not in err, err.decode()
        return process.returncode, out, err.decode()


@pytest.fixture
def operator(
    tmp_path: Path, tidelog_kafka: KafkaServing, tidelog_site_redis: Callable[[str], RedisServing]
) -> Operator:
    """Two sites."""
    urls = {site: tidelog_site_redis(site).url for site in SITES}
    return Operator(tmp_path, tidelog_kafka.bootstrap_servers, urls)


@pytest.fixture
def running(operator: Operator) -> Iterator[RunningDeployment]:
    """Their workers."""
    with RunningDeployment(operator.deployment) as running:
        yield running


def held(operator: Operator, site: str) -> list[str]:
    store = open_store(operator.deployment, site, operator.group)
    found = [copy.name for copy in store.copies()]
    store.close()
    return found


def test_killed_during_the_export_and_run_again(operator: Operator, running: RunningDeployment) -> None:
    """SIGKILL while files are written: nothing is dropped. Then it goes, its memory with it, and is read as before."""
    group = running.group(operator.group)
    for site in SITES:
        running.wait_for_store(site, operator.group)
    volume = group.create_volume("ledger", 64 * MIB)
    for block in range(0, 48 * MIB, MIB):
        volume.write(block, uuid.uuid4().bytes * (MIB // 16))
    group.mark("one").wait(list(SITES), timeout=90)
    group.close()
    code, before, err = operator("pitc", "read", "one", "ledger")
    assert code == 0, err
    process = operator.begin("pitc", "archive", "one")
    assert wait_until(lambda: list(operator.archive.iterdir()) or process.poll() is not None, timeout_s=60)
    time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert all("one" in held(operator, site) for site in SITES)
    code, out, err = operator("pitc", "archive", "one", "--json")
    assert code == 0, err
    place = json.loads(out)["place"]
    assert wait_until(lambda: all("one" not in held(operator, site) for site in SITES), timeout_s=60)
    code, after, err = operator("pitc", "read", "one", "ledger", "--site", "osaka")
    assert code == 0 and after == before and place in err
    assert operator("pitc", "verify", "one", "--full")[0] == 0
    code, out, _ = operator("pitc", "list", "--json")
    (one,) = [copy for copy in json.loads(out)["copies"] if copy["name"] == "one"]
    assert code == 0 and one["sites"]["tokyo"]["answer"] == "archived" and one["equal"] is True


def test_the_policy(operator: Operator, running: RunningDeployment) -> None:
    """Copies of the schedule, one a second, go through the archive: two stay, all others can be read from there."""
    group = running.group(operator.group)
    for site in SITES:
        running.wait_for_store(site, operator.group)
    volume = group.create_volume("ledger", MIB)
    index = 0
    control = operator.deployment.cluster.control

    def three_archived() -> bool:
        nonlocal index
        index += 1
        volume.write(index % 200 * 4096, index.to_bytes(8) * 100)
        return len(archives_of(control.snapshot(), operator.group)) >= 3

    assert wait_until(three_archived, timeout_s=90)
    records = archives_of(control.snapshot(), operator.group)
    assert wait_until(
        lambda: not {record.name for record in records} & {*held(operator, "tokyo"), *held(operator, "osaka")},
        timeout_s=90,
    )
    assert group.session.ready and {record.site for record in records} == {"tokyo"}
    site = running.site("osaka").group(operator.group)
    for record in records:
        assert place_of(record.place).exists()
        assert site.copy(record.name).digest() == record.digest
        assert len(site.copy(record.name).volume("ledger").read(0, MIB)) == MIB
