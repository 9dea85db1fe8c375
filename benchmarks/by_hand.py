"""The pair that a competent user would write with kafka-python and redis-py alone: one record a write, exactly once.

The position goes into the same MULTI as the writes of one poll; there is no ordering over writers, no hash, no copies.
"""

import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.child import await_word, tell
from benchmarks.limits import SILENCE, SWITCH_INTERVALS, Way
from benchmarks.load import Load
from benchmarks.servers import PRIMARY, Servers

# sequence, volume, offset, microseconds; the data follows.
_HEADER = struct.Struct(">qiqq")
BLOCK = 4096
POSITION = b"hand:position"


def publish_ways() -> Iterator[Way]:
    """Linger (ms), batch size and switch interval."""
    return (
        (linger_ms, batch, switch)
        for linger_ms in (2, 5)
        for batch in (64 * 1024, 512 * 1024)
        for switch in SWITCH_INTERVALS
    )


def apply_ways() -> Iterator[Way]:
    """Records of a poll, which go into one MULTI, and switch interval."""
    return ((count, switch) for count in (500, 2000) for switch in SWITCH_INTERVALS)


def _producer(servers: Servers, linger_ms: int, batch_size: int = 256 * 1024) -> Any:
    return KafkaProducer(
        bootstrap_servers=servers.kafka,
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        batch_size=batch_size,
        max_request_size=2 * 1024 * 1024,
        metrics_enabled=False,
    )


def publish(servers: Servers, topic: str, load: Load, linger_ms: int, batch_size: int, switch: float) -> float:
    """Writes a second, from the first send to the last acknowledgement."""
    offsets, data = load.writes()
    sys.setswitchinterval(switch)
    producer = _producer(servers, linger_ms, batch_size)
    producer.send(topic, _HEADER.pack(0, 1, 0, 0) + bytes(load.size)).get(SILENCE)
    start = time.perf_counter()
    for sequence, (offset, block) in enumerate(zip(offsets, data, strict=True), 1):
        producer.send(topic, _HEADER.pack(sequence, 1, offset, time.time_ns() // 1000) + block)
    producer.flush(SILENCE * 2)
    took = time.perf_counter() - start
    producer.close()
    return load.count / took


def apply(servers: Servers, topic: str, last: int, max_poll_records: int, switch: float) -> float:
    """Writes a second from the first poll applied to sequence ``last``."""
    sys.setswitchinterval(switch)
    applier = _Applier(servers, topic, PRIMARY, max_poll_records)
    deadline = time.monotonic() + SILENCE
    first = applier.sequence
    while applier.sequence == first and time.monotonic() < deadline:
        applier.step()
    start, first = time.perf_counter(), applier.sequence
    while applier.sequence < last:
        if applier.step():
            deadline = time.monotonic() + SILENCE
        elif time.monotonic() > deadline:
            raise TimeoutError(f"stopped short of write {last}")
    took = time.perf_counter() - start
    applier.close()
    return (last - first) / took


def apply_live(servers: Servers, topic: str, site: str, last: int) -> None:
    """Applies until ``last``; tells when it is ready."""
    sys.setswitchinterval(0.0002)
    applier = _Applier(servers, topic, site)
    applier.step()
    tell()
    deadline = time.monotonic() + SILENCE
    while applier.sequence < last:
        if applier.step():
            deadline = time.monotonic() + SILENCE
        elif time.monotonic() > deadline:
            raise TimeoutError(f"stopped short of write {last}")
    applier.close()


class _Applier:
    """One poll, one transaction: the writes, and the position behind them."""

    def __init__(self, servers: Servers, topic: str, site: str, max_poll_records: int = 500) -> None:
        self._client = servers.client(site)
        self._partition = TopicPartition(topic, 0)
        self._consumer = KafkaConsumer(
            bootstrap_servers=servers.kafka,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_poll_records=max_poll_records,
            fetch_max_bytes=8 * 1024 * 1024,
            max_partition_fetch_bytes=8 * 1024 * 1024,
            metrics_enabled=False,
        )
        self._consumer.assign([self._partition])
        stored: Any = self._client.get(POSITION)
        self.sequence, offset = map(int, stored.split()) if stored else (-1, 0)
        self._consumer.seek(self._partition, offset)

    def step(self) -> bool:
        """Applies one poll; False if it brought nothing."""
        records = self._consumer.poll(timeout_ms=500).get(self._partition)
        if not records:
            return False
        unpack, header = _HEADER.unpack_from, _HEADER.size
        sequence = self.sequence
        with self._client.pipeline(transaction=True) as transaction:
            for record in records:
                sequence, volume, offset, _ = unpack(record.value)
                data = record.value[header:]
                block, start = divmod(offset, BLOCK)
                key = b"hand:%d:%d" % (volume, block)
                if len(data) == BLOCK:
                    transaction.set(key, data)
                else:
                    transaction.setrange(key, start, data)
            transaction.set(POSITION, b"%d %d" % (sequence, records[-1].offset + 1))
            transaction.execute()
        self.sequence = sequence
        return True

    def close(self) -> None:
        self._consumer.close(autocommit=False)
        self._client.close()


def write_paced(servers: Servers, topic: str, load: Load, per_second: int, linger_ms: int = 0) -> list[float]:
    """Writes at a fixed rate, whatever the answer; the times (monotonic) at which each was due. Awaits the word."""
    offsets, data = load.writes()
    producer = _producer(servers, linger_ms)
    producer.send(topic, _HEADER.pack(0, 1, 0, 0) + bytes(load.size)).get(SILENCE)
    tell()
    await_word()
    start = time.monotonic() + 0.1
    due = [start + index / per_second for index in range(load.count)]
    for index, moment in enumerate(due):
        time.sleep(max(0.0, moment - time.monotonic()))
        record = _HEADER.pack(index + 1, 1, offsets[index], time.time_ns() // 1000) + data[index]
        producer.send(topic, record)
    producer.flush(SILENCE)
    producer.close()
    return due
