"""Which kind of server the fixtures give: an existing one, else a container, else a local process."""

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from tidelog.testing.existing import ExistingKafka, ExistingRedisDatabase
from tidelog.testing.redis_settings import Appendonly
from tidelog.testing.servers import KafkaServing, RedisServing, ServerError

if TYPE_CHECKING:
    from tidelog.testing.containers import KafkaContainerServer
    from tidelog.testing.processes import KafkaServer

KAFKA_VARIABLE = "TIDELOG_TEST_KAFKA"
REDIS_VARIABLE = "TIDELOG_TEST_REDIS"
SERVERS_VARIABLE = "TIDELOG_TEST_SERVERS"
TRUE = ("1", "true", "yes", "on")


def servers_of_choice() -> Literal["containers", "processes"]:
    """What `TIDELOG_TEST_SERVERS` says; by default ("auto") containers if a Docker engine answers, else processes.

    `ServerError` where containers are asked for, or expected because of `CI=true`, and no engine answers.
    """
    asked = os.environ.get(SERVERS_VARIABLE, "auto")
    if asked == "processes":
        return "processes"
    if asked not in ("auto", "containers"):
        raise ServerError(f"{SERVERS_VARIABLE} is {asked!r}; it can be containers, processes or auto")
    if _docker_answers():
        return "containers"
    if asked == "containers":
        raise ServerError(f"no Docker engine answers, and {SERVERS_VARIABLE}=containers asks for one")
    if os.environ.get("CI", "").lower() in TRUE:
        raise ServerError(
            f"no Docker engine answers, and CI=true: start one, or say {SERVERS_VARIABLE}=processes to do without"
        )
    return "processes"


def kafka_of_choice() -> KafkaServing:
    """A Kafka, not started yet; `TIDELOG_TEST_KAFKA=host:port` wins."""
    given = os.environ.get(KAFKA_VARIABLE)
    if given:
        return ExistingKafka(given)
    if servers_of_choice() == "containers":
        from tidelog.testing.containers import KafkaContainerServer

        return KafkaContainerServer()
    from tidelog.testing.processes import KafkaServer

    return KafkaServer()


def own_kafka(listeners: Mapping[str, str]) -> "KafkaServer | KafkaContainerServer":
    """A Kafka of the caller's own, not started yet, with further listeners: a container or a process, whatever
    `TIDELOG_TEST_KAFKA` names."""
    if servers_of_choice() == "containers":
        from tidelog.testing.containers import KafkaContainerServer

        return KafkaContainerServer(listeners=listeners)
    from tidelog.testing.processes import KafkaServer

    return KafkaServer(listeners=listeners)


class RedisOfChoice:
    """Makes Redis servers, not started yet. `TIDELOG_TEST_REDIS=redis://...` wins: each call takes its next database
    that no other process has.

    A Redis with settings of its own cannot be had from an existing one; such a call gets a container or a process.
    """

    def __init__(self) -> None:
        self._databases: Iterator[int] = itertools.count()

    def __call__(
        self, name: str, appendonly: Appendonly, password: str | None, options: Mapping[str, str] | None
    ) -> RedisServing:
        given = os.environ.get(REDIS_VARIABLE)
        if given and appendonly == "off" and password is None and not options:
            databases = (ExistingRedisDatabase(given, number) for number in self._databases)
            return next(database for database in databases if database.claim())
        if servers_of_choice() == "containers":
            from tidelog.testing.containers import RedisContainerServer

            return RedisContainerServer(name=name, appendonly=appendonly, password=password, options=options)
        from tidelog.testing.processes import RedisServer

        return RedisServer(name=name, appendonly=appendonly, password=password, options=options)


def _docker_answers() -> bool:
    try:
        from tidelog.testing.container_images import docker_answers
    except ImportError:  # without the extra "testing" there is no Docker client
        return False
    return docker_answers()
