"""What a copy costs: to cut, to hold while writes go on, and in memory."""

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import redis

from benchmarks import ours
from benchmarks.arithmetic import MIB, Row, at_least, at_most, bounded, paired, percentile, seconds_between
from benchmarks.child import in_child
from benchmarks.feed import BLOCK, Feed
from benchmarks.limits import allocator_bytes
from benchmarks.load import Load, Writes
from benchmarks.servers import PRIMARY, Bench, Servers
from tidelog.schemas.events import Event
from tidelog.stores.transaction import Limits

SMALL, LARGE = 1_000, 1_000_000
HELD = 16
HELD_MANY = 64
# The most small writes that share a transaction: what keeps Redis longest, so what a cut may have to wait for.
BEHIND_WRITES = Limits().writes_max


class Side(NamedTuple):
    """A store in which cuts are timed: blocks in its volume, how many of them are written to begin with, copies held,
    and writes of 128 B that the marker has to wait for."""

    blocks: int
    written: int
    held: int
    behind: int = 0


def cut(bench: Bench) -> list[Row]:
    """The time that a marker takes to become a copy, in a volume of 1,000 written blocks and in one of 1,000,000, with
    100 blocks changed before each cut and 16 copies held."""
    large = bench.sized(LARGE, LARGE // 10)
    found = _cut_times(bench, {"small": Side(SMALL, SMALL, HELD), "large": Side(large, large, HELD)})
    typical = {side: [1000 * median(times) for times in found[side]] for side in found}
    worst = [1000 * percentile(times, 99) for times in found["large"]]
    note = f"{len(found['large'][0])} cuts a side and pair; the store alone, one at a time"
    name = f"cut of a copy, {large:,} blocks"
    return [
        paired(f"{name} / 1,000 blocks", "ms", typical["large"], typical["small"], at_most(1.2), note),
        bounded(f"{name}, p99", "ms", worst, 5, at_most(1)),
    ]


def cut_flat(bench: Bench) -> list[Row]:
    """The time of a cut with many copies held beside that with one; and of a cut that waits behind the transaction
    which takes Redis longest, from the moment at which the marker is planned."""
    blocks = 8 * BEHIND_WRITES
    sides = {
        "one": Side(blocks, 0, 1),
        "many": Side(blocks, 0, HELD_MANY),
        "behind": Side(blocks, 0, 1, BEHIND_WRITES),
    }
    found = _cut_times(bench, sides)
    typical = {side: [1000 * median(times) for times in found[side]] for side in found}
    worst = [1000 * percentile(times, 99) for times in found["behind"]]
    note = f"{len(found['one'][0])} cuts a side and pair, 100 blocks changed before each; the store alone"
    name = f"cut of a copy behind {BEHIND_WRITES:,} writes of 128 B, p99"
    return [
        paired(f"cut of a copy, {HELD_MANY} held / 1 held", "ms", typical["many"], typical["one"], at_most(1.2), note),
        bounded(name, "ms", worst, 5, at_most(1), f"median {median(typical['behind']):.1f} ms"),
    ]


def _cut_times(bench: Bench, sides: dict[str, Side]) -> dict[str, list[list[float]]]:
    bench.empty_redis()
    found = in_child(cut_times, bench.servers, sides, bench.pairs, bench.sized(200, 50))
    bench.empty_redis()
    return found


def cut_times(servers: Servers, sides: dict[str, Side], pairs: int, cuts: int) -> dict[str, list[list[float]]]:
    """In a child: seconds of each cut, by side and pair."""
    feeds = {name: Feed(servers, name, PRIMARY, side.blocks) for name, side in sides.items()}
    for name, feed in feeds.items():
        feed.write(range(sides[name].written), 16)  # a block is a key, whatever its length
    found: dict[str, list[list[float]]] = {name: [] for name in sides}
    held: dict[str, list[Event]] = {name: [feed.cut() for _ in range(sides[name].held)] for name, feed in feeds.items()}
    for turn in range(pairs + 1):
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(cuts):
            for name, feed in feeds.items():
                feed.write(feed.some(100), 16)
                if sides[name].behind:
                    feed.write(feed.some(sides[name].behind), 128, settle=False)
                start = time.perf_counter()
                held[name].append(feed.cut())
                times[name].append(time.perf_counter() - start)
                feed.drop(held[name].pop(0))
        if turn:
            for name in sides:
                found[name].append(times[name])
    for feed in feeds.values():
        feed.close()
    return found


def held(bench: Bench) -> list[Row]:
    """The rate of 4 KiB writes with 16 copies held and with none: in the steady state, when every block was written
    since the newest cut, and in the phase before, when each write is a block's first since then."""
    first_touch: dict[bool, list[float]] = {True: [], False: []}
    steady: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(bench.pairs):
        for with_copies in (True, False) if turn % 2 else (False, True):
            touching, going_on = _phases(bench, with_copies)
            first_touch[with_copies].append(touching)
            steady[with_copies].append(going_on)
    name = f"apply, 4 KiB, {HELD} copies held / none"
    note = f"volume of {_volume(bench) // MIB} MiB; each phase writes it once, or twice over when steady"
    return [
        paired(f"{name}, steady", "MiB/s", steady[True], steady[False], at_least(0.95), note),
        paired(f"{name}, first touch after a cut", "MiB/s", first_touch[True], first_touch[False], at_least(0.75)),
    ]


def _volume(bench: Bench) -> int:
    return bench.sized(128, 32) * MIB


def _phases(bench: Bench, with_copies: bool) -> tuple[float, float]:
    """MiB/s of the first touch and of the steady state."""
    size = _volume(bench)
    whole = Load(BLOCK, 0, size)
    before: list[Writes | str] = [whole.every_block()]
    for number in range(HELD):
        before.append(Load(BLOCK, 200, size, seed=number).writes())
        if with_copies:
            before.append(f"copy-{number}")
    measured = [Load(BLOCK, 0, size, seed=99).every_block(), Load(BLOCK, 2 * size // BLOCK, size).writes()]
    group = bench.new_group()
    bench.empty_redis()
    begun = in_child(ours.publish_stages, bench.servers, group, size, before)[-1]
    # Receipts read whole copies; that is another matter, so it is over before the measured writes come.
    in_child(ours.apply, bench.servers, group, begun, HELD if with_copies else 0)
    touched, ended = in_child(ours.publish_stages, bench.servers, group, size, measured)
    samples = in_child(ours.apply, bench.servers, group, ended)
    bench.drop(bench.topic_of(group))
    # From behind the writer's opening and the first fetch, which brings some 4 MiB.
    start = touched - len(measured[0].offsets) + 2048
    writes = (touched - start, ended - touched)
    took = (seconds_between(samples, start, touched), seconds_between(samples, touched, ended))
    return writes[0] * BLOCK / MIB / took[0], writes[1] * BLOCK / MIB / took[1]


def memory(bench: Bench) -> list[Row]:
    """Redis's memory that a copy takes, beside the bytes of the blocks that were changed since its cut."""
    changed = bench.sized(20_000, 4_000)
    found = [in_child(copy_bytes, bench.servers, 2 * changed, changed) for _ in range(bench.pairs)]
    bench.empty_redis()
    allocated = allocator_bytes(bench.servers.client(), BLOCK)
    note = (
        f"{changed:,} of {2 * changed:,} blocks changed; used_memory before and after, connections left out; Redis's"
        f" allocator takes {allocated:.0f} bytes for a value of {BLOCK} ({allocated / BLOCK:.2f})"
    )
    held_bytes = [float(value) for value in found]
    return [bounded("copy, bytes held / bytes changed", "bytes", held_bytes, changed * BLOCK, at_most(1.35), note)]


def copy_bytes(servers: Servers, blocks: int, changed: int) -> int:
    """In a child: how much more memory Redis uses once ``changed`` of ``blocks`` blocks were written behind a cut."""
    client = servers.client()
    client.flushall(asynchronous=False)
    feed = Feed(servers, "memory", PRIMARY, blocks)
    feed.write(range(blocks), BLOCK)
    used = _settled(lambda: _used_memory(client))
    feed.cut()
    feed.write(feed.some(changed), BLOCK)
    held_bytes = _settled(lambda: _used_memory(client)) - used
    feed.close()
    return held_bytes


def _used_memory(client: "redis.Redis") -> int:
    found = client.info("memory")
    return int(found["used_memory"]) - int(found["mem_clients_normal"])


def _settled(measure: Callable[[], int]) -> int:
    """A reading that did not change within 0.1 s: tables that grow do so step by step."""
    before, deadline = -1, time.monotonic() + 10
    while (now := measure()) != before and time.monotonic() < deadline:
        before = now
        time.sleep(0.1)
    return now
