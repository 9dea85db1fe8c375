"""The control topic on Kafka: compacted, one partition, keyed; and the topic that keeps the schemas."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from kafka import errors as kafka_errors

from tidelog.config import Config
from tidelog.errors import IS_KAFKA_UP, LogDiverged, LogUnavailable, NeedsRebuild, NotFound
from tidelog.producers.control import PUBLISH_TIMEOUT, ControlView, Fold
from tidelog.producers.kafka_clients import CLOSE_TIMEOUT, as_tidelog_error, close_quietly, open_admin, open_producer
from tidelog.producers.kafka_consumer import PartitionConsumer
from tidelog.producers.kafka_topics import COMPACTED_RULES, check_topic, count_brokers, describe_topic, make_topic
from tidelog.producers.reading import POLL_SLICE
from tidelog.schemas.control_record import ControlRecord
from tidelog.schemas.registry import schemas

# How long (seconds) one reads on for all that wait for news before who asks gets its turn. A fetch in flight holds up
# the next question on its connection, so the broker keeps none for longer.
_TURN = 0.05
# How long (seconds) anybody waits to be woken before it looks by itself: Ctrl-C may come upon who was to wake it.
_LOOK_UP = 1.0


class KafkaControl:
    """See `Control`. Connects when first asked something, and makes the topic then if it is not there."""

    def __init__(self, config: Config, topic: str) -> None:
        self._config = config
        self._topic = topic
        self._fold = Fold()  # changed by the one who reads, under the lock of the conditions
        self._lock = threading.RLock()  # whose wait, unlike a Lock's, Ctrl-C does not end without the lock
        self._news = threading.Condition(self._lock)  # something came, or nobody reads: for who waits for news
        self._free = threading.Condition(self._lock)  # nobody reads: for who asks, and goes first
        # Which thread reads, or 0. Ctrl-C may come upon any call and nowhere else: so who reads takes itself out before
        # it calls anything, or nobody would ever read again.
        self._reading = 0
        self._asking = 0
        self._torn = False  # what was fetched last may not have got into the fold
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
        deadline, me = time.monotonic() + timeout, threading.get_ident()
        try:
            if not self._begin_reading(timeout):
                message = f"{self._topic} was not read within {timeout:g} s, since others wait for Kafka"
                raise LogUnavailable(message, hint=IS_KAFKA_UP)
            consumer = self._reader()
            end = consumer.end(timeout)
            if consumer.position > end:
                self._read(consumer, POLL_SLICE)  # made anew, or the end is that of a leader which is new: this tells
            while consumer.position < end:
                self._read(consumer, POLL_SLICE)
                if time.monotonic() > deadline and consumer.position < end:
                    message = f"{self._topic} was not read to its end within {timeout:g} s"
                    raise LogUnavailable(message, hint=IS_KAFKA_UP)
            return self._fold.view()
        finally:
            if self._reading == me:
                self._reading = 0
            self._wake_next()

    def wait_for(self, predicate: Callable[[ControlView], bool], timeout: float) -> bool:
        """See `Control`. One of all that wait reads, and each looks at what came."""
        deadline, me = time.monotonic() + timeout, threading.get_ident()
        while True:
            try:
                with self._lock:
                    if predicate(self._fold.records):
                        return True
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    if self._reading or self._asking:
                        self._news.wait(min(left, _LOOK_UP))
                        continue
                    self._reading = me
                self._read(self._reader(), min(left, _TURN))
            finally:
                if self._reading == me:
                    self._reading = 0
                self._wake_next()

    def _begin_reading(self, timeout: float) -> bool:
        deadline, me = time.monotonic() + timeout, threading.get_ident()
        with self._lock:
            self._asking += 1
            try:
                while self._reading:
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return False
                    self._free.wait(min(left, _LOOK_UP))
                self._reading = me
                return True
            finally:
                self._asking -= 1

    def _wake_next(self) -> None:
        with self._lock:
            if not self._reading:
                (self._free if self._asking else self._news).notify()

    def _read(self, consumer: PartitionConsumer, timeout: float) -> None:
        self._torn = True
        try:
            records = consumer.fetch(timeout)
        except (LogDiverged, NeedsRebuild):
            # The topic was made anew, or compaction passed us by: what counts is what it holds now.
            self._begin_anew(consumer)
            return
        except LogUnavailable:
            self._torn = False
            raise
        with self._lock:
            for record in records:
                if record.key is not None:
                    self._fold.add(record.key, record.value)
            if records:
                self._news.notify_all()
        self._torn = False

    def _begin_anew(self, consumer: PartitionConsumer) -> None:
        consumer.seek(consumer.bounds(self._config.kafka.request_timeout).start)
        with self._lock:
            self._fold = Fold()
        self._torn = False

    def _reader(self) -> PartitionConsumer:
        self._open()
        if self._consumer is None:
            ensure_topic(self._config, self._topic)
            self._consumer = PartitionConsumer(self._config, self._topic, fetch_max_wait_ms=int(_TURN * 1000))
            self._torn = True
        if self._torn:
            self._begin_anew(self._consumer)
        return self._consumer

    def _open(self) -> None:
        if self._closed:
            raise LogUnavailable("the control topic was closed")

    @property
    def unreadable(self) -> Mapping[str, str]:
        """See `Control`."""
        with self._lock:
            return dict(self._fold.unreadable)

    def close(self) -> None:
        """See `Control`."""
        self._closed = True
        # Who waits for a Kafka that is gone reads, or holds the lock, for up to its own time, and ends by itself.
        me = threading.get_ident()
        try:
            if self._begin_reading(CLOSE_TIMEOUT) and self._consumer is not None:
                self._consumer.close()
        finally:
            if self._reading == me:
                self._reading = 0
            self._wake_next()
        if self._writing.acquire(timeout=CLOSE_TIMEOUT):
            try:
                if self._producer is not None:
                    close_quietly(self._producer)
            finally:
                self._writing.release()


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
            for record in consumer.fetch(POLL_SLICE):
                (keys.discard if record.value is None else keys.add)(record.key)
            if time.monotonic() > deadline:
                raise LogUnavailable(f"{topic} was not read to its end within {timeout:g} s", hint=IS_KAFKA_UP)
        return keys
    finally:
        consumer.close()
