"""Publishing beside its limits: the same bytes sent raw, and one record a write."""

from benchmarks import by_hand, limits, ours
from benchmarks.arithmetic import MIB, Row, alternate, at_least, paired
from benchmarks.child import in_child
from benchmarks.load import Load
from benchmarks.servers import Bench


def publish_4k(bench: Bench) -> list[Row]:
    """4 KiB writes through the public API beside P."""
    load = Load(4096, bench.sized(100_000, 20_000))
    source = bench.new_group()
    in_child(ours.publish, bench.servers, source, load)

    def raw(bound: int, switch: float) -> float:
        topic = bench.new_topic()
        rate = in_child(limits.send_raw, bench.servers, bench.topic_of(source), topic, bound, switch)
        bench.drop(topic)
        return rate / MIB

    def published() -> float:
        group = bench.new_group()
        rate, _ = in_child(ours.publish, bench.servers, group, load)
        bench.drop(bench.topic_of(group))
        return rate * load.size / MIB

    bound, switch = limits.best(limits.send_raw_ways(), raw)
    found = alternate({"ours": published, "raw": lambda: raw(bound, switch)}, bench.pairs)
    bench.drop(bench.topic_of(source))
    note = f"P: {'any number of' if bound > load.payload * 2 else bound // MIB} MiB unacknowledged, switch {switch} s"
    return [paired("publish, 4 KiB / P", "MiB/s", found["ours"], found["raw"], at_least(0.85), note)]


def publish_128(bench: Bench) -> list[Row]:
    """128-byte writes through the public API beside one record a write."""
    many, few = Load(128, bench.sized(600_000, 200_000)), Load(128, bench.sized(120_000, 50_000))

    def hand(linger_ms: int, batch: int, switch: float) -> float:
        topic = bench.new_topic()
        rate = in_child(by_hand.publish, bench.servers, topic, few, linger_ms, batch, switch)
        bench.drop(topic)
        return rate

    def published() -> float:
        group = bench.new_group()
        rate, _ = in_child(ours.publish, bench.servers, group, many)
        bench.drop(bench.topic_of(group))
        return rate

    way = limits.best(by_hand.publish_ways(), hand)
    found = alternate({"ours": published, "hand": lambda: hand(*way)}, bench.pairs)
    note = f"by hand: linger {way[0]} ms, batch_size {way[1] // 1024} KiB, switch {way[2]} s"
    name = "publish, 128 B / one record a write"
    return [paired(name, "writes/s", found["ours"], found["hand"], at_least(6), note)]
