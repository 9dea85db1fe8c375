"""The same Kafka and Redis as containers, through testcontainers: for faults and images that a process cannot show."""

import functools
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from docker.errors import DockerException
from docker.models.containers import Container
from redis import Redis
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.exceptions import ContainerStartException

from tidelog.testing.container_images import (
    KAFKA_IMAGE,
    OWNER_LABEL,
    REDIS_IMAGE,
    image_name,
    remove_leftovers,
)
from tidelog.testing.identity import own_identity
from tidelog.testing.kafka_settings import KAFKA_SETTINGS, QUICK_HEAP, QUICK_JVM, image_environment, with_listeners
from tidelog.testing.ports import available_port, require_free
from tidelog.testing.readiness import kafka_answers, redis_answers, wait_until
from tidelog.testing.redis_settings import Appendonly, redis_conf, redis_settings, url_credentials
from tidelog.testing.servers import ServerError, ServerKind

HOST = "127.0.0.1"
LOG_TAIL_LINES = 20
FURTHER_PORTS = 9101  # and up, inside of Kafka's container


@functools.cache
def _configure_testcontainers() -> None:
    """Once a process: no reaper (its image needs a registry; owner labels do its work), addresses on this host."""
    testcontainers_config.ryuk_disabled = True
    testcontainers_config.connection_mode_override = ConnectionMode.docker_host
    remove_leftovers()


class ContainerServer(ABC):
    """Removed when closed, when collected, and at this process's normal exit; after a SIGKILL by the next session.

    The host port is fixed and on loopback. Not for use by several threads at once. Needs the engine on this machine.
    """

    kind: ClassVar[ServerKind] = "container"
    start_timeout_s: ClassVar[float]
    stop_timeout_s: ClassVar[int]

    def __init__(self, name: str, image: str, container_port: int, host_port: int) -> None:
        _configure_testcontainers()
        self.name = name
        self.image = image
        self.port = host_port
        self._container = DockerContainer(image).with_kwargs(labels={OWNER_LABEL: own_identity()})
        self._publish(container_port, host_port)
        self._close = weakref.finalize(self, _remove, os.getpid(), self._container)

    def _publish(self, container_port: int, host_port: int | None = None) -> int:
        """The port on this machine's loopback by which that one of the container is reached."""
        port = host_port or available_port()
        # testcontainers' own method knows no address, and a port on every address would show test data to the network.
        self._container.ports[str(container_port)] = (HOST, port)  # type: ignore[assignment]
        return port

    @property
    @abstractmethod
    def description(self) -> str: ...

    @abstractmethod
    def _answers(self) -> bool:
        """Whether a client gets an answer now."""

    @property
    def running(self) -> bool:
        return self._created and self._status() in ("running", "paused")

    @property
    def _created(self) -> bool:
        if not self._close.alive:
            return False
        try:
            self._wrapped()
        except ContainerStartException:
            return False
        return True

    def start(self) -> None:
        if not self._close.alive:
            raise ServerError(f"{self.name} was closed; make a new one")
        if self.running:
            return
        require_free(self.port, self.name)
        try:
            if self._created:
                self._wrapped().start()
            else:
                self._container.start()
        except DockerException as error:
            raise ServerError(f"{self.name} cannot be started from image {self.image}: {error}") from error
        self._wait_ready()

    def _wait_ready(self) -> None:
        ready = wait_until(lambda: not self.running or self._answers(), self.start_timeout_s)
        if ready and self.running:
            return
        how = f"gave no answer within {self.start_timeout_s:.0f} s" if self.running else "ended"
        tail = self._wrapped().logs(tail=LOG_TAIL_LINES).decode(errors="replace")
        self.kill()
        raise ServerError(f"{self.name} {how} while starting; the end of its log:\n{tail}")

    def stop(self) -> None:
        if self.running:
            self._unpause()
            self._wrapped().stop(timeout=self.stop_timeout_s)

    def kill(self) -> None:
        if self.running:
            container = self._wrapped()
            container.kill()
            self._unpause()  # a frozen process meets its SIGKILL when it thaws
            container.wait(timeout=self.stop_timeout_s)

    def pause(self) -> None:
        self._require_running()
        if self._status() != "paused":
            self._wrapped().pause()

    def resume(self) -> None:
        self._require_running()
        self._unpause()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _wrapped(self) -> Container:
        return self._container.get_wrapped_container()

    def _status(self) -> str:
        container = self._wrapped()
        container.reload()
        return str(container.status)

    def _unpause(self) -> None:
        if self._status() == "paused":
            self._wrapped().unpause()

    def _require_running(self) -> None:
        if not self.running:
            raise ServerError(f"{self.name} does not run")


def _remove(owner_pid: int, container: DockerContainer) -> None:
    if os.getpid() == owner_pid:  # not when a fork of the owner exits
        container.stop()


class KafkaContainerServer(ContainerServer):
    """Kafka as one KRaft node, from an image with apache/kafka's interface. `options` are broker settings and win;
    `listeners` and `listener_ports` as `KafkaServer` has them."""

    start_timeout_s = 90.0
    stop_timeout_s = 20

    def __init__(
        self,
        *,
        name: str = "kafka",
        port: int | None = None,
        image: str | None = None,
        options: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, image or image_name(KAFKA_IMAGE), 9092, port or available_port())
        told = dict(listeners or {})
        inside = {listener: FURTHER_PORTS + number for number, listener in enumerate(told)}
        self.listener_ports = {listener: self._publish(inner) for listener, inner in inside.items()}
        addresses = {
            "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.quorum.voters": "1@localhost:9093",
            "log.dirs": "/tmp/kraft-combined-logs",  # the official image runs unprivileged and may write there
        }
        self._container.with_envs(
            KAFKA_HEAP_OPTS=" ".join(QUICK_HEAP),
            KAFKA_JVM_PERFORMANCE_OPTS=" ".join(QUICK_JVM),
            **image_environment(
                KAFKA_SETTINGS
                | with_listeners(addresses, {name: f":{inner}" for name, inner in inside.items()}, told)
                | dict(options or {})
            ),
        )

    @property
    def description(self) -> str:
        return f"Kafka {self.image.rpartition(':')[2]} in a container (image {self.image})"

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.port}"

    def _answers(self) -> bool:
        return kafka_answers(self.bootstrap_servers)


class RedisContainerServer(ContainerServer):
    """Redis or Valkey; arguments as `RedisServer` has them."""

    start_timeout_s = 30.0
    stop_timeout_s = 10
    unix_url: str | None = None

    def __init__(
        self,
        *,
        name: str = "redis",
        port: int | None = None,
        appendonly: Appendonly = "off",
        password: str | None = None,
        maxmemory_policy: str = "noeviction",
        options: Mapping[str, str] | None = None,
        image: str | None = None,
    ) -> None:
        super().__init__(name, image or image_name(REDIS_IMAGE), 6379, port or available_port())
        self.password = password
        settings = redis_settings(appendonly, maxmemory_policy, password) | dict(options or {})
        # Clients come from outside the container, which protected mode refuses; the port is on loopback only.
        conf = redis_conf({"protected-mode": "no"} | settings)
        self._container.with_copy_into_container(conf.encode(), "/tmp/tidelog-redis.conf", 0o644)
        self._container.with_command(["/tmp/tidelog-redis.conf"])

    @property
    def description(self) -> str:
        return f"{self._software} in a container (image {self.image})"

    @functools.cached_property
    def _software(self) -> str:
        with Redis.from_url(self.url, socket_timeout=5) as client:
            info = client.info("server")
        valkey = info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"

    @property
    def url(self) -> str:
        return f"redis://{url_credentials(self.password)}{HOST}:{self.port}/0"

    def _answers(self) -> bool:
        return redis_answers(self.url)
