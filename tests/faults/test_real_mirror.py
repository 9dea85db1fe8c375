"""A Kafka in each region: two real brokers, Kafka's own MirrorMaker between them, killed while writers go on.

Every site, and every copy, is compared with a fold of the first region's log by the reference interpreter.
"""

import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient

from tests.clean_stores import group_of_its_own
from tests.reference import Reference
from tidelog.config import Config
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.errors import LogDiverged, UsageError
from tidelog.producers.group import Group
from tidelog.producers.mirrors import MirrorSource
from tidelog.schemas.control import SiteStatus, copy_key, status_key
from tidelog.testing.mirror_maker import MirrorMakerServer
from tidelog.testing.processes import KafkaServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import RedisServing
from tidelog.testing.stack import stack_toml

ROOT = Path(__file__).parents[2]
PROPERTIES = ROOT / "infra" / "mirror-maker.properties"
RUNBOOK = ROOT / "docs" / "runbooks" / "regions.md"
BLOCK, BLOCKS = 512, 64
OFFSETS = "mm2-offsets.a.internal"  # where MirrorMaker writes down how far it has come

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


def await_that(done: Callable[[], bool], what: str, timeout: float = 90.0) -> None:
    assert wait_until(done, timeout), f"not within {timeout:g} s: {what}"


class Regions:
    """Region a with the site tokyo, region b with osaka; london's store may be run in either."""

    def __init__(self, redis: Callable[[str], RedisServing]) -> None:
        self.prefix = f"regions-{uuid.uuid4().hex[:8]}"
        self.kafka = {name: KafkaServer(name=f"kafka-{name}") for name in ("a", "b")}
        self._redis = redis
        self.mirror: MirrorMakerServer | None = None

    def start(self) -> None:
        for server in self.kafka.values():
            server.launch()
        for server in self.kafka.values():
            server.wait_ready()
        self.mirror = MirrorMakerServer(PROPERTIES.read_text(), self.settings())
        self.mirror.start()

    def settings(self) -> dict[str, str]:
        """Of MirrorMaker: all but addresses, topics and how soon it sees a new one is as in infra/."""
        return {
            "a.bootstrap.servers": self.kafka["a"].bootstrap_servers,
            "b.bootstrap.servers": self.kafka["b"].bootstrap_servers,
            "a->b.topics": f"{self.prefix}[.].*",
            "refresh.topics.interval.seconds": "1",
        }

    def config(self, region: str, *sites: str) -> Config:
        return Config(
            prefix=self.prefix,
            kafka={"bootstrap_servers": self.kafka[region].bootstrap_servers},
            sites={name: {"redis": {"url": self._redis(name).url}} for name in sites},
            worker={"status_interval": 0.2},
        )

    def close(self) -> None:
        if self.mirror is not None:
            self.mirror.close()
        for server in self.kafka.values():
            server.close()


@pytest.fixture(scope="module")
def regions(tidelog_site_redis: Callable[[str], RedisServing]) -> Iterator[Regions]:
    """Shared by this module; every test leaves all of it running."""
    there = Regions(tidelog_site_redis)
    try:
        there.start()
        yield there
    finally:
        there.close()


class Mirrored:
    """A group that is written in region a and mirrored to b, with sites running in both."""

    def __init__(self, regions: Regions, a: RunningDeployment, b: RunningDeployment) -> None:
        self.regions, self.a, self.b = regions, a, b
        self.name = f"bank-{uuid.uuid4().hex[:8]}"
        self.group = a.group(self.name)
        self.record = a.deployment.cluster.find_group(self.name)
        source = MirrorSource(self.cluster_id(a), (), a.deployment.cluster.control)
        b.deployment.cluster.mirror_group(self.record, source)
        a.site("tokyo")
        b.site("osaka")

    def cluster_id(self, of: RunningDeployment) -> str:
        log = of.deployment.cluster.log(self.record)
        try:
            return log.cluster_id
        finally:
            log.close()

    def status(self, of: RunningDeployment, site: str) -> SiteStatus | None:
        found = of.deployment.cluster.control.snapshot().get(status_key(self.name, site))
        return found if isinstance(found, SiteStatus) else None

    def reference(self) -> Reference:
        """The fold of region a's log."""
        log = self.a.deployment.cluster.log(self.record)
        reader = log.reader(0)
        try:
            records = [(record.offset, record.value) for record in reader.records(log.bounds().end, 60)]
        finally:
            reader.close()
            log.close()
        return Reference(self.record.group_id).fold(records)

    def end_equal(self, of: dict[str, RunningDeployment]) -> None:
        """A last copy, formed at each of these sites; then all that they hold is what the log says."""
        marked = self.group.mark("at-the-end")
        for site, running in of.items():
            key = copy_key(self.name, marked.sequence, marked.name, site)
            formed = running.deployment.cluster.control.wait_for(lambda view, key=key: key in view, 120)
            assert formed, f"{site} has no copy: {self.status(running, site)}"
        self.group.close()
        reference = self.reference()
        for site, running in of.items():
            store = open_store(running.deployment, site, self.name)
            try:
                await_that(lambda store=store: store.position().head.seal == reference.seal, f"{site} has applied all")
                live = {v.id: (v.name, v.block_size, store.read(v, 0, v.size)) for v in store.volumes()}
                assert live == reference.image()
                copies = {copy.sequence: copy for copy in store.copies()}
                assert copies.keys() == reference.copies.keys()
                for sequence, copy in copies.items():
                    held = {v.id: (v.name, v.block_size, store.read(v, 0, v.size, copy)) for v in copy.volumes}
                    assert held == reference.copies[sequence].volumes
                    assert store.digest(copy) == reference.copies[sequence].digest
            finally:
                store.close()


@pytest.fixture
def mirrored(regions: Regions) -> Iterator[Mirrored]:
    a = RunningDeployment(RealDeployment(regions.config("a", "tokyo", "london")))
    b = RunningDeployment(RealDeployment(regions.config("b", "osaka", "london")))
    with a, b:
        yield Mirrored(regions, a, b)


class Load:
    """Writes without a pause, each flushed, and a copy now and then; in a thread, until it is left."""

    def __init__(self, group: Group) -> None:
        self._group, self.written = group, 0
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            volume = self._group.create_volume("data", BLOCK * BLOCKS, BLOCK)
            while not self._stop.is_set():
                self.written += 1
                volume.write(self.written * 300 % (BLOCK * (BLOCKS - 2)), self.written.to_bytes(8, "big") * 40)
                self._group.flush()
                if self.written % 100 == 0:
                    self._group.mark(f"copy-{self.written}")
        except BaseException as error:
            self._error = error

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self._error is None, self._error


def test_killed_in_the_middle_it_sends_again_and_nothing_is_applied_twice(mirrored: Mirrored) -> None:
    """SIGKILL under load, and again. It did send records twice, or the test says nothing."""
    mirror = mirrored.regions.mirror
    assert mirror is not None
    for turn in range(2):
        with Load(mirrored.group) if turn == 0 else Load(mirrored.a.group(mirrored.name)) as load:
            before = status.sequence if (status := mirrored.status(mirrored.b, "osaka")) else 0
            await_that(
                lambda before=before: (
                    (found := mirrored.status(mirrored.b, "osaka")) is not None and found.sequence > before + 50
                ),
                "something has come",
            )
            mirror.kill()
            time.sleep(0.5)
            mirror.start()
            await_that(lambda load=load: load.written > 300, "enough to go on with")
    mirrored.group = mirrored.a.group(mirrored.name)
    mirrored.end_equal({"tokyo": mirrored.a, "osaka": mirrored.b})
    await_that(
        lambda: (found := mirrored.status(mirrored.b, "osaka")) is not None and found.redelivered + found.void > 0,
        "records that were sent twice were counted",
        20,
    )


def test_with_its_offsets_lost_it_sends_everything_again(mirrored: Mirrored) -> None:
    """Its own topic is deleted: it begins at the log's beginning, while writers and the site go on."""
    mirror = mirrored.regions.mirror
    assert mirror is not None
    with Load(mirrored.group) as load:
        await_that(lambda: load.written > 150, "a log")
        await_that(lambda: bool((found := mirrored.status(mirrored.b, "osaka")) and found.sequence > 100), "some of it")
        mirror.stop()
        admin = KafkaAdminClient(bootstrap_servers=mirrored.regions.kafka["b"].bootstrap_servers)
        try:
            admin.delete_topics([OFFSETS])
            await_that(lambda: OFFSETS not in admin.list_topics(), "the offsets are gone")
        finally:
            admin.close()
        mirror.start()
        await_that(
            lambda: bool((found := mirrored.status(mirrored.b, "osaka")) and found.redelivered > 100), "sent again"
        )
    mirrored.end_equal({"tokyo": mirrored.a, "osaka": mirrored.b})


def test_a_site_is_moved_from_one_region_to_the_other(mirrored: Mirrored) -> None:
    """It stood on a's log, and goes on with b's, at other offsets, applying nothing again."""
    with Load(mirrored.group) as load:
        mirrored.a.wait_for_store("london", mirrored.name)
        await_that(lambda: bool((s := mirrored.status(mirrored.a, "london")) and s.sequence > 50), "london has begun")
        mirrored.a.stop_site("london")
        stood = mirrored.status(mirrored.a, "london")
        assert stood is not None
        ahead = load.written + 50
        await_that(lambda: load.written > ahead, "more")
        await_that(
            lambda: bool((s := mirrored.status(mirrored.b, "osaka")) and s.sequence > stood.sequence), "mirrored so far"
        )
        mirrored.b.site("london")
        await_that(
            lambda: bool((s := mirrored.status(mirrored.b, "london")) and s.sequence > stood.sequence), "it goes on"
        )
    mirrored.end_equal({"tokyo": mirrored.a, "osaka": mirrored.b, "london": mirrored.b})
    store = open_store(mirrored.b.deployment, "london", mirrored.name)
    assert store.position().cluster_id == mirrored.cluster_id(mirrored.b) != mirrored.cluster_id(mirrored.a)
    store.close()
    counted = [event for event in mirrored.reference().counted if event.last > stood.sequence]
    await_that(
        lambda: bool((s := mirrored.status(mirrored.b, "london")) and s.events_applied == len(counted)),
        "exactly the rest was applied",
        20,
    )


def test_a_second_source_is_refused_or_halts(mirrored: Mirrored) -> None:
    """tidelog opens no session there; what gets in past it halts the site before anything is applied."""
    mirrored.group.mark("one")
    await_that(lambda: bool((s := mirrored.status(mirrored.b, "osaka")) and s.sequence >= 2), "osaka has it")
    with pytest.raises(UsageError, match="is a mirror of"):
        open_group(mirrored.name, deployment=mirrored.b.deployment)
    log = mirrored.b.deployment.cluster.log(mirrored.record)
    source = mirrored.a.deployment.cluster.log(mirrored.record)
    forged = bytearray(source.record_at(1).value)
    source.close()
    appender = log.appender()
    sent = threading.Event()
    forged[-17] ^= 1
    appender.send(bytes(forged), lambda *_: sent.set())
    assert sent.wait(30)
    appender.close(10)
    log.close()
    await_that(lambda: bool((s := mirrored.status(mirrored.b, "osaka")) and s.state == "HALTED"), "the halt")
    assert mirrored.status(mirrored.b, "osaka").reason.startswith(("CorruptEvent", LogDiverged.__name__))


def test_the_commands_of_the_runbook(regions: Regions, tidelog_site_redis, tmp_path: Path) -> None:
    """docs/runbooks/regions.md, as it stands: each ends with 0. Workers run in this process, as MirrorMaker does."""
    urls = {site: tidelog_site_redis(site).url for site in ("tokyo", "osaka")}
    files = {"a.toml": ("a", "tokyo"), "b.toml": ("b", "osaka"), "mirror-maker.properties": None}
    for name, there in files.items():
        if there is not None:
            toml = stack_toml(regions.kafka[there[0]].bootstrap_servers, {there[1]: urls[there[1]]})
            (tmp_path / name).write_text(f'prefix = "{regions.prefix}"\n{toml}')
    assert regions.mirror is not None
    (tmp_path / "mirror-maker.properties").write_text(regions.mirror.properties)
    blocks = re.findall(r"```sh\n(.*?)```", RUNBOOK.read_text(), re.DOTALL)
    commands = [line.split() for block in blocks for line in block.splitlines()]
    with group_of_its_own(urls.values(), "bank"):
        a, b = (RunningDeployment(RealDeployment(Config.load(tmp_path / f"{name}.toml", {}))) for name in "ab")
        with a, b:
            a.group("bank").create_volume("ledger", "1MiB").write(0, b"something")
            a.wait_for_store("tokyo", "bank", 60)
            for command in commands:
                if "run" in command:
                    b.wait_for_store("osaka", "bank", 60)
                    assert b.site("osaka").group("bank").wait_until(2, 60)
                    continue
                done = subprocess.run(
                    [sys.executable, "-m", *command],
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=False,
                )
                assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert "osaka" in done.stdout
