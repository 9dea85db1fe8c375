"""What one configuration reaches: the cluster with the logs, and each site's stores.

`open_deployment` gives the real one; `MemoryDeployment` is its twin in one process, with no servers.
"""

from typing import Protocol

from tidelog.config import Config, SiteConfig
from tidelog.errors import NotFound
from tidelog.producers.cluster import Cluster, KafkaCluster, MemoryCluster
from tidelog.schemas.control import GroupCreated
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.placing import placed
from tidelog.stores.redis_keyspace import RedisKeyspace
from tidelog.stores.store import Identity


class Deployment(Protocol):
    """A cluster and the Redis of each site. Thread-safe. Connects when something is asked of it."""

    @property
    def config(self) -> Config: ...
    @property
    def cluster(self) -> Cluster: ...

    def keyspace(self, site: str, group: str) -> Keyspace:
        """A site's Redis for one group's keys; whoever asks closes it. Raises `NotFound` for an unknown site."""

    def close(self) -> None:
        """Ends the cluster's connections."""


class RealDeployment:
    """Kafka and Redis, as configured."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.cluster: Cluster = KafkaCluster(config)

    def keyspace(self, site: str, group: str) -> Keyspace:  # noqa: ARG002 (keys carry the group)
        """See `Deployment`."""
        redis = find_site(self.config, site).redis
        return RedisKeyspace.from_url(redis.url, **redis.client_options())

    def close(self) -> None:
        """See `Deployment`."""
        self.cluster.close()


class MemoryDeployment:
    """Logs and stores in this process; gone with it. Each (site, group) has one keyspace, kept between calls."""

    def __init__(self, config: Config | None = None) -> None:
        sites = {name: {"redis": {"url": f"redis://memory-{name}"}} for name in ("tokyo", "osaka", "london")}
        self.config = config or Config(sites=sites)
        self.cluster: Cluster = MemoryCluster(self.config)
        self._keyspaces: dict[tuple[str, str], MemoryKeyspace] = {}

    def keyspace(self, site: str, group: str) -> Keyspace:
        """See `Deployment`."""
        find_site(self.config, site)
        return self._keyspaces.setdefault((site, group), MemoryKeyspace())

    def close(self) -> None:
        """See `Deployment`."""
        self.cluster.close()


def find_site(config: Config, site: str) -> SiteConfig:
    """The configuration of a site. Raises `NotFound`, naming those that there are."""
    found = config.sites.get(site)
    if found is None:
        there = ", ".join(sorted(config.sites)) or "none"
        raise NotFound(
            f"no site {site!r} is configured (there are: {there})", hint="add [sites.NAME.redis] with its url"
        )
    return found


def open_store_alone(deployment: Deployment, site: str, group: str) -> Store:
    """The store of a group at a site by its own word of which group that is, with nothing asked of Kafka: for reading
    while Kafka is out of reach. Raises as `open_store` does, but for `LogUnavailable`."""
    keyspace = deployment.keyspace(site, group)
    try:
        with placed(Identity(group, "", site)):
            return Store.open(keyspace, Identity(group, "", site))
    except BaseException:
        keyspace.close()
        raise


def open_store(deployment: Deployment, site: str, group: str, *, create: bool = False) -> Store:
    """The store of a group at a site; with ``create``, an empty one if there is none.

    Raises `NotFound` (site, group, or a store that no worker has made yet), `WrongStore`, `StoreUnavailable`,
    `LogUnavailable`.
    """
    return open_store_of(deployment, site, deployment.cluster.find_group(group), create=create)


def open_store_of(deployment: Deployment, site: str, record: GroupCreated, *, create: bool = False) -> Store:
    """The same for who has the group's record: nothing is asked of Kafka, and nobody waits for it."""
    identity = Identity(record.group, record.group_id, site)
    keyspace = deployment.keyspace(site, record.group)
    try:
        with placed(identity):
            return Store.create(keyspace, identity) if create else Store.open(keyspace, identity)
    except BaseException:
        keyspace.close()
        raise
