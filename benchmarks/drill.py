"""What a site's replication has of that which goes on beside it: a drill in a clone (G12), a backup from a copy."""

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import tidelog
from benchmarks import ours
from benchmarks.arithmetic import Goal, Row, alternate, at_most, bounded, paired
from benchmarks.child import Child, await_word, in_child, tell
from benchmarks.feed import BLOCK
from benchmarks.latency import RATE, until_visible
from benchmarks.load import Load
from benchmarks.servers import SECONDARY, Bench, Servers

COPY, CLONE = "copy", "drill"
CLONE_RATE = 200  # writes a second to the clone
READ_BYTES = 4 << 20


def drill(bench: Bench) -> list[Row]:
    """How late writes show at a site whose copy has a clone that is written to, beside the same without."""
    note = f"{RATE} writes/s of 4 KiB replicated, {CLONE_RATE}/s to the clone"
    return [_beside(bench, "a drill", write_to_clone, at_most(1.1), note)]


def backup(bench: Bench) -> list[Row]:
    """How late writes show at a site from whose copy a backup reads, block after block at full speed, beside the same
    without."""
    return [_beside(bench, "a backup", read_copy, at_most(1.5), f"{RATE} writes/s of 4 KiB replicated")]


def clones(bench: Bench) -> list[Row]:
    """How late a write shows at most while clones come and go: the site's worker then reads its tables anew."""
    group, load = _prepared(bench)
    longest, counts = list[float](), list[float]()
    for _ in range(bench.pairs):
        with Child(make_clones, bench.servers, group) as child:
            child.hear()
            longest.append(1000 * max(until_visible(bench, group, load).latencies[RATE:]))
            child.say()
            counts.append(child.result())
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    note = f"{RATE} writes/s of 4 KiB; {sum(counts):.0f} clones made and dropped in all"
    name = "write to visible, longest, while clones are made and dropped"
    return [bounded(name, "ms", longest, 500, at_most(1), note)]


def _prepared(bench: Bench) -> tuple[str, Load]:
    """A group whose copy holds all blocks of its volume, applied at the secondary, and what is written then."""
    group = bench.new_group()
    bench.empty_redis()
    size = Load(BLOCK, 0).volume_bytes
    stages = [Load(BLOCK, 0, size).every_block(), COPY]
    last = in_child(ours.publish_stages, bench.servers, group, size, stages)[-1]
    in_child(ours.apply, bench.servers, group, last, 1, SECONDARY)
    return group, Load(BLOCK, RATE * bench.sized(5, 2), size)


def _beside(bench: Bench, what: str, work: Callable[[Servers, str], float], goal: Goal, note: str) -> Row:
    """Write to visible with and without a child that does ``work`` until it is told to end; it says how much it did a
    second, in a number that is not 0."""
    group, load = _prepared(bench)

    def typical() -> float:
        return 1000 * median(until_visible(bench, group, load).latencies[RATE:])

    rates: list[float] = []

    def busy() -> float:
        with Child(work, bench.servers, group) as child:
            child.hear()
            found = typical()
            child.say()
            rates.append(child.result())
            assert rates[-1] > 0, "something was done all the time"
        return found

    found = alternate({"busy": busy, "alone": typical}, bench.pairs)
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    name = f"write to visible, median, during {what} / before"
    note = f"{note}; {median(rates):,.0f} blocks/s by {what}"
    return paired(name, "ms", found["busy"], found["alone"], goal, note)


def read_copy(servers: Servers, group: str) -> float:
    """In a child: reads a copy, over and over, until the parent gives the word; blocks a second."""
    ended, size = threading.Event(), 0
    with tidelog.open_site(SECONDARY, config=servers.config()) as site, site.group(group).copy(COPY).held() as copy:
        volume = copy.volume(ours.VOLUME)
        threading.Thread(target=partial(_end, ended), daemon=True).start()
        tell()
        begun, at = time.monotonic(), 0
        while not ended.is_set():
            part = volume.read(at, min(READ_BYTES, volume.size - at))
            size += len(part)
            at = (at + len(part)) % volume.size
        return size / BLOCK / (time.monotonic() - begun)


def make_clones(servers: Servers, group: str) -> float:
    """In a child: makes a clone and drops it, a second each, until the parent gives the word; how many."""
    ended, count = threading.Event(), 0
    with tidelog.open_site(SECONDARY, config=servers.config()) as site:
        view = site.group(group)
        threading.Thread(target=partial(_end, ended), daemon=True).start()
        tell()
        while not ended.wait(1):
            view.create_clone(COPY, CLONE)
            ended.wait(1)
            view.drop_clone(CLONE)
            count += 1
    return count


def write_to_clone(servers: Servers, group: str) -> float:
    """In a child: makes a clone, writes to it until the parent gives the word, and drops it; writes a second."""
    chance, ended, count = random.Random(1), threading.Event(), 0
    with tidelog.open_site(SECONDARY, config=servers.config()) as site:
        view = site.group(group)
        volume = view.create_clone(COPY, CLONE).volume(ours.VOLUME)
        threading.Thread(target=partial(_end, ended), daemon=True).start()
        tell()
        begun = time.monotonic()
        while not ended.is_set():
            volume.write(chance.randrange(volume.size // BLOCK) * BLOCK, chance.randbytes(BLOCK))
            count += 1
            time.sleep(1 / CLONE_RATE)
        took = time.monotonic() - begun
        view.drop_clone(CLONE)
    return count / took


def _end(ended: threading.Event) -> None:
    await_word()
    ended.set()
