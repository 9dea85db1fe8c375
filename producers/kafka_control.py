"""The control topic on Kafka: compacted, one partition, keyed; and the topic that keeps the schemas."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka import errors as kafka_errors

from tidelog.config import Config
from tidelog.errors import LogDiverged, LogUnavailable, NeedsRebuild, NotFound
from tidelog.producers.control import PUBLISH_TIMEOUT, ControlView, Fold
from tidelog.producers.kafka_clients import CLOSE_TIMEOUT, as_tidelog_error, close_quietly, open_admin, open_producer
from tidelog.producers.kafka_consumer import PartitionConsumer
from tidelog.producers.kafka_topics import COMPACTED_RULES, check_topic, count_brokers, describe_topic, make_topic
from tidelog.producers.reading import POLL_SLICE
from tidelog.schemas.control_record import ControlRecord
from tidelog.schemas.registry import schemas

# How long a waiter holds the reader before another caller gets its turn.
_TURN = 0.05


class KafkaControl:
    """See `Control`. Connects when first asked something, and makes the topic then if it is not there."""

    def __init__(self, config: Config, topic: str) -> None:
        self._config = config
        self._topic = topic
        self._fold = Fold()
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._consumer: PartitionConsumer | None = None
        self._producer: Any = None
        self._closed = False

    def publish(self, record: ControlRecord, timeout: float = PUBLISH_TIMEOUT) -> None:
        """See `Control`."""
        self._send(record.key.encode(), record.encode(), timeout)

    def retract(self, key: str, timeout: float = PUBLISH_TIMEOUT) -> None:
        """See `Control`."""
        self._send(key.encode(), None, timeout)

    def _send(self, key: bytes, value: bytes | None, timeout: float) -> None:
        since = time.monotonic()
        with self._writing:
            self._open()
            if self._producer is None:
                ensure_topic(self._config, self._topic)
                self._producer = open_producer(self._config)
            producer = self._producer
        try:
            producer.send(self._topic, value, key=key, partition=0).get(timeout)
        except kafka_errors.KafkaError as error:
            self._drop(producer)  # or it would keep what did not go out, and send all of it some day
            raise as_tidelog_error(error, "write to", self._config, self._topic, since) from error

    def _drop(self, producer: Any) -> None:
        with self._writing:
            if self._producer is producer:
                self._producer = None
        close_quietly(producer)

    def snapshot(self, timeout: float = PUBLISH_TIMEOUT) -> ControlView:
        """See `Control`."""
        deadline = time.monotonic() + timeout
        if not self._reading.acquire(timeout=timeout):
            raise LogUnavailable(f"{self._topic} was not read within {timeout:g} s, since others wait for Kafka")
        try:
            consumer = self._reader()
            end = consumer.end(timeout)
            while consumer.position < end:
                self._read(consumer, POLL_SLICE)
                if time.monotonic() > deadline and consumer.position < end:
                    raise LogUnavailable(f"{self._topic} was not read to its end within {timeout:g} s")
            return self._fold.view()
        finally:
            self._reading.release()

    def wait_for(self, predicate: Callable[[ControlView], bool], timeout: float) -> bool:
        """See `Control`."""
        deadline = time.monotonic() + timeout
        while True:
            if not self._reading.acquire(timeout=max(_TURN, deadline - time.monotonic())):
                return False  # whoever has it may wait for Kafka
            try:
                if predicate(self._fold.records):
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._read(self._reader(), min(left, _TURN))
            finally:
                self._reading.release()
            time.sleep(0)

    def _read(self, consumer: PartitionConsumer, timeout: float) -> None:
        try:
            for record in consumer.fetch(timeout):
                if record.key is not None:
                    self._fold.add(record.key, record.value)
        except (LogDiverged, NeedsRebuild):
            # The topic was made anew, or compaction passed us by: what counts is what it holds now.
            self._fold = Fold()
            consumer.seek(consumer.bounds(self._config.kafka.request_timeout).start)

    def _reader(self) -> PartitionConsumer:
        self._open()
        if self._consumer is None:
            ensure_topic(self._config, self._topic)
            self._consumer = PartitionConsumer(self._config, self._topic)
            self._consumer.seek(self._consumer.bounds(self._config.kafka.request_timeout).start)
        return self._consumer

    def _open(self) -> None:
        if self._closed:
            raise LogUnavailable("the control topic was closed")

    @property
    def unreadable(self) -> Mapping[str, str]:
        """See `Control`."""
        with self._reading:
            return dict(self._fold.unreadable)

    def close(self) -> None:
        """See `Control`."""
        self._closed = True
        # Who waits for a Kafka that is gone holds a lock for up to its own time, and ends by itself.
        for lock, ends in ((self._reading, self._close_consumer), (self._writing, self._close_producer)):
            if lock.acquire(timeout=CLOSE_TIMEOUT):
                try:
                    ends()
                finally:
                    lock.release()

    def _close_consumer(self) -> None:
        if self._consumer is not None:
            self._consumer.close()

    def _close_producer(self) -> None:
        if self._producer is not None:
            close_quietly(self._producer)


def ensure_topic(config: Config, topic: str) -> None:
    """Makes a compacted topic if it is not there, and checks its rules. Raises `ConfigError`, `LogUnavailable`."""
    admin = open_admin(config)
    try:
        try:
            found = describe_topic(admin, config, topic)
        except NotFound:
            make_topic(admin, config, topic, COMPACTED_RULES)
            found = describe_topic(admin, config, topic)
        check_topic(found, COMPACTED_RULES, count_brokers(admin, config))
    finally:
        close_quietly(admin)


def publish_schemas(config: Config, topic: str, timeout: float = PUBLISH_TIMEOUT) -> list[str]:
    """Puts every schema that is missing on the compacted topic ``<prefix>-schemas``, its text keyed by fingerprint in
    hexadecimal, so that a bare log can be decoded years later. The names of those it put. Raises as `Control` does."""
    ensure_topic(config, topic)
    there = _keys(config, topic, timeout)
    missing = {name: schema for name, schema in schemas().items() if schema.fingerprint.hex().encode() not in there}
    if not missing:
        return []
    producer = open_producer(config)
    since = time.monotonic()
    try:
        sent = [
            producer.send(topic, schema.text.encode(), key=schema.fingerprint.hex().encode(), partition=0)
            for schema in missing.values()
        ]
        for future in sent:
            future.get(timeout)
    except kafka_errors.KafkaError as error:
        raise as_tidelog_error(error, "write to", config, topic, since) from error
    finally:
        close_quietly(producer)
    return list(missing)


def _keys(config: Config, topic: str, timeout: float) -> set[bytes]:
    consumer = PartitionConsumer(config, topic)
    try:
        bounds = consumer.bounds(timeout)
        consumer.seek(bounds.start)
        keys: set[bytes] = set()
        deadline = time.monotonic() + timeout
        while consumer.position < bounds.end:
            keys |= {record.key for record in consumer.fetch(POLL_SLICE) if record.key is not None}
            if time.monotonic() > deadline:
                raise LogUnavailable(f"{topic} was not read to its end within {timeout:g} s")
        return keys
    finally:
        consumer.close()
