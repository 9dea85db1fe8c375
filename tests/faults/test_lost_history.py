"""A log or a store that is not what it was: cut back, made anew, of another moment, of another site, gone."""

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from tests.crash.child import BLOCK, BLOCKS, content
from tests.faults.folded import all_equal, halts, reference_of, status_of, wait_until
from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.errors import WrongStore
from tidelog.gateways.cli import main
from tidelog.producers.kafka_clients import open_admin
from tidelog.producers.kafka_topics import LOG_RULES, make_topic
from tidelog.stores.store import CopyOrigin
from tidelog.testing.processes import KafkaServer, RedisServer
from tidelog.testing.running import RunningDeployment

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
GROUP = "bank"
SITES = ("tokyo", "osaka")


class Machines:
    """A Kafka whose files are edited and two Redis, as local processes; a configuration file for commands."""

    def __init__(self, folder: Path) -> None:
        self.kafka = KafkaServer(data_dir=folder / "kafka", options={"log.segment.delete.delay.ms": "100"})
        self.redis = {name: RedisServer(name=name, data_dir=folder / name) for name in SITES}
        self.config_file = folder / "tidelog.toml"

    def start(self) -> None:
        for server in (self.kafka, *self.redis.values()):
            server.start()

    def close(self) -> None:
        for server in (self.kafka, *self.redis.values()):
            server.close()

    def config(self) -> Config:
        urls = "".join(f'[sites.{name}.redis]\nurl = "{server.url}"\n' for name, server in self.redis.items())
        self.config_file.write_text(
            f'prefix = "lost-{uuid.uuid4().hex[:8]}"\nprimary = "tokyo"\n{urls}'
            f'[kafka]\nbootstrap_servers = "{self.kafka.bootstrap_servers}"\n[worker]\nstatus_interval = "200ms"\n'
        )
        return Config.load(self.config_file, {})

    def cut_back(self, topic: str, keep: float) -> None:
        """The broker dies, its last segment loses its tail, and it starts again."""
        self.kafka.kill()
        (folder,) = self.kafka.data_dir.glob(f"{topic}-0")
        segment = max(folder.glob("*.log"))
        with segment.open("r+b") as file:
            file.truncate(int(segment.stat().st_size * keep))
        for index in (*folder.glob("*.index"), *folder.glob("*.timeindex"), *folder.glob("*.snapshot")):
            index.unlink()
        self.kafka.start()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Shared by this module."""
    there = Machines(tmp_path_factory.mktemp("machines"))
    try:
        there.start()
        yield there
    finally:
        there.close()


@pytest.fixture
def running(machines: Machines) -> Iterator[RunningDeployment]:
    """Both sites empty, their workers running, whatever a test that failed has left."""
    machines.start()
    for server in machines.redis.values():
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
    with RunningDeployment(RealDeployment(machines.config())) as deployment:
        deployment.deployment.cluster.create_group(GROUP)
        for site in SITES:
            deployment.wait_for_store(site, GROUP)
        yield deployment


def write_some(running: RunningDeployment, first: int, last: int, name: str) -> None:
    """A writer session of its own: numbered writes, and copies ``name``-n on the way; applied at both sites."""
    group = running.group(GROUP)
    volume = group.create_volume("data", BLOCK * BLOCKS)
    for number in range(first, last):
        volume.write(number * 7 % BLOCKS * BLOCK, content(number) if number % 3 else content(number)[:100])
        if number % 20 == 10:
            group.mark(f"{name}-{number}")
    group.flush()
    group.close()


def applied(running: RunningDeployment, sites: tuple[str, ...] = SITES) -> None:
    all_equal(running.deployment, GROUP, sites)


def command(machines: Machines, *arguments: str) -> None:
    """A command of an operator, which must succeed."""
    assert main(["-c", str(machines.config_file), *arguments]) == 0, arguments


def topic_of(running: RunningDeployment) -> str:
    return running.deployment.cluster.find_group(GROUP).topic


def log_end(running: RunningDeployment) -> int:
    with closing(running.deployment.cluster.log(running.deployment.cluster.find_group(GROUP))) as log:
        return log.bounds().end


def test_a_log_that_is_cut_back(
    machines: Machines, running: RunningDeployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """One broker: its last segment is truncated. Sites halt, never follow the new history, and go on once they are
    rolled back; what was lost is at each as lost-tail, and elder copies are what they were. Of a site whose worker does
    not run the log tells it."""
    write_some(running, 1, 100, "old")
    applied(running)
    old, end = reference_of(running.deployment, GROUP), log_end(running)
    running.stop_site("osaka")
    machines.cut_back(topic_of(running), 0.6)
    wait_until(lambda: 0 < log_end(running) < end, "the log is shorter")
    assert main(["-c", str(machines.config_file), "site", "status", "osaka"]) == 4
    shown = " ".join(capsys.readouterr().out.split())
    assert "DIVERGED" in shown and f"LogDiverged: it has applied sequence {old.sequence}" in shown
    running.site("osaka")
    for site in SITES:
        assert "tidelog site rollback" in halts(running.deployment, site, GROUP, "LogDiverged").hint
    write_some(running, 1000, 1060, "new")
    for site in SITES:
        status = halts(running.deployment, site, GROUP, "LogDiverged")
        assert status.sequence == old.sequence, "it has followed another history"
        command(machines, "site", "rollback", site, "--group", GROUP, "--dry-run")
        command(machines, "site", "rollback", site, "--group", GROUP, "--yes")
    new = all_equal(running.deployment, GROUP, SITES)
    assert new.copies.keys() - old.copies.keys() and old.copies.keys() - new.copies.keys(), "the test has no teeth"
    for site in SITES:
        with closing(open_store(running.deployment, site, GROUP)) as store:
            tail = store.copy("lost-tail")
            assert (tail.sequence, tail.seal) == (old.sequence, old.seal)
            held = {
                info.id: (info.name, info.block_size, store.read(info, 0, info.size, tail)) for info in tail.volumes
            }
            assert held == old.image()
            lost = [copy for copy in store.copies(lost=True) if copy.origin is CopyOrigin.LOST]
            assert {copy.sequence for copy in lost} == {old.sequence, *(old.copies.keys() - new.copies.keys())}
    write_some(running, 2000, 2030, "after")
    applied(running)


def test_a_topic_that_is_deleted_and_made_anew(machines: Machines, running: RunningDeployment, tmp_path: Path) -> None:
    """Sites halt instead of beginning anew. No copy is in the new log, so they are erased and replayed; what osaka held
    is exported first, since that was asked for."""
    write_some(running, 1, 60, "old")
    applied(running)
    topic = topic_of(running)
    with closing(open_admin(running.deployment.config)) as admin:
        admin.delete_topics([topic])
        wait_until(lambda: make_topic(admin, running.deployment.config, topic, LOG_RULES), "the topic is made anew")
    write_some(running, 1000, 1040, "new")
    for site in SITES:
        halts(running.deployment, site, GROUP, "LogDiverged")
    place = tmp_path / "what-was-lost"
    command(machines, "site", "rollback", "osaka", "--group", GROUP, "--yes", "--export", str(place))
    command(machines, "export", "verify", str(place))
    command(machines, "site", "rollback", "tokyo", "--group", GROUP, "--yes")
    applied(running)


def test_a_redis_of_an_old_snapshot(machines: Machines, running: RunningDeployment) -> None:
    """Data and position are of one moment: the worker goes on from there by itself."""
    write_some(running, 1, 50, "first")
    applied(running)
    saved = dump(machines, "osaka")
    write_some(running, 51, 120, "second")
    applied(running)
    machines.redis["osaka"].kill()
    shutil.copy(saved, machines.redis["osaka"].data_dir / "dump.rdb")
    machines.redis["osaka"].start()
    write_some(running, 121, 150, "third")
    applied(running)
    forget_dumps(machines)


def test_a_store_of_another_site(machines: Machines, running: RunningDeployment) -> None:
    """The two Redis change places: both sites halt at the next event and touch nothing, and go on when each has its own
    again. Until an event comes nothing tells them apart: they stand at one place, with the same bytes."""
    write_some(running, 1, 60, "first")
    applied(running)
    writer = running.group(GROUP)
    for turn in range(2):
        dumps = {site: dump(machines, site) for site in SITES}
        for site, other in (SITES, SITES[::-1]):
            machines.redis[site].kill()
            shutil.copy(dumps[other], machines.redis[site].data_dir / "dump.rdb")
        for site in SITES:
            machines.redis[site].start()
        if not turn:
            writer.volume("data").write(0, b"written while they have changed places")
            writer.flush()
            for site in SITES:
                halts(running.deployment, site, GROUP, "WrongStore")
                with pytest.raises(WrongStore):
                    open_store(running.deployment, site, GROUP)
    for site in SITES:
        running.stop_site(site)
        running.site(site)
    write_some(running, 61, 90, "second")
    applied(running)
    forget_dumps(machines)


def test_a_store_that_is_wiped_under_its_worker(machines: Machines, running: RunningDeployment) -> None:
    """While a writer goes on: the site does not begin anew by itself, and says which command does."""
    write_some(running, 1, 60, "first")
    applied(running)
    with redis.Redis.from_url(machines.redis["osaka"].url) as client:
        client.flushall()
    write_some(running, 61, 100, "second")
    status = halts(running.deployment, "osaka", GROUP, "NeedsRebuild")
    asked = f"tidelog site rebuild osaka --group {GROUP}"
    assert asked in status.hint
    time.sleep(1)  # some rounds of the worker: it stays so
    assert status_of(running.deployment, "osaka", GROUP).state == "NEEDS_REBUILD"
    command(machines, *asked.split()[1:], "--yes")
    applied(running)


def dump(machines: Machines, site: str) -> Path:
    """All that a site's Redis holds now, as a file."""
    server = machines.redis[site]
    with redis.Redis.from_url(server.url) as client:
        client.save()
    kept = server.data_dir / f"{uuid.uuid4().hex}.rdb"
    return Path(shutil.copy(server.data_dir / "dump.rdb", kept))


def forget_dumps(machines: Machines) -> None:
    """A Redis that another test starts again holds nothing of this one."""
    for server in machines.redis.values():
        for file in server.data_dir.glob("*.rdb"):
            file.unlink()
