"""Two regions on real servers: a Kafka each, MirrorMaker between them, sites in both; and a load on one group."""

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.reference import Reference
from tidelog.config import Config
from tidelog.consumers.deployment import open_store
from tidelog.producers.group import Group
from tidelog.producers.mirror_properties import read_properties, renaming, wrong_properties
from tidelog.producers.mirrors import MirrorSource
from tidelog.schemas.control import SiteStatus, copy_key, status_key
from tidelog.testing.mirror_maker import MirrorMakerServer
from tidelog.testing.processes import KafkaServer
from tidelog.testing.readiness import wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import RedisServing

PROPERTIES = Path(__file__).parents[2] / "infra" / "mirror-maker.properties"
BLOCK, BLOCKS = 512, 64


def await_that(done: Callable[[], bool], what: str, timeout: float = 90.0) -> None:
    assert wait_until(done, timeout), f"not within {timeout:g} s: {what}"


class Regions:
    """Region a with the site tokyo, region b with osaka; london's store may be run in either."""

    def __init__(self, redis: Callable[[str], RedisServing]) -> None:
        self._base, self._begun = f"regions-{uuid.uuid4().hex[:8]}", 0
        self.kafka = {name: KafkaServer(name=f"kafka-{name}") for name in ("a", "b")}
        self._redis = redis
        self.mirror: MirrorMakerServer | None = None

    @property
    def prefix(self) -> str:
        """Of this test's topics."""
        return f"{self._base}-{self._begun}"

    def mirror_back(self, topic: str, target: str, source: str = "b", to: str = "a") -> MirrorMakerServer:
        """A MirrorMaker from ``source`` to ``to`` for one topic, started; the first one is stopped. Whoever asks closes
        it."""
        assert self.mirror is not None
        self.mirror.stop()
        flow = f"{source}->{to}"
        settings = self.settings() | {"a->b.enabled": "false", "b->a.enabled": "false"}
        settings |= {f"{flow}.enabled": "true", f"{flow}.topics": topic, f"{to}.plugin.discovery": "service_load"}
        producer = ("enable.idempotence", "acks", "max.in.flight.requests.per.connection", "max.request.size")
        given = read_properties(PROPERTIES.read_text())
        settings |= {f"{to}.producer.{name}": given[f"b.producer.{name}"] for name in producer}
        if target != topic:
            settings |= {f"{flow}.{name}": value for name, value in renaming(topic, target).items()}
        mirror = MirrorMakerServer(PROPERTIES.read_text(), settings, name=f"mirror-{source}-{to}")
        assert not wrong_properties(read_properties(mirror.properties), topic, target)
        mirror.start()
        return mirror

    def begin(self) -> None:
        """Another test: MirrorMaker runs, whatever one that failed has left."""
        self._begun += 1
        assert self.mirror is not None
        self.mirror.start()

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
            "a->b.topics": f"{self._base}-[0-9]+[.].*",
            "refresh.topics.interval.seconds": "1",
        }

    def config(self, region: str, *sites: str) -> Config:
        return Config(
            prefix=self.prefix,
            kafka={"bootstrap_servers": self.kafka[region].bootstrap_servers},
            sites={name: {"redis": {"url": self._redis(name).url}} for name in sites},
            worker={"status_interval": 0.2},
            writer={"batch_bytes": "1MiB"},
        )

    def close(self) -> None:
        if self.mirror is not None:
            self.mirror.close()
        for server in self.kafka.values():
            server.close()


class Mirrored:
    """A group that is written in region a and mirrored to b, with sites running in both."""

    def __init__(self, regions: Regions, a: RunningDeployment, b: RunningDeployment, name: str = "") -> None:
        self.regions, self.a, self.b = regions, a, b
        self.name = name or f"bank-{uuid.uuid4().hex[:8]}"
        self.group = a.group(self.name)
        self.record = a.deployment.cluster.find_group(self.name)
        source = MirrorSource(self.log_id(a), (), a.deployment.cluster.control)
        b.deployment.cluster.mirror_group(self.record, source)
        a.site("tokyo")
        b.site("osaka")

    def log_id(self, of: RunningDeployment) -> str:
        log = of.deployment.cluster.log(of.deployment.cluster.find_group(self.name))
        try:
            return log.id
        finally:
            log.close()

    def status(self, of: RunningDeployment, site: str) -> SiteStatus | None:
        found = of.deployment.cluster.control.snapshot().get(status_key(self.name, site))
        return found if isinstance(found, SiteStatus) else None

    def await_status(self, of: RunningDeployment, site: str, holds: Callable[[SiteStatus], bool]) -> SiteStatus:
        """Waits for a site's report of which that holds."""
        found: list[SiteStatus] = []

        def there() -> bool:
            status = self.status(of, site)
            found[:] = [] if status is None else [status]
            return status is not None and holds(status)

        assert wait_until(there, 90), f"{site} last said: {found}"
        return found[0]

    def reference(self, of: RunningDeployment | None = None) -> Reference:
        """The fold of a region's log, region a's by default."""
        cluster = (of or self.a).deployment.cluster
        log = cluster.log(cluster.find_group(self.name))
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


class Load:
    """Writes, each flushed, and a copy now and then; in a thread, until it is left."""

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
                time.sleep(0.003)
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
