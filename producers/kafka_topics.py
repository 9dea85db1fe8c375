"""The rules of a log's topic (DESIGN section 3): made so, and checked at every open."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from tidelog.config import Config
from tidelog.errors import ConfigError, NotFound
from tidelog.producers.kafka_clients import REQUEST_SIZE, retried, translated

REPLICAS = 3
MIN_INSYNC = 2

_COMMON = {"unclean.leader.election.enable": "false"}
# Kept for ever: only `log trim` deletes, so that an idle group does not die of retention.
LOG_RULES = _COMMON | {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(REQUEST_SIZE),
}
COMPACTED_RULES = _COMMON | {"cleanup.policy": "compact"}
# No rules, but made so: only closed segments are compacted, and a site reports its status every second.
COMPACTED_HABITS = {"segment.bytes": str(8 * 1024 * 1024), "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}
_AT_LEAST = ("min.insync.replicas", "max.message.bytes")
_WHY = {
    "cleanup.policy": "compaction or deletion by age would take events out of the chain",
    "retention.ms": "an idle group would lose its log",
    "retention.bytes": "a busy group would lose its log",
    "unclean.leader.election.enable": "a leader that was behind would lose confirmed events",
    "min.insync.replicas": "a confirmed event could stand on one broker only",
    "max.message.bytes": "a large write batch would be refused",
}


# Of several brokers each has heard of a new topic after so long (seconds).
HEARD_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the cluster describes it. ``id`` is its UUID, empty on brokers before 2.8."""

    name: str
    id: str
    partitions: int
    replicas: int
    settings: Mapping[str, str] = field(default_factory=dict)


def describe_topic(admin: Any, config: Config, name: str) -> Topic:
    """Raises `NotFound`, `LogUnavailable`."""
    until = time.monotonic() + HEARD_WITHIN

    def ask() -> tuple[Any, Any]:
        found = admin.describe_topics([name])[0]
        error = kafka_errors.for_code(found["error_code"])
        if error is kafka_errors.UnknownTopicOrPartitionError:
            if time.monotonic() < until and len(admin.describe_cluster()["brokers"]) > 1:
                raise error(name)  # asked again: another broker may have made it just now
            raise NotFound(f"there is no topic {name}", hint="`tidelog group create` makes it")
        if error is not kafka_errors.NoError:
            raise error(name)
        resource = ConfigResource(ConfigResourceType.TOPIC, name)
        settings = admin.describe_configs([resource], config_filter="all")["topic"][name]
        if not settings:  # kafka-python passes over the answer's error, and a topic without rules would break none
            if time.monotonic() < until and len(admin.describe_cluster()["brokers"]) > 1:
                raise kafka_errors.UnknownTopicOrPartitionError(name)
            raise kafka_errors.TopicAuthorizationFailedError(f"{name}: its settings (DESCRIBE_CONFIGS)")
        return found, settings

    with translated("describe the topic", config, name):
        found, settings = retried(ask, config.kafka.request_timeout)
    partitions = found["partitions"]
    return Topic(
        name=name,
        id=str(found.get("topic_id") or ""),
        partitions=len(partitions),
        replicas=min((len(partition["replica_nodes"]) for partition in partitions), default=0),
        settings={key: str(setting["value"]) for key, setting in settings.items()},
    )


def broken_rules(topic: Topic, rules: Mapping[str, str], brokers: int) -> list[tuple[str, str]]:
    """Every rule that ``topic`` breaks, as (what is wrong, how to mend it). Pure."""
    broken = []
    alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic.name} --add-config"
    if topic.partitions != 1:
        broken.append((f"it has {topic.partitions} partitions, and an order needs exactly one", "make a new topic"))
    wanted = dict(rules)
    if brokers >= REPLICAS:
        if topic.replicas < REPLICAS:
            broken.append((f"it has {topic.replicas} replicas, not {REPLICAS}", "kafka-reassign-partitions.sh"))
        wanted["min.insync.replicas"] = str(MIN_INSYNC)
    for name, value in wanted.items():
        given = topic.settings.get(name, value)
        enough = int(given) >= int(value) if name in _AT_LEAST else given == value
        if not enough:
            broken.append((f"its {name} is {given}, not {value}: {_WHY[name]}", f"{alter} {name}={value}"))
    return broken


def check_topic(topic: Topic, rules: Mapping[str, str], brokers: int) -> None:
    """Raises `ConfigError` that names every rule that the topic breaks, and how to mend it."""
    broken = broken_rules(topic, rules, brokers)
    if broken:
        reasons = "; ".join(reason for reason, _ in broken)
        raise ConfigError(
            f"the topic {topic.name} breaks a rule: {reasons}", hint="; ".join(mend for _, mend in broken)
        )


def count_brokers(admin: Any, config: Config) -> int:
    """How many brokers the cluster has now. Raises `LogUnavailable`."""
    with translated("describe the cluster", config):
        return len(retried(admin.describe_cluster, config.kafka.request_timeout)["brokers"])


def make_topic(admin: Any, config: Config, name: str, rules: Mapping[str, str]) -> bool:
    """Makes a topic that keeps the rules; False if there is one of that name, of whatever kind. Returns once it can be
    used. Raises `LogUnavailable`, `ConfigError`."""
    many = count_brokers(admin, config) >= REPLICAS
    settings = dict(rules) | (COMPACTED_HABITS if rules is COMPACTED_RULES else {})
    if many:
        settings["min.insync.replicas"] = str(MIN_INSYNC)
    wanted = {name: {"num_partitions": 1, "replication_factor": REPLICAS if many else 1, "configs": settings}}
    made = True
    with translated("make the topic", config, name):
        try:
            retried(lambda: admin.create_topics(wanted), config.kafka.request_timeout)
        except kafka_errors.TopicAlreadyExistsError:
            made = False
        admin.wait_for_topics([name], timeout_ms=int(config.kafka.request_timeout * 1000))
    return made
