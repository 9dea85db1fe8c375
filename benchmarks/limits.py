"""The limits: what kafka-python and redis-py do with the same bytes and nothing else to do.

K reads a topic and discards, R writes the blocks of a load in bulk, P sends a topic's messages once more. Each is the
best of the ways that a user of these libraries has; `best` finds it anew on each machine.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import redis
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.arithmetic import MIB
from benchmarks.load import Load
from benchmarks.servers import Servers
from tidelog.consumers.process_settings import set_for_worker
from tidelog.producers.kafka_clients import consumer_options, producer_options

# Without this much patience a measurement ends by an error, not in a hang.
SILENCE = 30.0
# CPython's default, and what notes on the hot path found best where a library has an I/O thread of its own.
SWITCH_INTERVALS = (0.005, 0.0002)

Way = tuple[Any, ...]


def best(ways: Iterable[Way], measure: Callable[..., float]) -> Way:
    """The way with the highest rate; the best two are asked again, since one measurement may be a lucky one."""
    ranked = sorted(ways, key=lambda way: measure(*way), reverse=True)
    return max(ranked[:2], key=lambda way: measure(*way))


def consume_ways() -> Iterator[Way]:
    """Fetch size and switch interval."""
    return ((fetch, switch) for fetch in (2 * MIB, 4 * MIB, 8 * MIB) for switch in SWITCH_INTERVALS)


def consume(servers: Servers, topic: str, fetch_bytes: int, switch: float, as_worker: bool = False) -> float:
    """K: bytes of messages a second, from the first fetch on. ``as_worker``: in a process set up as a worker's is, to
    see how much of a worker's rate comes from that."""
    if as_worker:
        set_for_worker()
    sys.setswitchinterval(switch)
    options = consumer_options(servers.config())
    options |= {"fetch_max_bytes": fetch_bytes, "max_partition_fetch_bytes": fetch_bytes}
    consumer = KafkaConsumer(**options)
    polls = _polls(consumer, topic)
    next(polls)
    start, size = time.perf_counter(), 0
    for records in polls:
        size += sum(len(record.value) for record in records)
    took = time.perf_counter() - start
    consumer.close(autocommit=False)
    return size / took


def messages(servers: Servers, topic: str) -> list[bytes]:
    """Every message of a topic."""
    consumer = KafkaConsumer(**consumer_options(servers.config()))
    found = [record.value for records in _polls(consumer, topic) for record in records]
    consumer.close(autocommit=False)
    return found


def _polls(consumer: Any, topic: str) -> Iterator[list[Any]]:
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    end = consumer.end_offsets([partition])[partition]
    deadline = time.monotonic() + SILENCE
    while consumer.position(partition) < end:
        records = consumer.poll(timeout_ms=1000).get(partition)
        if records:
            deadline = time.monotonic() + SILENCE
            yield records
        elif time.monotonic() > deadline:
            raise TimeoutError(f"{topic} stopped short of offset {end}")


def bulk_write_ways() -> Iterator[Way]:
    """A redis-py call and how many blocks it takes at once."""
    return ((call, count) for call in ("mset", "transaction") for count in (16, 64, 256))


def bulk_write(servers: Servers, load: Load, call: str, count: int) -> float:
    """R: bytes of blocks a second; each round trip one MSET, or a transaction of MSET and the position."""
    offsets, data = load.writes()
    keys = [b"limit:%d" % (offset // load.size) for offset in offsets]
    client = servers.client()
    client.ping()
    return load.payload / seconds_to_write(client, keys, data, call, count)


def seconds_to_write(client: "redis.Redis", keys: list[bytes], data: list[bytes], call: str, count: int) -> float:
    """Every value to its key, ``count`` a round trip; ``call`` as `bulk_write_ways` gives it."""
    start = time.perf_counter()
    for at in range(0, len(keys), count):
        blocks = dict(zip(keys[at : at + count], data[at : at + count], strict=True))
        if call == "mset":
            client.mset(blocks)
        else:
            with client.pipeline(transaction=True) as transaction:
                transaction.mset(blocks)
                transaction.set("position", at)
                transaction.execute()
    return time.perf_counter() - start


def prebuilt_write(servers: Servers, load: Load, count: int) -> float:
    """Bytes of blocks a second if the bytes on the wire were there already: no limit for who gets blocks from a log,
    but what Redis and the socket can take from Python."""
    offsets, data = load.writes()
    keys = [b"limit:%d" % (offset // load.size) for offset in offsets]
    connection: Any = servers.client().connection_pool.get_connection()
    commands = []
    for at in range(0, load.count, count):
        pairs = zip(keys[at : at + count], data[at : at + count], strict=True)
        commands.append([b"".join(connection.pack_command("MSET", *(part for pair in pairs for part in pair)))])
    start = time.perf_counter()
    for command in commands:
        connection.send_packed_command(command)
        connection.read_response()
    took = time.perf_counter() - start
    connection.disconnect()
    return load.payload / took


def send_raw_ways() -> Iterator[Way]:
    """Bytes that may be unacknowledged, and the switch interval."""
    return ((bound, switch) for bound in (64 * MIB, sys.maxsize) for switch in SWITCH_INTERVALS)


def send_raw(servers: Servers, source: str, topic: str, bound: int, switch: float) -> float:
    """P: bytes a second, from the first send of ``source``'s messages to ``topic`` to the last acknowledgement; with
    the producer settings of a writer session."""
    values = messages(servers, source)
    sys.setswitchinterval(switch)
    producer = KafkaProducer(**producer_options(servers.config()))
    producer.send(topic, b"first").get(SILENCE)
    room = _Room(bound)
    start = time.perf_counter()
    for value in values:
        room.take(len(value))
        producer.send(topic, value).add_callback(room.give, len(value))
    producer.flush(SILENCE * 2)
    took = time.perf_counter() - start
    producer.close()
    return sum(map(len, values)) / took


class _Room:
    """So many bytes and no more, between one thread that takes and one that gives back."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._changed = threading.Condition()

    def take(self, size: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._left >= size, SILENCE):
                raise TimeoutError("nothing was acknowledged")
            self._left -= size

    def give(self, size: int, _: object = None) -> None:
        with self._changed:
            self._left += size
            self._changed.notify()


def allocator_bytes(client: "redis.Redis", size: int) -> float:
    """What one string value of ``size`` bytes takes in Redis's allocator, its key and the tables around it left out."""
    client.set("allocator", bytes(size))
    client.set("allocator:empty", b"")
    taken = int(client.memory_usage("allocator") or 0) - int(client.memory_usage("allocator:empty") or 0)
    client.delete("allocator", "allocator:empty")
    return float(taken)
