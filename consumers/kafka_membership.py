"""Ownership of groups by a Kafka consumer group.

One consumer per worker subscribes to the logs of the groups that its site serves, and fetches nothing: its partitions
are paused. The data is read by each replica's own reader, from the store's position.
"""

from collections.abc import Mapping
from contextlib import suppress

from kafka import OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

from tidelog.config import Config
from tidelog.errors import LogUnavailable
from tidelog.producers.kafka_clients import close_quietly, open_consumer


class KafkaMembership:
    """A member of the consumer group ``<prefix>-<site>``. Not thread-safe."""

    def __init__(self, config: Config, site: str) -> None:
        worker = config.worker
        self._consumer = open_consumer(
            config,
            group_id=f"{config.prefix}-{site}",
            group_instance_id=worker.instance_id,
            session_timeout_ms=int(worker.session_timeout * 1000),
            heartbeat_interval_ms=int(worker.heartbeat_interval * 1000),
            max_poll_interval_ms=int(worker.max_poll_interval * 1000),
            # Every log has one partition, and the default (range, topic by topic) gives all of them to one member.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            # Nothing is fetched here; without a committed offset the subscription must not fail either.
            auto_offset_reset="earliest",
        )
        self._topics: frozenset[str] = frozenset()

    def owned(self, groups: Mapping[str, str]) -> set[str]:
        """See `Membership`."""
        topics = frozenset(groups.values())
        try:
            if topics != self._topics:
                self._consumer.subscribe(topics=sorted(topics)) if topics else self._consumer.unsubscribe()
                self._topics = topics
            if not topics:
                return set()
            self._consumer.pause(*self._consumer.assignment())
            self._consumer.poll(timeout_ms=100)
            assigned = self._consumer.assignment()
            self._consumer.pause(*assigned)
        except KafkaError as error:
            raise LogUnavailable(f"the consumer group does not answer: {error}") from error
        mine = {partition.topic for partition in assigned}
        return {group for group, topic in groups.items() if topic in mine}

    def commit(self, offsets: Mapping[str, int]) -> None:
        """See `Membership`."""
        assigned = self._consumer.assignment()
        known = {TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1) for topic, offset in offsets.items()}
        known = {partition: offset for partition, offset in known.items() if partition in assigned}
        # A member that was fenced is refused here; `owned` meets the same, and there it counts.
        with suppress(KafkaError):
            if known:
                self._consumer.commit_async(known)

    def close(self) -> None:
        """See `Membership`."""
        close_quietly(self._consumer)
