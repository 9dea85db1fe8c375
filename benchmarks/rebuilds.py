"""A site rebuilt from the log and from another site, beside what the libraries alone can do, and Redis's own full sync;
and what a writer's flushes have of it."""

import threading
import time
from statistics import median

import tidelog
from benchmarks import limits, ours
from benchmarks.arithmetic import MIB, Row, alternate, at_least, at_most, harmonic, paired, percentile
from benchmarks.child import Child, await_word, in_child, tell
from benchmarks.load import Load
from benchmarks.servers import PRIMARY, SECONDARY, Bench, Servers
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.process_settings import give_way, set_for_worker
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_report import Phase
from tidelog.recovery.rebuild_survey import survey

COPY = "copy"
RATE = 500  # writes a second
_BLOCK = 4096
_SYNC_TIMEOUT = 120.0
Span = tuple[float, float]  # monotonic seconds


def rebuild(bench: Bench) -> list[Row]:
    """Every block of a volume, written once and in a copy; no worker at the site, so that the rebuild does all."""
    size = bench.sized(256, 48) * MIB
    load = Load(_BLOCK, size // _BLOCK, size)
    group = bench.new_group()
    bench.empty_redis()
    last = in_child(ours.publish_stages, bench.servers, group, size, [load.every_block(), COPY])[-1]
    in_child(ours.apply, bench.servers, group, last, 1)
    rows = [*_rates(bench, group, load), *_flushes(bench, group, load)]
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    return rows


def _rates(bench: Bench, group: str, load: Load) -> list[Row]:
    topic, size = bench.topic_of(group), load.payload
    at_secondary = Servers(bench.servers.kafka, {PRIMARY: bench.servers.redis_urls[SECONDARY]})

    def consume(fetch_bytes: int, switch: float) -> float:
        return in_child(limits.consume, bench.servers, topic, fetch_bytes, switch) / MIB

    def bulk(call: str, count: int) -> float:
        _empty(bench)
        return in_child(limits.bulk_write, at_secondary, load, call, count) / MIB

    def rebuilt(source: str) -> float:
        _empty(bench)
        began, ended = in_child(rebuild_once, bench.servers, group, source)
        return size / MIB / (ended - began)

    def synced() -> float:
        _empty(bench)
        return size / MIB / in_child(sync_seconds, bench.servers)

    way_out = limits.best(limits.consume_ways(), consume)
    way_in = limits.best(limits.bulk_write_ways(), bulk)
    sides = {
        "K": lambda: consume(*way_out),
        "R": lambda: bulk(*way_in),
        "log": lambda: rebuilt("log"),
        "site": lambda: rebuilt(PRIMARY),
        "sync": synced,
    }
    found = alternate(sides, bench.pairs)
    both = [harmonic(k, r) for k, r in zip(found["K"], found["R"], strict=True)]
    note = f"{size // MIB} MiB in blocks of 4 KiB; from the erase until the site is good"
    own = f"Redis's own full sync (REPLICAOF) {median(found['sync']):.0f} MiB/s"
    copied = f"{note}, the base proved; {own}"
    return [
        paired("rebuild from the log / H", "MiB/s", found["log"], both, at_least(0.7), f"{note}; {own}"),
        paired("rebuild from another site / H", "MiB/s", found["site"], both, at_least(0.7), copied),
    ]


def _flushes(bench: Bench, group: str, load: Load) -> list[Row]:
    rows = []
    for source, what in (("log", "the log"), (PRIMARY, "another site")):
        before, meanwhile, counts = [], [], []
        for _ in range(bench.pairs):
            quiet, busy = _flushed(bench, group, load, source)
            before.append(1000 * percentile(quiet, 99))
            meanwhile.append(1000 * percentile(busy, 99))
            counts.append(len(busy))
        name = f"flush, p99, during a rebuild from {what} / before"
        note = f"{RATE} writes/s of 4 KiB, each flushed; {median(counts):.0f} of them during the rebuild"
        rows.append(paired(name, "ms", meanwhile, before, at_most(1.5), note))
    return rows


def _flushed(bench: Bench, group: str, load: Load, source: str) -> tuple[list[float], list[float]]:
    """Seconds of each flush: before a rebuild, and while it went on."""
    _empty(bench)
    quiet = bench.sized(3, 1)
    with Child(flush_paced, bench.servers, group, load.volume_bytes) as writer:
        writer.hear()
        time.sleep(1 + quiet)  # the first second warms up
        began, ended = in_child(rebuild_once, bench.servers, group, source)
        writer.say()
        flushes = writer.result()
    start = flushes[0][0] + 1
    return (
        [took for at, took in flushes if start <= at < began - 0.1],
        [took for at, took in flushes if began <= at < ended],
    )


def rebuild_once(servers: Servers, group: str, source: str) -> Span:
    """In a child: rebuilds the secondary; from when to when, until it is good."""
    give_way()  # as the command does
    set_for_worker()
    deployment = RealDeployment(servers.config())
    plan = plan_rebuild(survey(deployment, SECONDARY, group, Wanted(source)))
    began = ended = time.monotonic()
    for progress in Rebuild(deployment, plan):
        if progress.phase is Phase.REPLAYING:
            ended = time.monotonic()
    deployment.close()
    return began, ended


def flush_paced(servers: Servers, group: str, size: int) -> list[Span]:
    """In a child: writes and flushes at a fixed rate until the parent gives the word: when each began, and took."""
    ended = threading.Event()
    found = []
    data = bytes(range(256)) * (_BLOCK // 256)
    with tidelog.open_group(group, servers.config()) as opened:
        volume = opened.volume(ours.VOLUME)

        def end() -> None:
            await_word()
            ended.set()

        threading.Thread(target=end, daemon=True).start()
        tell()
        begun, count = time.monotonic(), 0
        while not ended.is_set():
            due = begun + count / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            start = time.monotonic()
            volume.write(count * 7919 % (size // _BLOCK) * _BLOCK, data)
            opened.flush()
            found.append((start, time.monotonic() - start))
            count += 1
    return found


def sync_seconds(servers: Servers) -> float:
    """In a child: how long the secondary's Redis takes to be a replica of the primary's, by Redis's own means."""
    primary, secondary = servers.client(PRIMARY), servers.client(SECONDARY)
    port = primary.config_get("port")["port"]
    delay = primary.config_get("repl-diskless-sync-delay")
    primary.config_set("repl-diskless-sync-delay", 0)
    begun = time.monotonic()
    try:
        secondary.replicaof("127.0.0.1", port)
        while secondary.info("replication").get("master_link_status") != "up":
            if time.monotonic() - begun > _SYNC_TIMEOUT:
                raise TimeoutError(f"no full sync: {secondary.info('replication')}")
            time.sleep(0.005)
        return time.monotonic() - begun
    finally:
        secondary.replicaof("NO", "ONE")
        for name, value in delay.items():
            primary.config_set(name, value)


def _empty(bench: Bench) -> None:
    """The secondary's Redis alone: the primary's is what is rebuilt from."""
    bench.servers.client(SECONDARY).flushall(asynchronous=False)
