"""One writer's way into a Kafka log, with an idempotent producer of its own."""

import logging
import threading
import time
from typing import Any

from kafka import errors as kafka_errors

from tidelog.config import Config
from tidelog.errors import LogUnavailable, TidelogError
from tidelog.producers.envelope import Envelope, plain
from tidelog.producers.kafka_clients import as_tidelog_error, open_producer, retried, translated
from tidelog.producers.log import UNKNOWN_OFFSET, Acknowledged

_JOIN_TIMEOUT = 1.0
_GRACE = 0.1


class KafkaAppender:
    """See `Appender`. Sends to partition 0.

    kafka-python calls back from the thread that sends. While it does, it has the partition *muted*: nothing further is
    sent before the callback returns. So a callback that ends this appender stops whatever waits behind it.
    """

    def __init__(self, config: Config, topic: str, envelope: Envelope = plain) -> None:
        self._config, self._envelope = config, envelope
        self._topic = topic
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        self._outstanding: dict[int, Acknowledged] = {}
        self._count = 0
        self._ended = False
        self._producer = open_producer(config)
        try:
            with translated("send to", config, topic):
                retried(lambda: self._producer.partitions_for(topic), config.kafka.connect_timeout)
        except BaseException:
            self.abandon()
            raise

    def send(self, value: bytes, acknowledged: Acknowledged) -> None:
        """See `Appender`. Waits for nothing but, for a second, metadata of a topic that is gone."""
        record, headers = self._envelope(value)
        with self._lock:
            if self._ended:
                raise LogUnavailable("this appender has ended", hint="a new writer session makes a new one")
            number = self._count
            self._count += 1
            self._outstanding[number] = acknowledged
            try:
                future = self._producer.send(self._topic, record, headers=headers, partition=0)
            except (kafka_errors.KafkaError, ValueError) as error:
                del self._outstanding[number]
                raise as_tidelog_error(error, "send to", self._config, self._topic) from error
        # Outside the lock: a future that is done already calls back from here.
        future.add_callback(self._landed, number)
        future.add_errback(self._failed, number)

    def _landed(self, number: int, metadata: Any) -> None:
        # The broker gives no offset (-1) for a retry of a batch that it has, if that is not one of its last five.
        self._tell(number, metadata.offset if metadata.offset >= 0 else UNKNOWN_OFFSET, None)

    def _failed(self, number: int, error: Exception) -> None:
        with self._lock:
            if self._ended:
                return  # `_give_up` tells, or told
        # First, so that nothing behind the failed record is sent: kafka-python would go on with a new producer epoch.
        self._stop()
        self._tell(number, UNKNOWN_OFFSET, as_tidelog_error(error, "send to", self._config, self._topic))
        self._give_up("an earlier record could not be sent")

    def _tell(self, number: int, offset: int, error: TidelogError | None) -> None:
        with self._lock:
            acknowledged = self._outstanding.pop(number, None)
            if not self._outstanding:
                self._settled.notify_all()
        if acknowledged is not None:
            acknowledged(offset, error)

    def _stop(self) -> None:
        """From here on nothing is put on the wire. ``KafkaProducer.close(0)`` would not do: it raises while something
        is unsent, before it stops its thread, which then goes on sending."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        self._producer._sender.force_close()
        waiting = self._producer._accumulator
        for partition in list(waiting._batches):
            with waiting._tp_lock(partition):
                waiting._batches[partition].clear()

    def _give_up(self, why: str) -> None:
        with self._lock:
            numbers = list(self._outstanding)
        for number in numbers:
            error = LogUnavailable(f"{why}; this one may or may not be in {self._topic}")
            self._tell(number, UNKNOWN_OFFSET, error)

    def abandon(self) -> None:
        """See `Appender`. Callbacks that are still due are called from here."""
        self._stop()
        self._give_up("the sender was abandoned")
        self._release(_JOIN_TIMEOUT)

    def close(self, timeout: float) -> None:
        """See `Appender`."""
        deadline = time.monotonic() + timeout
        with self._lock:
            if not self._ended:
                self._settled.wait_for(lambda: self._ended or not self._outstanding, timeout)
            finished = not self._outstanding and not self._ended
        if not finished:
            self.abandon()
            return
        with self._lock:
            self._ended = True
        self._producer._sender.initiate_close()
        self._release(max(_GRACE, deadline - time.monotonic()))

    def _release(self, timeout: float) -> None:
        """Ends the producer's thread and its exit handler. A thread that waits for a dead broker ends by itself."""
        sender = self._producer._sender
        if threading.current_thread() is sender:
            return
        sender.join(timeout)
        if sender.is_alive():
            return
        try:
            self._producer.close(timeout=0)
        except kafka_errors.KafkaError as error:
            logging.getLogger(__name__).debug("closing a producer: %s", error)
