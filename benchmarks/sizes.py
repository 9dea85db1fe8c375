"""Bytes in the log, and bytes in the worker."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import ours
from benchmarks.arithmetic import MIB, Row, at_most, bounded
from benchmarks.child import in_child
from benchmarks.limits import SILENCE
from benchmarks.load import Load
from benchmarks.servers import PRIMARY, Bench, Servers
from tidelog.stores.keys import Keys
from tidelog.stores.records import decode_position
from tidelog.testing.child import DIE_WITH_PARENT

RSS_MAX_MIB = 150
_SMALL_WRITES = (128, 16)  # bytes; what their numbers take once decoded outweighs their data
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
    note = "peak resident memory of `tidelog site run`; one run each"
    return [
        bounded(f"worker, memory with a backlog of {backlog:.1f} GB", "MiB", [large], RSS_MAX_MIB, at_most(1), note),
        bounded("worker, memory with a backlog of 10 MB", "MiB", [small], RSS_MAX_MIB, at_most(1), note),
        *(_memory_of_small_writes(bench, size) for size in _SMALL_WRITES),
    ]


def _memory_of_small_writes(bench: Bench, size: int) -> Row:
    """The same with a backlog of small writes."""
    load, rounds = Load(size, 400_000, 64 * MIB), bench.sized(20, 1)
    peak = _peak_mib(bench, load, rounds)
    name = f"worker, memory with a backlog of {rounds * load.count / 1e6:.1f} M writes of {size} B"
    return bounded(name, "MiB", [peak], RSS_MAX_MIB, at_most(1), "peak resident memory of `tidelog site run`; one run")


def _peak_mib(bench: Bench, load: Load, rounds: int) -> float:
    bench.empty_redis()
    group = bench.new_group()
    _, last = in_child(ours.publish, bench.servers, group, load, rounds)
    peak = _catch_up(bench.servers, group, last)
    bench.drop(bench.topic_of(group))
    return peak / MIB


def _catch_up(servers: Servers, group: str, last: int) -> int:
    """The peak of a ``tidelog site run`` that has applied sequence ``last``."""
    arguments = ["--bootstrap-servers", servers.kafka, "site", "run", PRIMARY, "--sole", "--group", group]
    url = {f"TIDELOG_SITES__{PRIMARY.upper()}__REDIS__URL": servers.redis_urls[PRIMARY]}
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
    with subprocess.Popen(
        [*launcher, sys.executable, "-m", "tidelog", *arguments],
        env=os.environ | url,
        stderr=subprocess.PIPE,
        text=True,
    ) as worker:
        try:
            _await_applied(servers, group, last, worker)
            return _peak_rss(worker.pid)
        finally:
            worker.terminate()
            worker.communicate(timeout=60)


def _await_applied(servers: Servers, group: str, last: int, worker: "subprocess.Popen[str]") -> None:
    """Raises `TimeoutError` if nothing is applied for a while, `RuntimeError` if the worker has ended."""
    client, reached, deadline = servers.client(), -1, 0.0
    while reached < last:
        value = client.get(Keys(group).position)
        sequence = decode_position(value).head.sequence if isinstance(value, bytes) else 0
        if sequence > reached:
            reached, deadline = sequence, time.monotonic() + SILENCE
        elif time.monotonic() > deadline:
            raise TimeoutError(f"the worker stopped short of sequence {last}, at {reached}")
        if worker.poll() is not None:
            assert worker.stderr is not None
            raise RuntimeError(f"the worker ended: {worker.stderr.read()}")
        time.sleep(0.1)


def _peak_rss(pid: int) -> int:
    """Bytes, as the kernel has counted them since the process began."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no VmHWM")
