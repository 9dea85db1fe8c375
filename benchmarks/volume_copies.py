"""Copies onto mirrored volumes: what the command costs in the log, beside the data that it stands for."""

import time
from random import Random
from statistics import median

from benchmarks.arithmetic import MIB, Row, at_most, paired
from benchmarks.servers import PRIMARY, Bench
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.running import RunningDeployment

_BLOCK = 4096


def wire(bench: Bench) -> list[Row]:
    """A thin volume whose blocks have changed at random, one in ten, since it was copied last; copied again."""
    size = bench.sized(1024, 64) * MIB
    found = [_copied(bench, size, seed) for seed in range(bench.pairs)]
    name = f"volume copy, {size // MIB} MiB with 10 % changed, bytes in the log / data"
    seconds = [took for _, _, took in found]
    note = (
        "growth of the partition by DescribeLogDirs, heartbeats included; the site had carried it out"
        f" {median(seconds):.2f} s after it was durable in the log, {max(seconds):.2f} s at most"
    )
    return [paired(name, "bytes", [log for log, _, _ in found], [data for _, data, _ in found], at_most(0.01), note)]


def _copied(bench: Bench, size: int, seed: int) -> tuple[float, float, float]:
    """By how many bytes the log has grown, how many the blocks that it stands for have, and after how many seconds the
    site had carried it out."""
    group = bench.new_group()
    topic = bench.topic_of(group)
    random = Random(seed)
    with RunningDeployment(RealDeployment(bench.servers.config())) as running:
        site = running.site(PRIMARY)
        opened = running.group(group)
        source = opened.create_volume("source", size, _BLOCK)
        opened.create_volume("target", size, _BLOCK)
        opened.copy_volume("source", "target")
        for block in random.sample(range(size // _BLOCK), size // _BLOCK // 10):
            source.write(block * _BLOCK, random.randbytes(_BLOCK))
        opened.flush()
        before = bench.topic_bytes(topic)
        copied = opened.copy_volume("source", "target")
        start = time.perf_counter()
        assert site.group(group).wait_until(copied.sequence, timeout=60), "the site carries it out"
        took = time.perf_counter() - start
        after = bench.topic_bytes(topic)
    bench.empty_redis()
    bench.drop(topic)
    return float(after - before), float(copied.blocks * copied.block_size), took
