"""A group's log on Kafka: one topic, partition 0."""

import threading
import time
from collections.abc import Callable
from typing import Any

from kafka import TopicPartition

from tidelog.config import Config
from tidelog.errors import IS_KAFKA_UP, LogDiverged, LogUnavailable, NeedsRebuild
from tidelog.producers.envelope import Envelope, plain
from tidelog.producers.kafka_appender import KafkaAppender
from tidelog.producers.kafka_clients import close_quietly, open_admin, retried, translated
from tidelog.producers.kafka_consumer import PartitionConsumer
from tidelog.producers.kafka_topics import LOG_RULES, check_topic, count_brokers, describe_topic
from tidelog.producers.log import Bounds, Record
from tidelog.producers.reading import POLL_SLICE, FetchingReader
from tidelog.schemas.mirrors import log_id

# One record batch is enough for a look-up; Kafka sends at least one, however large.
LOOKUP_FETCH = 64 * 1024


class KafkaLog:
    """See `Log`. Connects when first asked something. Thread-safe. ``envelope`` is asked when somebody is to write."""

    def __init__(self, config: Config, topic: str, envelope: Callable[[], Envelope] = lambda: plain) -> None:
        self.name = topic
        self._config, self._envelope = config, envelope
        self._timeout = config.kafka.request_timeout
        self._lookup: PartitionConsumer | None = None
        self._lock = threading.Lock()

    @property
    def cluster_id(self) -> str:
        """See `Log`. Raises `LogUnavailable`."""
        with self._lock:
            return self._looking().cluster_id

    @property
    def id(self) -> str:
        """See `Log`. Raises `LogUnavailable`."""
        return log_id(self.cluster_id, self.name)

    def check(self) -> None:
        """See `Log`."""
        admin = open_admin(self._config)
        try:
            topic = describe_topic(admin, self._config, self.name)
            check_topic(topic, LOG_RULES, count_brokers(admin, self._config))
        finally:
            close_quietly(admin)

    def bounds(self, timeout: float | None = None) -> Bounds:
        """See `Log`."""
        with self._lock:
            return self._looking().bounds(self._timeout if timeout is None else timeout)

    def record_at(self, offset: int) -> Record | None:
        """See `Log`. One fetch and one question for the end, on a connection that is kept."""
        with self._lock:
            lookup = self._looking()
            try:
                return self._look_up(lookup, offset)
            except BaseException:
                self._lookup = None
                lookup.close()
                raise

    def _look_up(self, lookup: PartitionConsumer, offset: int) -> Record | None:
        # First, since a fetch at the end waits for a record to come.
        if offset >= lookup.end(self._timeout):
            return None
        deadline = time.monotonic() + self._timeout
        lookup.seek(offset)
        while time.monotonic() < deadline:
            try:
                # A single record, so that kafka-python fetches nothing ahead.
                found = lookup.fetch(POLL_SLICE, max_records=1)
            except (NeedsRebuild, LogDiverged):
                return None  # it went while we looked
            if found:
                return _record(found[0]) if found[0].offset == offset else None
            if lookup.position > offset:
                return None
        message = f"{self.name} gave no record within {self._timeout:g} s"
        raise LogUnavailable(message, hint=IS_KAFKA_UP, offset=offset)

    def _looking(self) -> PartitionConsumer:
        if self._lookup is None:
            size = {"fetch_max_bytes": LOOKUP_FETCH, "max_partition_fetch_bytes": LOOKUP_FETCH}
            self._lookup = PartitionConsumer(self._config, self.name, **size)
        return self._lookup

    def trim(self, offset: int) -> None:
        """See `Log`. By Kafka's own DeleteRecords."""
        admin = open_admin(self._config)
        try:
            with translated("trim", self._config, self.name):
                retried(lambda: admin.delete_records({TopicPartition(self.name, 0): offset}), self._timeout)
        finally:
            close_quietly(admin)

    def appender(self) -> KafkaAppender:
        """See `Log`."""
        return KafkaAppender(self._config, self.name, self._envelope())

    def reader(self, offset: int) -> "KafkaReader":
        """See `Log`."""
        return KafkaReader(self._config, self.name, offset)

    def close(self) -> None:
        """See `Log`."""
        with self._lock:
            if self._lookup is not None:
                self._lookup.close()
            self._lookup = None


def _record(found: Any) -> Record:
    return Record(found.offset, found.value or b"", found.leader_epoch)


class KafkaReader(FetchingReader):
    """See `Reader`."""

    def __init__(self, config: Config, topic: str, offset: int) -> None:
        super().__init__()
        self._consumer = PartitionConsumer(config, topic)
        self._consumer.seek(offset)

    def _position(self) -> int:
        return self._consumer.position

    def _move(self, offset: int) -> None:
        self._consumer.seek(offset)

    def _fetch(self, timeout: float) -> list[Record]:
        return [_record(found) for found in self._consumer.fetch(timeout)]

    def close(self) -> None:
        """See `Reader`."""
        self._consumer.close()
