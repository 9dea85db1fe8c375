"""One Kafka and a Redis for each site, for the demo, benchmarks and trying things out."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Self

from tidelog.testing.existing import ExistingKafka, ExistingRedis
from tidelog.testing.processes import KafkaServer, RedisBinary, RedisServer
from tidelog.testing.redis_settings import Appendonly

SITES = ("tokyo", "osaka", "london")
KAFKA_VARIABLE = "TIDELOG_KAFKA__BOOTSTRAP_SERVERS"


def given_kafka() -> str | None:
    """The Kafka that the environment gives, "host:port"."""
    return os.environ.get(KAFKA_VARIABLE) or None


def given_redis(site: str) -> str | None:
    """The Redis that the environment gives to a site, a URL: `TIDELOG_SITES__TOKYO__REDIS__URL`."""
    return os.environ.get(f"TIDELOG_SITES__{site.upper()}__REDIS__URL") or None


def stack_toml(bootstrap_servers: str, redis_urls: Mapping[str, str]) -> str:
    """A `tidelog.toml` for these servers."""
    lines = ["[kafka]", f"bootstrap_servers = {json.dumps(bootstrap_servers)}"]
    for site, url in redis_urls.items():
        lines += ["", f"[sites.{site}.redis]", f"url = {json.dumps(url)}"]
    return "\n".join(lines) + "\n"


class LocalStack:
    """A context manager: all servers answer inside, none is left afterwards. Servers are child processes.

    An endpoint in the environment wins over a server of our own: `TIDELOG_KAFKA__BOOTSTRAP_SERVERS`, and
    `TIDELOG_SITES__<SITE>__REDIS__URL` for each site; such servers are neither started nor ended.
    """

    def __init__(
        self,
        sites: Sequence[str] = SITES,
        *,
        appendonly: Appendonly = "everysec",
        performance: bool = False,
        redis_binary: RedisBinary = "auto",
        kafka_options: Mapping[str, str] | None = None,
        redis_options: Mapping[str, str] | None = None,
    ) -> None:
        given = given_kafka()
        self.kafka: KafkaServer | ExistingKafka = (
            ExistingKafka(given) if given else KafkaServer(performance=performance, options=kafka_options)
        )
        self.redis: dict[str, RedisServer | ExistingRedis] = {}
        for site in sites:
            url = given_redis(site)
            self.redis[site] = (
                ExistingRedis(url)
                if url
                else RedisServer(
                    name=f"redis-{site}", appendonly=appendonly, binary=redis_binary, options=redis_options
                )
            )
        self._exit = ExitStack()

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    @property
    def redis_urls(self) -> dict[str, str]:
        """Site -> `redis://` URL over TCP."""
        return {site: server.url for site, server in self.redis.items()}

    @property
    def toml(self) -> str:
        """A `tidelog.toml` for these servers."""
        return stack_toml(self.bootstrap_servers, self.redis_urls)

    @property
    def description(self) -> str:
        """For people: "Kafka 4.3.0 in a local process; tokyo: Redis 7.0.15 in a local process; ..."."""
        redis = (f"{site}: {server.description}" for site, server in self.redis.items())
        return "; ".join((self.kafka.description, *redis))

    def start(self) -> None:
        """Starts all at the same time; on failure none is left running."""
        servers = (self.kafka, *self.redis.values())
        with ExitStack() as exit_stack:
            for server in servers:
                exit_stack.callback(server.close)
            for server in servers:
                if isinstance(server, KafkaServer | RedisServer):
                    server.launch()
            for server in servers:
                if isinstance(server, KafkaServer | RedisServer):
                    server.wait_ready()
                else:
                    server.start()
            self._exit = exit_stack.pop_all()

    def close(self) -> None:
        """Ends the servers that `start` started."""
        self._exit.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
