"""Applying beside its limits: from a full topic into an empty Redis, by the real worker."""

from statistics import median

from benchmarks import by_hand, limits, ours
from benchmarks.arithmetic import MIB, Row, alternate, at_least, harmonic, paired, seconds_between
from benchmarks.child import in_child
from benchmarks.load import Load
from benchmarks.servers import Bench


def applied_per_second(bench: Bench, group: str, last: int) -> float:
    """Sequences a second, from the first that the worker reports to the last."""
    bench.empty_redis()
    samples = in_child(ours.apply, bench.servers, group, last)
    started = next(sequence for _, sequence in samples if sequence > 0)
    return (last - started) / seconds_between(samples, started, last)


def apply_4k(bench: Bench) -> list[Row]:
    """4 KiB random writes beside H: reading and writing, one after the other."""
    load = Load(4096, bench.sized(100_000, 20_000))
    group = bench.new_group()
    _, last = in_child(ours.publish, bench.servers, group, load)
    topic = bench.topic_of(group)

    def consume(fetch_bytes: int, switch: float, as_worker: bool = False) -> float:
        return in_child(limits.consume, bench.servers, topic, fetch_bytes, switch, as_worker) / MIB

    def bulk(call: str, count: int) -> float:
        bench.empty_redis()
        return in_child(limits.bulk_write, bench.servers, load, call, count) / MIB

    def prebuilt() -> float:
        bench.empty_redis()
        return in_child(limits.prebuilt_write, bench.servers, load, way_in[1]) / MIB

    way_out = limits.best(limits.consume_ways(), consume)
    way_in = limits.best(limits.bulk_write_ways(), bulk)
    sides = {
        "K": lambda: consume(*way_out),
        "R": lambda: bulk(*way_in),
        "ours": lambda: applied_per_second(bench, group, last) * load.size / MIB,
    }
    found = alternate(sides, bench.pairs)
    ceiling = prebuilt()
    settled = consume(way_out[0], way_out[1], as_worker=True)
    bench.drop(topic)
    both = [harmonic(k, r) for k, r in zip(found["K"], found["R"], strict=True)]
    note = (
        f"K {median(found['K']):.0f} MiB/s (fetches of {way_out[0] // MIB} MiB, switch {way_out[1]} s;"
        f" {settled:.0f} with a worker's settings of memory),"
        f" R {median(found['R']):.0f} ({way_in[0]} of {way_in[1]} blocks; {ceiling:.0f} with all bytes on the wire"
        " prebuilt); floor 1.0"
    )
    return [paired("apply, 4 KiB random / H", "MiB/s", found["ours"], both, at_least(1.2), note)]


def apply_128(bench: Bench) -> list[Row]:
    """128-byte writes beside one record a write, both exactly once."""
    many, few = Load(128, bench.sized(600_000, 200_000)), Load(128, bench.sized(120_000, 50_000))
    group, hand_topic = bench.new_group(), bench.new_topic()
    _, last = in_child(ours.publish, bench.servers, group, many)
    in_child(by_hand.publish, bench.servers, hand_topic, few, 5, 256 * 1024, 0.005)

    def hand(max_poll_records: int, switch: float) -> float:
        bench.empty_redis()
        return in_child(by_hand.apply, bench.servers, hand_topic, few.count, max_poll_records, switch)

    way = limits.best(by_hand.apply_ways(), hand)
    sides = {"ours": lambda: applied_per_second(bench, group, last), "hand": lambda: hand(*way)}
    found = alternate(sides, bench.pairs)
    bench.drop(hand_topic, bench.topic_of(group))
    note = f"by hand: up to {way[0]} records a MULTI, switch {way[1]} s"
    name = "apply, 128 B random / by hand, exactly once"
    return [paired(name, "writes/s", found["ours"], found["hand"], at_least(4), note)]
