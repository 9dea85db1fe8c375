"""One consumer on one partition, with what kafka-python leaves to its users: a sign of life, and no stale fetches."""

import time
from collections.abc import Callable
from typing import Any

from kafka import TopicPartition
from kafka import errors as kafka_errors

from tidelog.config import Config
from tidelog.errors import REBUILD, ROLLBACK, LogDiverged, LogUnavailable, NeedsRebuild
from tidelog.producers.kafka_clients import close_quietly, open_consumer, translated
from tidelog.producers.log import Bounds

# Without records for this long, ask whether anybody is there; without an answer for this long, say so.
QUIET = 2.0
SILENT = 10.0
PROBE_TIMEOUT = 1.0
# A question for offsets that has no answer is asked again, of the leader as it is then: first after so long (seconds),
# then twice as long each time. An answer may have to wait for a fetch on the same connection, which takes half a second
# where nothing comes.
ASK_AGAIN = 2.0


class PartitionConsumer:
    """kafka-python's consumer on partition 0 of a topic. Not thread-safe.

    ``KafkaConsumer.poll`` returns {} for an idle partition and for a dead cluster alike. So a consumer that got
    nothing for `QUIET` seconds asks for the end offset; after `SILENT` seconds without any answer, or with records
    there that do not come, it raises `LogUnavailable`.
    """

    def __init__(self, config: Config, topic: str, **overrides: Any) -> None:
        self._config = config
        self._topic = topic
        self._partition = TopicPartition(topic, 0)
        self._consumer = open_consumer(config, **overrides)
        self._consumer.assign([self._partition])
        self._prefetched: int | None = None
        self._alive = self._probed = time.monotonic()
        self.position = 0

    def seek(self, offset: int) -> None:
        """Goes to ``offset``. What was fetched ahead is not used: the log may have changed since."""
        if offset == self._prefetched:
            self._drop_prefetch()
        self._consumer.seek(self._partition, offset)
        self.position = offset

    def _drop_prefetch(self) -> None:
        # A fetch ahead carries the offset that it was asked for, and would be taken for the answer to a new question
        # at the same offset. Any other seek makes kafka-python discard it.
        self._consumer.unsubscribe()
        deadline = time.monotonic() + PROBE_TIMEOUT
        while True:
            waiting = self._consumer._fetcher.in_flight_fetches()
            self._consumer.poll(timeout_ms=0)
            if not waiting or time.monotonic() > deadline:
                break
            time.sleep(0.005)
        self._consumer.assign([self._partition])
        self._prefetched = None

    def fetch(self, timeout: float, max_records: int | None = None) -> list[Any]:
        """The ``ConsumerRecord`` objects of the next fetch; [] after ``timeout`` seconds, later while Kafka is silent.

        Raises `NeedsRebuild`, `LogDiverged`, `LogUnavailable`.
        """
        try:
            with translated("read", self._config, self._topic):
                polled = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=max_records)
        except LogUnavailable as error:
            raise self._out_of_range(error) from error
        records: list[Any] = polled.get(self._partition, [])
        now = time.monotonic()
        if records:
            self._alive = now
            self.position = records[-1].offset + 1
        else:
            self._advance(now)
        self._prefetched = self.position
        return records

    def _advance(self, now: float) -> None:
        """Takes note of a gap that was passed, and looks whether the cluster lives."""
        moved = self._consumer._subscription.assignment[self._partition].position.offset
        if moved != self.position:
            self.position, self._alive = moved, now
        if now - self._alive < QUIET or now - self._probed < QUIET:
            return
        self._probed = now
        try:
            end = self.end(PROBE_TIMEOUT)
        except LogUnavailable:
            if now - self._alive >= SILENT:
                raise
            return
        if end <= self.position:
            self._alive = now
        elif now - self._alive >= SILENT:
            message = f"{self._topic} ends at offset {end}, but no record came for {now - self._alive:.0f} s"
            raise LogUnavailable(message, hint="is the partition's leader well?", offset=self.position)

    @property
    def cluster_id(self) -> str:
        """The cluster that answered."""
        return str(self._consumer._cluster.cluster_id or "")

    def bounds(self, timeout: float) -> Bounds:
        """Start and end now. Raises `LogUnavailable`."""
        with translated("ask for the start of", self._config, self._topic):
            start = self._ask(self._consumer.beginning_offsets, timeout)
        return Bounds(start, self.end(timeout))

    def end(self, timeout: float) -> int:
        """The offset after the last record. Raises `LogUnavailable`."""
        with translated("ask for the end of", self._config, self._topic):
            return self._ask(self._consumer.end_offsets, timeout)

    def _ask(self, question: Callable[..., dict[Any, int]], timeout: float) -> int:
        """An offset. kafka-python asks a broker that says it leads no more a thousand times a second until the timeout,
        and does not look who leads now; nothing else makes it look within five minutes while nobody fetches."""
        deadline, patience = time.monotonic() + timeout, ASK_AGAIN
        while (left := deadline - time.monotonic()) > patience:
            try:
                return question([self._partition], timeout_ms=int(patience * 1000))[self._partition]
            except kafka_errors.KafkaTimeoutError:
                self._consumer._cluster.request_update()
                patience *= 2
        return question([self._partition], timeout_ms=max(1, int(left * 1000)))[self._partition]

    def _out_of_range(self, error: LogUnavailable) -> Exception:
        cause = error.__cause__
        if isinstance(cause, kafka_errors.LogTruncationError):
            hint = f"a broker lost records that were confirmed; a site goes on after: {ROLLBACK}"
            return LogDiverged(f"{self._topic} was truncated: {cause}", hint=hint, offset=self.position)
        if not isinstance(cause, kafka_errors.OffsetOutOfRangeError):
            return error
        bounds = self.bounds(self._config.kafka.request_timeout)
        if self.position < bounds.start:
            hint = f"the log was trimmed; a site that needs what is gone is rebuilt: {REBUILD}"
            return NeedsRebuild(f"{self._topic} starts at offset {bounds.start}", hint=hint, offset=self.position)
        hint = f"the topic was truncated or made anew; a site goes on after: {ROLLBACK}"
        return LogDiverged(f"{self._topic} ends at offset {bounds.end}", hint=hint, offset=self.position)

    def close(self) -> None:
        """Ends, within a second or so."""
        close_quietly(self._consumer)
