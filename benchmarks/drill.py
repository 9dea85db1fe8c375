"""What a drill costs the site that it takes place at: a clone written to while replication goes on (G12)."""

import random
import threading
import time
from functools import partial
from statistics import median

import tidelog
from benchmarks import ours
from benchmarks.arithmetic import Row, alternate, at_most, paired
from benchmarks.child import Child, await_word, in_child, tell
from benchmarks.feed import BLOCK
from benchmarks.latency import RATE, until_visible
from benchmarks.load import Load
from benchmarks.servers import SECONDARY, Bench, Servers

COPY, CLONE = "copy", "drill"
CLONE_RATE = 200  # writes a second to the clone


def drill(bench: Bench) -> list[Row]:
    """How late writes show at a site whose copy has a clone that is written to, beside the same without."""
    group = bench.new_group()
    bench.empty_redis()
    size = Load(BLOCK, 0).volume_bytes
    stages = [Load(BLOCK, 4 * RATE, size).writes(), COPY]
    last = in_child(ours.publish_stages, bench.servers, group, size, stages)[-1]
    in_child(ours.apply, bench.servers, group, last, 1, SECONDARY)
    load = Load(BLOCK, RATE * bench.sized(5, 2), size)

    def typical() -> float:
        return 1000 * median(until_visible(bench, group, load)[1][RATE:])

    def drilled() -> float:
        with Child(write_to_clone, bench.servers, group) as child:
            child.hear()
            found = typical()
            child.say()
            assert child.result() > CLONE_RATE, "the clone was written to all the time"
        return found

    found = alternate({"drill": drilled, "alone": typical}, bench.pairs)
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    note = f"{RATE} writes/s of 4 KiB replicated, {CLONE_RATE}/s to the clone"
    return [
        paired(
            "write to visible, median, during a drill / before",
            "ms",
            found["drill"],
            found["alone"],
            at_most(1.1),
            note,
        )
    ]


def write_to_clone(servers: Servers, group: str) -> int:
    """In a child: makes a clone, writes to it until the parent gives the word, and drops it; how many writes."""
    chance, ended, count = random.Random(1), threading.Event(), 0
    with tidelog.open_site(SECONDARY, config=servers.config()) as site:
        view = site.group(group)
        volume = view.create_clone(COPY, CLONE).volume(ours.VOLUME)
        threading.Thread(target=partial(_end, ended), daemon=True).start()
        tell()
        while not ended.is_set():
            volume.write(chance.randrange(volume.size // BLOCK) * BLOCK, chance.randbytes(BLOCK))
            count += 1
            time.sleep(1 / CLONE_RATE)
        view.drop_clone(CLONE)
    return count


def _end(ended: threading.Event) -> None:
    await_word()
    ended.set()
