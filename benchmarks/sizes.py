"""Bytes in the log, and bytes in the worker."""

from pathlib import Path

from benchmarks import ours
from benchmarks.arithmetic import MIB, Row, at_most, bounded
from benchmarks.child import Child, in_child
from benchmarks.load import Load
from benchmarks.servers import PRIMARY, Bench

RSS_MAX_MIB = 150
_SMALL_ROUND = Load(4096, 2560, 64 * MIB)  # 10 MiB
_LARGE_ROUND = Load(4096, 25_600, 64 * MIB)  # 100 MiB; a small volume, so that Redis stays small


def log_bytes(bench: Bench) -> list[Row]:
    """What the broker keeps for 4 KiB writes, record batches and all, beside the bytes written."""
    found = []
    load = Load(4096, bench.sized(25_000, 5_000))
    for _ in range(bench.pairs):
        group = bench.new_group()
        in_child(ours.publish, bench.servers, group, load)
        topic = bench.topic_of(group)
        found.append(float(bench.topic_bytes(topic)))
        bench.drop(topic)
    note = "size of the partition by DescribeLogDirs"
    return [bounded("log, bytes / payload, 4 KiB", "bytes", found, load.payload, at_most(1.012), note)]


def worker_memory(bench: Bench) -> list[Row]:
    """The most memory that a worker has had when it caught up with a large backlog, and with a small one."""
    rounds = bench.sized(103, 11)
    small = _peak_mib(bench, _SMALL_ROUND, 1)
    large = _peak_mib(bench, _LARGE_ROUND, rounds)
    backlog = rounds * _LARGE_ROUND.payload / 1e9
    note = f"peak resident memory of the worker's process; {small:.0f} MiB with a backlog of 10 MB; one run each"
    name = f"worker, memory with a backlog of {backlog:.1f} GB"
    return [bounded(name, "MiB", [large], RSS_MAX_MIB, at_most(1), note)]


def _peak_mib(bench: Bench, load: Load, rounds: int) -> float:
    bench.empty_redis()
    group = bench.new_group()
    _, last = in_child(ours.publish, bench.servers, group, load, rounds)
    with Child(ours.serve, bench.servers, group, PRIMARY, last) as worker:
        worker.hear()
        peak = _peak_rss(worker.pid)
        worker.say()
        worker.result()
    bench.drop(bench.topic_of(group))
    return peak / MIB


def _peak_rss(pid: int) -> int:
    """Bytes, as the kernel has counted them since the process began."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmHWM")
