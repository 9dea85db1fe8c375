"""Copies onto mirrored volumes: what the command costs in the log, and how long each site takes to carry it out."""

import time
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.arithmetic import MIB, Row, at_most, paired
from benchmarks.child import in_child
from benchmarks.servers import PRIMARY, SECONDARY, Bench, Servers
from tidelog.consumers.deployment import RealDeployment
from tidelog.testing.running import RunningDeployment

if TYPE_CHECKING:
    from tidelog.consumers.site_view import SiteGroup

_BLOCK = 4096
_SITES = (PRIMARY, SECONDARY)
_AT_ONCE = 1024
_DEADLINE = 60.0


class Copied(NamedTuple):
    """By how many bytes the log has grown, how many the blocks that it stands for have, the seconds from then on that
    each site took to carry it out, and those that redis-py takes to COPY as many blocks."""

    log_bytes: float
    data_bytes: float
    seconds: dict[str, float]
    by_hand: float


def wire(bench: Bench) -> list[Row]:
    """A thin volume whose blocks have changed at random, one in ten, since it was copied last; copied again."""
    size = bench.sized(1024, 64) * MIB
    found = [_copied(bench, size, seed) for seed in range(bench.pairs)]
    name = f"volume copy, {size // MIB} MiB with 10 % changed"
    note = "growth of the partition by DescribeLogDirs, heartbeats included"
    log, data = [one.log_bytes for one in found], [one.data_bytes for one in found]
    blocks = size // _BLOCK // 10
    return [
        paired(f"{name}, bytes in the log / data", "bytes", log, data, at_most(0.01), note),
        *(
            paired(
                f"{name}, at {site} / COPY by redis-py",
                "s",
                [one.seconds[site] for one in found],
                [one.by_hand for one in found],
                at_most(2),
                f"{blocks:,} blocks, from the moment that the command is durable in the log, all sites at once",
            )
            for site in _SITES
        ),
    ]


def _copied(bench: Bench, size: int, seed: int) -> Copied:
    group = bench.new_group()
    topic = bench.topic_of(group)
    random = Random(seed)
    with RunningDeployment(RealDeployment(bench.servers.config())) as running:
        for name in _SITES:
            running.site(name)
        opened = running.group(group)
        for name in _SITES:
            running.wait_for_store(name, group)
        sites = {name: running.site(name).group(group) for name in _SITES}
        source = opened.create_volume("source", size, _BLOCK)
        opened.create_volume("target", size, _BLOCK)
        opened.copy_volume("source", "target")
        for block in random.sample(range(size // _BLOCK), size // _BLOCK // 10):
            source.write(block * _BLOCK, random.randbytes(_BLOCK))
        opened.flush()
        before = bench.topic_bytes(topic)
        copied = opened.copy_volume("source", "target")
        seconds = _carried_out(sites, copied.sequence)
        after = bench.topic_bytes(topic)
    bench.empty_redis()
    by_hand = in_child(copy_seconds, bench.servers, size // _BLOCK // 10)
    bench.empty_redis()
    bench.drop(topic)
    return Copied(float(after - before), float(copied.blocks * copied.block_size), seconds, by_hand)


def _carried_out(sites: "dict[str, SiteGroup]", sequence: int) -> dict[str, float]:
    """Seconds from now until each site is there."""
    start, seconds = time.perf_counter(), {}
    while len(seconds) < len(sites):
        for name, site in sites.items():
            if name not in seconds and site.position.head.sequence >= sequence:
                seconds[name] = time.perf_counter() - start
        assert time.perf_counter() - start < _DEADLINE, f"only {sorted(seconds)} carried it out"
        time.sleep(0.002)
    return seconds


def copy_seconds(servers: Servers, blocks: int) -> float:
    """In a child: COPY of as many blocks to new keys."""
    client = servers.client()
    content = Random(1).randbytes(_BLOCK)
    for start in range(0, blocks, _AT_ONCE):
        client.mset({b"a:%d" % block: content for block in range(start, min(blocks, start + _AT_ONCE))})
    begun = time.perf_counter()
    for start in range(0, blocks, _AT_ONCE):
        with client.pipeline(transaction=True) as transaction:
            for block in range(start, min(blocks, start + _AT_ONCE)):
                transaction.copy(f"a:{block}", f"b:{block}", replace=True)
            transaction.execute()
    return time.perf_counter() - begun
