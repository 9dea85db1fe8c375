"""Ownership of groups by a Kafka consumer group.

One consumer per worker subscribes to the logs of the groups that its site serves, and fetches nothing: its partitions
are paused. The data is read by each replica's own reader, from the store's position.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress

from kafka import OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError, TopicAuthorizationFailedError

from tidelog.config import Config
from tidelog.errors import LogUnavailable
from tidelog.producers.kafka_clients import as_tidelog_error, close_quietly, open_consumer

_POLL_MS = 500
_CLOSE_TIMEOUT = 3.0  # a poll takes half a second, unless there is no coordinator to be found


class KafkaMembership:
    """A member of the consumer group ``<prefix>-<site>``.

    The consumer is polled without pause, on a thread of its own: kafka-python 3.0 leaves a join that outlasts a poll
    to the next one, and forgets it, heartbeats and all, when it ends in between. A worker that polled once a second
    was expelled unnoticed, or never got a new group.
    """

    def __init__(self, config: Config, site: str) -> None:
        worker, self._config = config.worker, config
        self._consumer = open_consumer(
            config,
            group_id=f"{config.prefix}-{site}",
            group_instance_id=worker.instance_id,
            session_timeout_ms=int(worker.session_timeout * 1000),
            heartbeat_interval_ms=int(worker.heartbeat_interval * 1000),
            max_poll_interval_ms=int(worker.max_poll_interval * 1000),
            # A log has one partition, and range assignment, the default, gives partition 0 of every topic to the same
            # member: round robin deals the partitions of all topics out.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            # Nothing is fetched here; without a committed offset the subscription must not fail either.
            auto_offset_reset="earliest",
        )
        self._wanted: frozenset[str] = frozenset()
        self._assigned: frozenset[str] = frozenset()
        self._offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self._error: KafkaError | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tidelog-member-{site}", daemon=True)
        self._thread.start()

    def owned(self, groups: Mapping[str, str]) -> set[str]:
        """See `Membership`. Raises `LogUnavailable` where the consumer group does not answer, or refuses."""
        self._wanted = frozenset(groups.values())
        error, self._error = self._error, None
        if error is not None:
            told = as_tidelog_error(error, "join the consumer group", self._config)
            if not isinstance(told, LogUnavailable):  # of a topic, which its replica meets as well, and says
                told = LogUnavailable(f"the consumer group does not answer: {error}")
            raise told from error
        assigned = self._assigned
        return {group for group, topic in groups.items() if topic in assigned}

    def commit(self, offsets: Mapping[str, int]) -> None:
        """See `Membership`."""
        self._offsets = {TopicPartition(topic, 0): OffsetAndMetadata(at, "", -1) for topic, at in offsets.items()}

    def close(self) -> None:
        """See `Membership`."""
        self._closed.set()
        self._thread.join(_CLOSE_TIMEOUT)
        close_quietly(self._consumer)

    def _run(self) -> None:
        subscribed: frozenset[str] = frozenset()
        while not self._closed.is_set():
            try:
                if self._wanted != subscribed:
                    subscribed = self._wanted
                    self._consumer.subscribe(topics=sorted(subscribed)) if subscribed else self._consumer.unsubscribe()
                if subscribed:
                    self._poll()
                else:
                    self._assigned = frozenset()
                    self._closed.wait(_POLL_MS / 1000)
            except KafkaError as error:
                self._error = error  # told by `owned`; the consumer goes on trying
                self._closed.wait(_POLL_MS / 1000)

    def _poll(self) -> None:
        self._consumer.pause(*self._consumer.assignment())
        self._consumer.poll(timeout_ms=_POLL_MS)
        assigned = self._consumer.assignment()
        if not assigned and (refused := self._consumer._cluster.unauthorized_topics):
            raise TopicAuthorizationFailedError(refused)  # which kafka-python tells nobody
        self._consumer.pause(*assigned)
        self._assigned = frozenset(partition.topic for partition in assigned)
        offsets, self._offsets = self._offsets, {}
        known = {partition: offset for partition, offset in offsets.items() if partition in assigned}
        if known:
            # For lag tools only: a refusal is of no consequence, and a fenced member shows in the assignment.
            with suppress(KafkaError):
                self._consumer.commit_async(known)
