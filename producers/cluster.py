"""One Kafka as tidelog sees it: the groups, their logs and the control topic.

`KafkaCluster` is the real one, `MemoryCluster` its twin in one process. The public API, the worker and the tests are
written against `Cluster`.
"""

import uuid
from abc import abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from tidelog.clock import wall_us
from tidelog.config import Config
from tidelog.errors import AlreadyExists, ConfigError, NotFound
from tidelog.names import check_name
from tidelog.producers.control import Control
from tidelog.producers.envelope import Envelopes
from tidelog.producers.kafka_clients import close_quietly, open_admin
from tidelog.producers.kafka_connect import connect_groups
from tidelog.producers.kafka_control import KafkaControl, publish_schemas
from tidelog.producers.kafka_log import KafkaLog
from tidelog.producers.kafka_topics import LOG_RULES, describe_topic, make_topic
from tidelog.producers.log import Log
from tidelog.producers.memory_control import MemoryControl
from tidelog.producers.memory_log import MemoryLog
from tidelog.producers.mirrors import MirrorSource, begins_with, mirror_here, mirror_record, record_here, seals_of
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated, group_key
from tidelog.schemas.mirrors import LogMirrored, mirror_key


class Cluster(Protocol):
    """What one configuration reaches. Thread-safe. Making one connects to nothing; the first call that must, does."""

    @property
    def config(self) -> Config:
        """The configuration it was made from."""

    @property
    def control(self) -> Control:
        """The control topic, shared by all who use this cluster; made on first use if it is not there."""

    def create_group(self, name: str, *, keyed: bool | None = None) -> GroupCreated:
        """Makes a group: its topic, its id, its record on the control topic. A crash in between leaves a topic without
        a record; the same call then goes on from there, as long as that topic is empty.

        ``keyed`` says whether seals are keyed; None means "if the configuration has a key for it". Raises
        `InvalidName`, `AlreadyExists`, `ConfigError` (keyed without a key; a topic that breaks a rule),
        `LogUnavailable`.
        """

    def mirror_group(self, group: GroupCreated, source: MirrorSource) -> LogMirrored:
        """Takes up a group of another cluster: its topic here, made by the same rules, its id and record as they are
        there, and that its log here is a mirror; told to the source's control topic too, where that is known. A group
        whose log here is sealed gets another topic, the next incarnation. Nothing is copied: that is Kafka's
        MirrorMaker. A crash in between leaves what the same call goes on from.

        Raises `AlreadyExists` (a group of that name that is another's or is written to here; a topic with records of
        another group), `UsageError` (the source is this cluster), `ConfigError`, `LogUnavailable`.
        """

    def mirror_makers(self) -> list[str]:
        """What of Kafka Connect runs into this cluster, by its group's id: MirrorMaker runs as one. Raises
        `LogUnavailable`."""

    def find_group(self, name: str) -> GroupCreated:
        """The group of that name. Raises `NotFound`, `LogUnavailable`."""

    def list_groups(self) -> list[GroupCreated]:
        """Every group, by name. Raises `LogUnavailable`."""

    def codec(self, group: GroupCreated) -> Codec:
        """How this group's events are sealed: with the configured key if it is keyed. Raises `ConfigError` if that key
        is missing, or there is one for a group that has none."""

    def log(self, group: GroupCreated) -> Log:
        """The group's log, its topic checked against the rules (DESIGN section 3). A new handle each time: whoever
        asks closes it. Raises `NotFound`, `ConfigError`, `LogUnavailable`."""

    def require_registry(self, group: GroupCreated) -> None:
        """For who is to write to the group: asks the schema registry, if events are to be framed by its ids. Raises
        `RegistryUnavailable`, `ConfigError`."""

    def keep_schemas(self) -> list[str]:
        """Puts the schemas of this version that are missing on the schemas topic, by which a log is read without
        tidelog; their names. `create_group` and `mirror_group` do so, too. Raises `ConfigError`, `LogUnavailable`."""

    def log_id(self, group: GroupCreated) -> str:
        """The id of the group's log (`Log.id`). Raises as `log`."""

    def close(self) -> None:
        """Ends what the cluster holds open: the control topic's connections. Logs given out stay open."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class _Groups(Cluster):
    """What both kinds of cluster do alike."""

    @abstractmethod
    def _claim(self, topic: str, begins: Callable[[Log], bool] = lambda _: False) -> str:
        """Makes the topic, or takes the one of that name if it is empty or ``begins`` as it may; its id, the same for
        all who claim it. Raises `AlreadyExists`, `ConfigError`, `LogUnavailable`."""

    def create_group(self, name: str, *, keyed: bool | None = None) -> GroupCreated:
        check_name("group", name)
        has_key = self.config.group_key(name) is not None
        if keyed and not has_key:
            hint = f"set groups.{name}.key_file; `openssl rand -hex 32` makes a key"
            raise ConfigError(f"the group {name} shall be keyed, and there is no key for it", hint=hint)
        if keyed is False and has_key:
            raise ConfigError(f"the group {name} shall not be keyed, and there is a key", hint=f"drop groups.{name}")
        if group_key(name) in self.control.snapshot():
            raise AlreadyExists(f"there is a group {name} already", group=name)
        topic = f"{self.config.prefix}.{name}"
        # The topic's own id is the group's: two who create it at once agree, and a new topic of that name is another.
        group_id = self._claim(topic)
        created = GroupCreated(group=name, group_id=group_id, topic=topic, keyed=has_key, created_us=wall_us())
        self.control.publish(created)
        return created

    def mirror_group(self, group: GroupCreated, source: MirrorSource) -> LogMirrored:
        view = self.control.snapshot()
        here = record_here(view, group, self.log_id)
        codec = self.codec(here)
        self._claim(here.topic, lambda log: begins_with(log, codec, here))
        mirror = mirror_record(here, source, self.log_id(here), self.config.kafka.bootstrap_servers)
        if source.control is not None:
            for sealed in seals_of(source.control.snapshot(), group.group):
                if sealed.key not in view:  # for sites that come from there
                    self.control.publish(sealed)
            source.control.publish(mirror)
        self.control.publish(mirror)  # before the group: nobody may find that and take it for one to write to
        self.control.publish(here)
        if mirror_here(view, group.group, source.log) is not None:
            self.control.retract(mirror_key(group.group, source.log))  # that log is a mirror of this one no more
        return mirror

    def log_id(self, group: GroupCreated) -> str:
        log = self.log(group)
        try:
            return log.id
        finally:
            log.close()

    def find_group(self, name: str) -> GroupCreated:
        found = self.control.snapshot().get(group_key(name))
        if isinstance(found, GroupCreated):
            return found
        unreadable = self.control.unreadable.get(group_key(name))
        if unreadable:
            raise NotFound(f"the record of the group {name} cannot be read: {unreadable}", hint="upgrade tidelog")
        known = ", ".join(group.group for group in self.list_groups()) or "none"
        raise NotFound(f"there is no group {name}", hint=f"there are: {known}; `tidelog group create` makes one")

    def list_groups(self) -> list[GroupCreated]:
        groups = [record for record in self.control.snapshot().values() if isinstance(record, GroupCreated)]
        return sorted(groups, key=lambda group: group.group)

    def codec(self, group: GroupCreated) -> Codec:
        key = self.config.group_key(group.group)
        if group.keyed and key is None:
            hint = f"set groups.{group.group}.key_file to the group's key"
            raise ConfigError(f"the group {group.group} is keyed, and there is no key for it", hint=hint)
        if not group.keyed and key is not None:
            hint = f"drop the key under groups.{group.group}"
            raise ConfigError(f"the group {group.group} is not keyed, and there is a key for it", hint=hint)
        return Codec(key)

    def close(self) -> None:
        self.control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class KafkaCluster(_Groups):
    """See `Cluster`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._control = KafkaControl(config, f"{config.prefix}-control")
        self._envelopes = Envelopes(config)

    @property
    def config(self) -> Config:
        return self._config

    @property
    def control(self) -> KafkaControl:
        return self._control

    def _claim(self, topic: str, begins: Callable[[Log], bool] = lambda _: False) -> str:
        self.keep_schemas()
        admin = open_admin(self._config)
        try:
            made = make_topic(admin, self._config, topic, LOG_RULES)
            found = describe_topic(admin, self._config, topic)
        finally:
            close_quietly(admin)
        log = KafkaLog(self._config, topic)
        try:
            log.check()
            if not made and log.bounds().end > 0 and not begins(log):
                hint = "delete that topic, or choose another name"
                raise AlreadyExists(f"there is a topic {topic} with records that belong to no group", hint=hint)
        finally:
            log.close()
        return found.id or str(uuid.uuid4())

    def mirror_makers(self) -> list[str]:
        return connect_groups(self._config)

    def require_registry(self, group: GroupCreated) -> None:
        self._envelopes.require(group)

    def keep_schemas(self) -> list[str]:
        return publish_schemas(self._config, f"{self._config.prefix}-schemas")

    def log(self, group: GroupCreated) -> KafkaLog:
        log = KafkaLog(self._config, group.topic, lambda: self._envelopes.of(group))
        log.check()
        return log


class MemoryCluster(_Groups):
    """See `Cluster`. Groups and logs last as long as this object; group ids follow from the names."""

    def __init__(self, config: Config | None = None, cluster_id: str = "memory") -> None:
        self._config = config or Config()
        self._cluster_id = cluster_id
        self._control = MemoryControl()
        self._logs: dict[str, MemoryLog] = {}

    @property
    def config(self) -> Config:
        return self._config

    @property
    def control(self) -> MemoryControl:
        return self._control

    def _claim(self, topic: str, begins: Callable[[Log], bool] = lambda _: False) -> str:
        log = self._logs.setdefault(topic, MemoryLog(topic, self._cluster_id))
        if log.bounds().end > 0 and not begins(log):
            raise AlreadyExists(f"there is a topic {topic} with records that belong to no group")
        return str(uuid.uuid5(uuid.NAMESPACE_URL, topic))

    def mirror_makers(self) -> list[str]:
        return []

    def require_registry(self, group: GroupCreated) -> None:
        """A log in memory has no readers elsewhere: its events are in single-object encoding."""

    def keep_schemas(self) -> list[str]:
        """There is no topic for them."""
        return []

    def log(self, group: GroupCreated) -> MemoryLog:
        """See `Cluster`; the same object each time, so that a test can do to it what it likes."""
        if group.topic not in self._logs:
            raise NotFound(f"there is no topic {group.topic}")
        return self._logs[group.topic]
