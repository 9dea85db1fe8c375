"""A resync of a site one block in a hundred of which was damaged: what moves, beside what differs."""

import time
from random import Random
from statistics import median

from benchmarks.arithmetic import MIB, Row, at_most, paired
from benchmarks.servers import PRIMARY, SECONDARY, Bench
from tidelog.consumers.deployment import RealDeployment
from tidelog.recovery.resync_rounds import resync
from tidelog.stores.keys import Keys
from tidelog.testing.running import RunningDeployment

_BLOCK = 4096


def moved(bench: Bench) -> list[Row]:
    """A volume with a copy at two sites, and bits flipped at one of them, its worker running."""
    size = bench.sized(256, 16) * MIB
    found = [_mended(bench, size, seed) for seed in range(bench.pairs)]
    name = f"resync, {size // MIB} MiB with 1 % of the blocks damaged, bytes moved / bytes that differ"
    seconds = [took for _, _, took in found]
    note = f"all blocks of both sites compared, and the damaged ones written, within {median(seconds):.2f} s"
    return [paired(name, "bytes", [one for one, _, _ in found], [data for _, data, _ in found], at_most(1.05), note)]


def _mended(bench: Bench, size: int, seed: int) -> tuple[float, float, float]:
    """Bytes moved, bytes that were damaged, seconds."""
    group = bench.new_group()
    random = Random(seed)
    with RunningDeployment(RealDeployment(bench.servers.config())) as running:
        for site in (PRIMARY, SECONDARY):
            running.wait_for_store(site, group)
        opened = running.group(group)
        volume = opened.create_volume("data", size, _BLOCK)
        for offset in range(0, size, MIB):
            volume.write(offset, random.randbytes(MIB))
        opened.mark("copy").wait((PRIMARY, SECONDARY), timeout=120)
        damaged = random.sample(range(size // _BLOCK), size // _BLOCK // 100)
        block_of = Keys(group).block_format(volume.info.id)
        with bench.servers.client(SECONDARY) as client:
            for block in damaged:
                key, bit = block_of % block, random.randrange(8 * _BLOCK)
                client.setbit(key, bit, 1 - client.getbit(key, bit))
        start = time.perf_counter()
        _, report = resync(running.deployment, SECONDARY, PRIMARY, group, lambda _: None, lambda _: None)
        took = time.perf_counter() - start
        assert report.blocks == len(damaged), "every damaged block is mended, and no other"
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    return float(report.bytes_moved), float(len(damaged) * _BLOCK), took
