"""How long one write takes: until it is durable, and until another site shows it."""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from kafka import KafkaProducer

import tidelog
from benchmarks import by_hand, ours
from benchmarks.arithmetic import Row, alternate, at_most, bounded, paired, percentile
from benchmarks.child import Child, await_word, in_child, tell
from benchmarks.limits import SILENCE
from benchmarks.load import Load
from benchmarks.servers import SECONDARY, Bench, Servers
from tidelog.producers.kafka_clients import producer_options
from tidelog.stores.keys import Keys
from tidelog.stores.records import decode_position

RATE = 500  # writes a second
_LOOK_EVERY = 0.0005
# The first second of a run warms connections and code up; nobody's latency counts there.
_WARM = RATE


def flush(bench: Bench) -> list[Row]:
    """A write and its flush beside a raw acks=all send of the same bytes; one in flight, so nothing is batched."""
    load = Load(4096, bench.sized(2000, 300))
    group, topic = bench.new_group(), bench.new_topic()
    found = in_child(flush_beside_send, bench.servers, group, topic, load, bench.pairs)
    bench.drop(topic, bench.topic_of(group))
    mine, raw = ([1000 * pair[side] for pair in found] for side in (0, 1))
    note = f"{load.count} writes of 4 KiB a side and pair"
    return [paired("flush, p99, one in flight / raw acks=all send", "ms", mine, raw, at_most(1.25), note)]


def flush_beside_send(servers: Servers, group: str, topic: str, load: Load, pairs: int) -> list[tuple[float, float]]:
    """Pairs of p99 in seconds: ours, raw. In one process, so that both have the same neighbours."""
    offsets, data = load.writes()
    producer = KafkaProducer(**producer_options(servers.config()))
    found = []
    with tidelog.open_group(group, servers.config()) as opened:
        volume = opened.create_volume(ours.VOLUME, load.volume_bytes)

        def flushed(index: int) -> None:
            volume.write(offsets[index], data[index])
            opened.flush()

        def sent(index: int) -> None:
            producer.send(topic, data[index]).get(SILENCE)

        for turn in range(pairs + 1):
            sides = (flushed, sent) if turn % 2 else (sent, flushed)
            p99 = {side: percentile(_latencies(side, load.count), 99) for side in sides}
            if turn:
                found.append((p99[flushed], p99[sent]))
    producer.close()
    return found


def _latencies(action: Callable[[int], None], count: int) -> list[float]:
    found = []
    for index in range(count):
        start = time.perf_counter()
        action(index)
        found.append(time.perf_counter() - start)
    return found


def visible(bench: Bench) -> list[Row]:
    """From the moment a write was due to the moment a secondary's Redis shows it, at a fixed rate: a write that has to
    wait behind a slow one is late too (open loop, safe from coordinated omission)."""
    load = Load(4096, _WARM + RATE * bench.sized(6, 2))
    medians: dict[str, list[float]] = {"ours": [], "hand": []}
    longest: dict[str, float] = {"ours": 0, "hand": 0}

    def measured(side: str, run: Callable[[Bench, Load], list[float]]) -> float:
        bench.empty_redis()
        latencies = run(bench, load)[_WARM:]
        medians[side].append(1000 * median(latencies))
        longest[side] = max(longest[side], 1000 * max(latencies))
        return 1000 * percentile(latencies, 99)

    sides = {"ours": lambda: measured("ours", _ours), "hand": lambda: measured("hand", _by_hand)}
    found = alternate(sides, bench.pairs)
    note = (
        f"{RATE} writes/s of 4 KiB, {load.count - _WARM} a side and pair, Redis asked every {1000 * _LOOK_EVERY:g} ms;"
        f" p50 {median(medians['ours']):.1f} ms, by hand {median(medians['hand']):.1f}; longest of all"
        f" {longest['ours']:.0f} and {longest['hand']:.0f} ms"
    )
    return [
        paired("write to visible, p99 / by hand", "ms", found["ours"], found["hand"], at_most(1.25), note),
        bounded("write to visible, p99", "ms", found["ours"], 15, at_most(1)),
    ]


def _ours(bench: Bench, load: Load) -> list[float]:
    group = bench.new_group()
    latencies = until_visible(bench, group, load).latencies
    bench.drop(bench.topic_of(group))
    return latencies


class Shown(NamedTuple):
    """When each event of `write_paced` was due (monotonic), seconds from then until the secondary showed it, and what
    `write_paced` says of flushes."""

    due: list[float]
    latencies: list[float]
    flushes: list[float]


def until_visible(bench: Bench, group: str, load: Load, drop: str = "") -> Shown:
    """Writes to a group and looks at the secondary, whose worker this starts and ends."""
    with (
        Child(write_paced, bench.servers, group, load, RATE, drop) as writer,
        Child(ours.serve, bench.servers, group, SECONDARY) as worker,
    ):
        writer.hear()
        worker.hear()
        with Child(observe, bench.servers, SECONDARY, Keys(group).position, True) as observer:
            observer.hear()
            writer.say()
            first, due, flushes = writer.result()
            last = first + len(due)
            observer.say(last)
            seen = observer.result()
        worker.say()
        said = worker.result()
    if seen[-1][1] < last:
        raise TimeoutError(f"the secondary shows {seen[-1][1]} of {last}; its replica: {said}")
    return Shown(due, _latencies_of(due, first, seen), flushes)


def _by_hand(bench: Bench, load: Load) -> list[float]:
    topic = bench.new_topic()
    with (
        Child(by_hand.write_paced, bench.servers, topic, load, RATE) as writer,
        Child(by_hand.apply_live, bench.servers, topic, SECONDARY, load.count) as worker,
    ):
        writer.hear()
        worker.hear()
        with Child(observe, bench.servers, SECONDARY, by_hand.POSITION, False) as observer:
            observer.hear()
            writer.say()
            due = writer.result()
            observer.say(load.count)
            worker.result()
            seen = observer.result()
    bench.drop(topic)
    return _latencies_of(due, 0, seen)


def _latencies_of(due: list[float], first: int, seen: "ours.Samples") -> list[float]:
    """Write ``i``, due at ``due[i]``, has sequence ``first + 1 + i``."""
    reached = [sequence for _, sequence in seen]
    return [seen[bisect_left(reached, first + 1 + index)][0] - moment for index, moment in enumerate(due)]


def write_paced(
    servers: Servers, group: str, load: Load, per_second: int, drop: str = ""
) -> tuple[int, list[float], list[float]]:
    """In a child: writes at a fixed rate, whatever the answers; the sequence before the first write, and the times
    (monotonic) at which each was due. Half-way it drops the copy ``drop``, an event like them; then each write is
    flushed, and the seconds that this takes are the third of what is given back."""
    offsets, data = load.writes()
    flushes: list[float] = []
    with tidelog.open_group(group, servers.config()) as opened:
        volume = opened.create_volume(ours.VOLUME, load.volume_bytes)
        tell()
        await_word()
        start = time.monotonic() + 0.1
        due = [start + index / per_second for index in range(load.count)]
        half = load.count // 2
        for index, moment in enumerate(due):
            time.sleep(max(0.0, moment - time.monotonic()))
            if drop and index == half:
                opened.drop_copy(drop)
            volume.write(offsets[index], data[index])
            if drop:
                begun = time.perf_counter()
                opened.flush()
                flushes.append(time.perf_counter() - begun)
        if drop:
            due.insert(half, due[half])
        opened.flush()
        # Writes of 2 ms apart leave no room for a heartbeat between them.
        return opened.session.confirmed.sequence - len(due), due, flushes


def observe(servers: Servers, site: str, key: bytes, ours: bool) -> "ours.Samples":
    """In a child: when which sequence was first seen in a site's Redis, up to the one that the parent says in the end;
    fewer if nothing moves for long. A standstill counts as what it is: the latency of the writes behind it."""
    client = servers.client(site)
    last: list[int] = []
    threading.Thread(target=lambda: last.append(await_word()), daemon=True).start()
    samples = [(time.monotonic(), 0)]
    before = b""
    tell()
    while not last or (samples[-1][1] < last[0] and time.monotonic() < samples[-1][0] + SILENCE):
        value = client.get(key)
        if isinstance(value, bytes) and value != before:
            before = value
            sequence = decode_position(value).head.sequence if ours else int(value.split()[0])
            samples.append((time.monotonic(), sequence))
        time.sleep(_LOOK_EVERY)
    return samples
