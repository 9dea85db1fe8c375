"""The servers of a run: one Kafka and two sites' Redis, started for it and ended with it."""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import redis
from kafka import KafkaAdminClient

from tidelog.config import Config
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.stack import LocalStack

PRIMARY, SECONDARY = "tokyo", "osaka"
# Room for the largest message and its record batch, as a group's own topic has it.
_MESSAGE_BYTES_MAX = "8388608"


@dataclass(frozen=True, slots=True)
class Servers:
    """How to reach them; goes to children."""

    kafka: str
    redis_urls: dict[str, str]

    def config(self) -> Config:
        """tidelog's configuration for them, everything else at its default."""
        sites = {site: {"redis": {"url": url, "socket_timeout": 60}} for site, url in self.redis_urls.items()}
        return Config(kafka={"bootstrap_servers": [self.kafka]}, sites=sites)

    def client(self, site: str = PRIMARY) -> redis.Redis:
        """redis-py on a site's Redis."""
        return redis.Redis.from_url(self.redis_urls[site])


@dataclass
class Bench:
    """What a benchmark is given: servers, and how long it may measure."""

    servers: Servers
    description: str
    pairs: int = 5
    quick: bool = False
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def _admin(self) -> Any:
        return KafkaAdminClient(bootstrap_servers=self.servers.kafka)

    @cached_property
    def _deployment(self) -> RealDeployment:
        return RealDeployment(self.servers.config())

    def sized(self, full: int, quick: int) -> int:
        """``full``, or ``quick`` in a quick run, whose figures are for trying the harness out."""
        return quick if self.quick else full

    def new_topic(self) -> str:
        """A topic with one partition, for those who do without tidelog."""
        name = f"bench-{next(self._numbers)}"
        config = {"max.message.bytes": _MESSAGE_BYTES_MAX, "retention.ms": "-1", "retention.bytes": "-1"}
        self._admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": config}})
        self._admin.wait_for_topics([name])
        return name

    def new_group(self) -> str:
        """A consistency group with nothing in it."""
        name = f"bench-{next(self._numbers)}"
        self._deployment.cluster.create_group(name)
        return name

    def topic_of(self, group: str) -> str:
        """The topic of a group's log."""
        return self._deployment.cluster.find_group(group).topic

    def drop(self, *topics: str) -> None:
        """Deletes topics, so that a run does not fill the disk."""
        self._admin.delete_topics(list(topics))

    def topic_bytes(self, topic: str) -> int:
        """What a topic takes in the broker's log directory, record batches and all."""
        size = 0
        for broker in self._admin.describe_log_dirs():
            for directory in broker["log_dirs"]:
                for found in directory["topics"]:
                    if found["name"] == topic:
                        size += sum(partition["partition_size"] for partition in found["partitions"])
        return size

    def empty_redis(self) -> None:
        """Deletes everything in both, and waits for it."""
        for site in self.servers.redis_urls:
            self.servers.client(site).flushall(asynchronous=False)

    def close(self) -> None:
        """Lets go of Kafka."""
        self._admin.close()
        self._deployment.close()


@contextmanager
def started(pairs: int, quick: bool) -> Iterator[Bench]:
    """A `Bench` whose servers run inside."""
    with LocalStack((PRIMARY, SECONDARY), appendonly="off", performance=True) as stack:
        urls = {site: server.unix_url or server.url for site, server in stack.redis.items()}
        persistence = "Redis keeps nothing on disk, over " + ("a unix socket" if _unix(urls) else "TCP")
        bench = Bench(
            Servers(stack.bootstrap_servers, urls),
            f"{stack.description}; one broker, replication factor 1; {persistence}; {os.cpu_count()} cores",
            pairs,
            quick,
        )
        try:
            yield bench
        finally:
            bench.close()


def _unix(urls: dict[str, str]) -> bool:
    return all(url.startswith("unix:") for url in urls.values())
