"""Real servers and sites whose faults a test makes: killed, frozen, cut off, full, of another time of day.

`FaultyNetwork` is what the fixture `tidelog_network` gives. Each site has a Redis, a worker in a process of its own,
and two links: from its worker to Kafka, and from everybody to its Redis. What the test itself does goes to Kafka by a
link of its own, so that one site can be cut off while the others and the application go on.
"""

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.site_view import Site
from tidelog.errors import LogUnavailable
from tidelog.gateways.library import open_site
from tidelog.producers.group import Group
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.testing.choice import own_kafka
from tidelog.testing.fixtures import SITES
from tidelog.testing.network import Link, Network
from tidelog.testing.readiness import kafka_answers, redis_answers, wait_until
from tidelog.testing.running import RunningDeployment
from tidelog.testing.servers import KafkaServing, RedisServing, Server, ServerError
from tidelog.testing.site_process import SiteProcess

if TYPE_CHECKING:
    from redis import Redis

APPLICATION = "application"
ANSWER_TIMEOUT_S = 60.0
# So that a cut is noticed within seconds; an application has its own reasons to wait longer.
_SETTINGS = """
[kafka]
bootstrap_servers = "{kafka}"
request_timeout = "3s"
connect_timeout = "3s"
[writer]
write_timeout = "10s"
[worker]
status_interval = "200ms"
poll_timeout = "50ms"
"""


class FaultServers:
    """What all tests of a session share: a Kafka with a listener for each link, and each site's Redis once it is asked
    for. ``make_redis`` starts one, by the site's name, that keeps its data over a restart."""

    def __init__(self, make_redis: Callable[[str], RedisServing]) -> None:
        self._make_redis = make_redis
        self._redis: dict[str, RedisServing] = {}
        self.network = Network()
        self.to_kafka = {name: self.network.link(f"{name} to Kafka") for name in (APPLICATION, *SITES)}
        self.to_redis = {name: self.network.link(f"Redis of {name}") for name in SITES}
        kafka = own_kafka({name.upper(): link.address for name, link in self.to_kafka.items()})
        for name, link in self.to_kafka.items():
            link.lead_to(kafka.listener_ports[name.upper()])
        self.kafka: KafkaServing = kafka

    def redis(self, site: str) -> RedisServing:
        """The site's Redis, started by the first call."""
        if site not in self._redis:
            server = self._redis[site] = self._make_redis(site)
            port = urlsplit(server.url).port
            assert port is not None
            self.to_redis[site].lead_to(port)
        return self._redis[site]

    def settings(self, name: str, prefix: str) -> str:
        """A `tidelog.toml` for ``name``: a site's worker, or the application."""
        sites = "".join(
            f'[sites.{site}.redis]\nurl = "redis://{link.address}/0"\nsocket_timeout = "3s"\n'
            for site, link in self.to_redis.items()
        )
        head = f'prefix = "{prefix}"\nprimary = "{SITES[0]}"\n'
        return head + _SETTINGS.format(kafka=self.to_kafka[name].address) + sites

    def heal(self) -> None:
        """All links whole, all servers running and answering, none full."""
        self.network.heal()
        for server in (self.kafka, *self._redis.values()):
            up(server)
        _await(lambda: kafka_answers(self.kafka.bootstrap_servers), self.kafka.description)
        for redis in self._redis.values():
            _await(partial(redis_answers, redis.url), redis.description)
            with _client(redis) as client:
                client.config_set("maxmemory", 0)

    def close(self) -> None:
        """Ends Kafka and the links; each Redis is ended by whoever made it."""
        self.kafka.close()
        self.network.close()


@dataclass(frozen=True, eq=False)
class FaultySite:
    """One site. ``redis`` and ``worker`` can be killed, stopped, paused, resumed and started (see
    `tidelog.testing.servers.Server`); ``to_kafka`` and ``to_redis`` cut, healed and delayed (see `Link`)."""

    name: str
    redis: RedisServing
    worker: SiteProcess
    to_kafka: Link
    to_redis: Link

    def fill(self) -> None:
        """Its Redis is full: every write is refused with OOM, and so is what reads in a transaction, as tidelog does;
        nothing is evicted. It is Redis's memory that is full (``maxmemory``), since there a site's data are; a disk is
        `SmallDisk`."""
        with _client(self.redis) as client:
            client.config_set("maxmemory", 1)

    def make_room(self) -> None:
        """Its Redis has room again."""
        with _client(self.redis) as client:
            client.config_set("maxmemory", 0)

    def set_clock(self, seconds: float) -> None:
        """The wall clock of its worker is so far ahead of this machine's, behind it if negative. Other clocks stay."""
        self.worker.set_clock(seconds)


class FaultyNetwork:
    """A deployment for one test: its groups, its sites, and all that can go wrong between them."""

    def __init__(self, servers: FaultServers, folder: Path) -> None:
        self._servers, self._folder = servers, folder
        self._prefix = f"test-{uuid.uuid4().hex[:12]}"
        self._sites: dict[str, FaultySite] = {}
        self._views: list[Site] = []
        self.config_file = self._written(APPLICATION)
        self._running = RunningDeployment(RealDeployment(Config.load(self.config_file, {})))

    @property
    def kafka(self) -> KafkaServing:
        """The Kafka of all: to kill, pause and start."""
        return self._servers.kafka

    @property
    def to_kafka(self) -> Link:
        """Between Kafka and the test itself: its groups, and commands run with ``config_file``."""
        return self._servers.to_kafka[APPLICATION]

    def site(self, name: str) -> FaultySite:
        """The site ``tokyo`` (the primary), ``osaka`` or ``london``, its worker running (started by the first call)."""
        if name not in self._sites:
            redis = self._servers.redis(name)
            with _client(redis) as client:
                client.flushall()
            worker = SiteProcess(name, self._written(name))
            links = self._servers.to_kafka[name], self._servers.to_redis[name]
            self._sites[name] = FaultySite(name, redis, worker, *links)
            worker.start()
        return self._sites[name]

    def group(self, name: str) -> Group:
        """The group, made if it is not there, open for writing: a new writer session each time."""
        return self._running.group(name)

    def view(self, site: str) -> Site:
        """The site for reading, as `tidelog.open_site` gives it."""
        view = open_site(site, deployment=self._running.deployment)
        self._views.append(view)
        return view

    def status(self, site: str, group: str) -> SiteStatus | None:
        """What the site's worker last said of the group: its state, its reason, when by its clock. None before that."""
        found = self._running.deployment.cluster.control.snapshot().get(status_key(group, site))
        return found if isinstance(found, SiteStatus) else None

    def reason(self, site: str, group: str) -> str:
        """Why the site does not apply the group's log, as its worker last said: the error's name and words. Empty while
        all is well, and before it has said anything."""
        status = self.status(site, group)
        return "" if status is None else status.reason

    def heal(self) -> None:
        """Every fault of this object is over: links whole, servers and workers running, with room, clocks right. Kafka
        and each Redis answer when it returns; sites take their time to catch up, and what a session had not flushed
        stays in doubt."""
        self._servers.heal()
        _await(self._log_answers, "the control topic")
        for site in self._sites.values():
            site.set_clock(0.0)
            up(site.worker)

    def close(self) -> None:
        """Ends what it started, and every fault of the servers, whatever of it fails; that is raised behind all."""
        with ExitStack() as ending:  # from the last to the first
            for site in self._sites.values():
                ending.callback(site.worker.close)
            for view in self._views:
                ending.callback(view.close)
            ending.callback(self._running.close)
            ending.callback(self._servers.heal)

    def _log_answers(self) -> bool:
        try:
            self._running.deployment.cluster.control.snapshot()
        except LogUnavailable:
            return False
        return True

    def _written(self, name: str) -> Path:
        path = self._folder / f"{name}.toml"
        path.write_text(self._servers.settings(name, self._prefix))
        return path


def up(server: Server) -> None:
    """Has it run and answer, whatever it did before."""
    if server.running:
        server.resume()
    else:
        server.start()


def _await(condition: Callable[[], bool], what: str) -> None:
    if not wait_until(condition, ANSWER_TIMEOUT_S):
        raise ServerError(f"{what} gave no answer within {ANSWER_TIMEOUT_S:.0f} s of being healed")


def _client(server: RedisServing) -> "Redis":
    from redis import Redis

    return Redis.from_url(server.url)  # past the link, so that it may be cut
