"""What follows a cut: a copy's digest, reading one that is scattered over many generations, and dropping one."""

import time
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import redis

from benchmarks import limits, ours
from benchmarks.arithmetic import MIB, Row, at_least, at_most, paired, percentile
from benchmarks.child import in_child
from benchmarks.exports import bulk_read_ways, read_in_bulk
from benchmarks.feed import BLOCK, Feed
from benchmarks.latency import RATE, until_visible
from benchmarks.limits import SILENCE
from benchmarks.load import Load
from benchmarks.servers import PRIMARY, SECONDARY, Bench, Servers
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys

GENERATIONS = 64
COPY = "copy"
Halves = tuple[list[float], list[float]]  # seconds before the drop, and while it went on
# A drop's own step.
RENAMED_AT_ONCE = 1024


def digest(bench: Bench) -> list[Row]:
    """The digest of a copy in which 1 % of the blocks changed since the one before, beside that from all blocks."""
    bench.empty_redis()
    blocks = bench.sized(100_000, 10_000)
    found = in_child(digest_seconds, bench.servers, blocks, bench.pairs)
    bench.empty_redis()
    mine, full = ([pair[side] for pair in found] for side in (0, 1))
    note = f"{blocks:,} random blocks of 4 KiB"
    return [paired("digest of a copy, 1 % changed / all blocks", "s", mine, full, at_most(0.03), note)]


def digest_seconds(servers: Servers, blocks: int, pairs: int) -> list[tuple[float, float]]:
    """In a child: pairs of seconds, from the elder copy and from all blocks."""
    feed = Feed(servers, "digest", PRIMARY, blocks)
    feed.write(range(blocks), BLOCK)
    feed.store.digest(feed.copy(feed.cut()))
    found = []
    for turn in range(pairs + 1):
        feed.write(feed.some(blocks // 100), BLOCK)
        copy = feed.copy(feed.cut())
        incremental = _seconds(partial(feed.store.digest, copy))
        everything = _seconds(partial(feed.store.verify, copy))
        if turn:
            found.append((incremental, everything))
    feed.close()
    return found


def scattered(bench: Bench) -> list[Row]:
    """Reading the oldest of 64 copies, each block of which lies in another generation than its neighbours, beside
    reading the live volume in bulk."""
    bench.empty_redis()
    blocks = bench.sized(65_536, 8_192)
    way, found = in_child(scattered_rates, bench.servers, blocks, bench.pairs)
    bench.empty_redis()
    mine, bulk = ([pair[side] for pair in found] for side in (0, 1))
    note = f"{blocks * BLOCK // MIB} MiB of random blocks; bulk read: {way[0]} of {way[1]} blocks"
    name = f"read of a copy over {GENERATIONS} generations / bulk read, live"
    return [paired(name, "MiB/s", mine, bulk, at_least(0.5), note)]


def scattered_rates(servers: Servers, blocks: int, pairs: int) -> tuple[limits.Way, list[tuple[float, float]]]:
    """In a child: the best way to read in bulk, and pairs of MiB a second, ours and that way's."""
    feed = Feed(servers, "scattered", PRIMARY, blocks)
    feed.write(range(blocks), BLOCK)
    oldest = feed.copy(feed.cut())
    order = feed.some(blocks)
    for part in range(GENERATIONS):
        feed.write(order[part::GENERATIONS], BLOCK)
        feed.cut()
    volume = feed.volume
    key_of = Keys("scattered").block_format(volume.id)
    keys = [key_of % block for block in range(blocks)]
    client = servers.client()

    def streamed() -> int:
        return sum(map(len, feed.store.stream(volume, oldest)))

    def rate(read: Callable[[], int]) -> float:
        sizes: list[int] = []
        took = _seconds(lambda: sizes.append(read()))
        assert sizes == [blocks * BLOCK], "every block was read"
        return blocks * BLOCK / MIB / took

    way = limits.best(bulk_read_ways(), lambda call, count: rate(partial(read_in_bulk, client, keys, call, count)))
    found = []
    for turn in range(pairs + 1):
        pair = rate(streamed), rate(partial(read_in_bulk, client, keys, *way))
        if turn:
            found.append(pair)
    feed.close()
    return way, found


def drop(bench: Bench) -> list[Row]:
    """Dropping a copy: how fast, beside renaming as many keys with redis-py; and how late writes show at that site
    meanwhile, beside before."""
    bench.empty_redis()
    blocks = bench.sized(100_000, 20_000)
    rates = in_child(drop_rates, bench.servers, blocks, bench.pairs)
    runs = [_dropped_while_writing(bench, blocks, bench.sized(4, 2)) for _ in range(bench.pairs)]
    bench.empty_redis()
    mine, bulk = ([pair[side] for pair in rates] for side in (0, 1))
    shown, flushed = ([run[which] for run in runs] for which in (0, 1))
    note = (
        f"{RATE} writes/s of 4 KiB, each flushed; {median(len(run[1]) for run in shown):.0f} of them during the drop of"
        f" {blocks:,} blocks"
    )
    return [
        paired(
            "drop of a copy / renames by redis-py", "blocks/s", mine, bulk, at_least(1), f"{blocks:,} blocks changed"
        ),
        _during("write to visible", shown, note),
        _during("flush", flushed),
    ]


def _during(what: str, runs: list[Halves], note: str = "") -> Row:
    before, meanwhile = ([1000 * percentile(run[side], 99) for run in runs] for side in (0, 1))
    middle = [1000 * median(median(run[side]) for run in runs) for side in (0, 1)]
    note = f"{note}{'; ' if note else ''}medians {middle[1]:.1f} and {middle[0]:.1f} ms"
    return paired(f"{what}, p99, during a drop / before", "ms", meanwhile, before, at_most(1.5), note)


def drop_rates(servers: Servers, blocks: int, pairs: int) -> list[tuple[float, float]]:
    """In a child: pairs of blocks a second, of a drop that hands every block to the elder copy, and of pipelined
    RENAMEs."""
    feed = Feed(servers, "drop", PRIMARY, blocks)
    feed.cut()
    feed.write(range(blocks), 16)
    client = servers.client()
    client.mset({b"rename:0:%d" % block: b"x" for block in range(blocks)})
    found = []
    for turn in range(pairs + 1):
        elder, dropping = feed.cut(), feed.cut()
        feed.write(range(blocks), 16)
        feed.cut()
        dropped = _seconds(partial(feed.drop, dropping))
        renamed = _seconds(partial(_rename, client, blocks, turn))
        feed.drop(elder)
        if turn:
            found.append((blocks / dropped, blocks / renamed))
    feed.close()
    return found


def _rename(client: "redis.Redis", blocks: int, turn: int) -> None:
    for start in range(0, blocks, RENAMED_AT_ONCE):
        with client.pipeline(transaction=True) as transaction:
            for block in range(start, min(blocks, start + RENAMED_AT_ONCE)):
                transaction.rename(b"rename:%d:%d" % (turn, block), b"rename:%d:%d" % (turn + 1, block))
            transaction.execute()


def _dropped_while_writing(bench: Bench, blocks: int, seconds: int) -> tuple[Halves, Halves]:
    """Seconds until each write was visible, and for each flush, before a copy was dropped and while it was."""
    group = bench.new_group()
    bench.empty_redis()
    size = blocks * BLOCK
    stages = [Load(BLOCK, 0, size).every_block(), COPY, Load(BLOCK, 0, size, seed=2).every_block(), "newer"]
    last = in_child(ours.publish_stages, bench.servers, group, size, stages)[-1]
    in_child(ours.apply, bench.servers, group, last, 2, SECONDARY)
    load = Load(BLOCK, RATE * (2 * seconds + 1), size)
    store = open_store(RealDeployment(bench.servers.config()), SECONDARY, group)
    with ThreadPoolExecutor(1) as thread:
        gone = thread.submit(_gone, store)
        due, latencies, flushes = until_visible(bench, group, load, COPY)
    store.close()
    bench.drop(bench.topic_of(group))
    half = load.count // 2
    end = bisect_right(due, gone.result())
    assert half + 1 < end < len(due), "the drop began and ended while the writer wrote"
    return (latencies[RATE:half], latencies[half + 1 : end]), (flushes[RATE:half], flushes[half : end - 1])


def _gone(store: Store) -> float:
    """When (monotonic) nothing was left of the copy that is dropped."""
    deadline = time.monotonic() + SILENCE
    while any(copy.name == COPY for copy in store.copies(dropping=True)):
        if time.monotonic() > deadline:
            raise TimeoutError("the copy was not dropped")
        time.sleep(0.02)
    return time.monotonic()


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
