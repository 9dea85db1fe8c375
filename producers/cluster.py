"""One Kafka as tidelog sees it: the groups, their logs and the control topic.

`KafkaCluster` is the real one, `MemoryCluster` its twin in one process. The public API, the worker and the tests are
written against `Cluster`.
"""

from types import TracebackType
from typing import Protocol, Self

from tidelog.config import Config
from tidelog.producers.control import Control
from tidelog.producers.log import Log
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated


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

    def close(self) -> None:
        """Ends what the cluster holds open: the control topic's connections. Logs given out stay open."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
