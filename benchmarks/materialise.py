"""Any point in time: how fast a moment is filled from the log, beside how fast a worker applies the same log."""

import time

from benchmarks import ours
from benchmarks.apply import applied_per_second
from benchmarks.arithmetic import Row, alternate, at_least, paired
from benchmarks.child import in_child
from benchmarks.load import Load
from benchmarks.servers import PRIMARY, Bench, Servers
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.consumers.materialise import materialise
from tidelog.consumers.process_settings import set_for_worker
from tidelog.stores.store import Moment

_NAMES = {4096: "4 KiB", 128: "128 B"}


def rates(bench: Bench) -> list[Row]:
    """4 KiB and 128-byte writes at random, from the log's beginning into an empty Redis."""
    loads = (Load(4096, bench.sized(100_000, 20_000)), Load(128, bench.sized(600_000, 200_000)))
    return [_beside_apply(bench, load) for load in loads]


def _beside_apply(bench: Bench, load: Load) -> Row:
    group = bench.new_group()
    _, last = in_child(ours.publish, bench.servers, group, load)

    def filled() -> float:
        bench.empty_redis()
        return in_child(fill, bench.servers, group, last)

    found = alternate({"filled": filled, "applied": lambda: applied_per_second(bench, group, last)}, bench.pairs)
    bench.empty_redis()
    bench.drop(bench.topic_of(group))
    name = f"materialise, {_NAMES[load.size]} random / apply"
    note = "from the log's beginning; both from the first sequence that is reported to the last"
    return paired(name, "writes/s", found["filled"], found["applied"], at_least(0.8), note)


def fill(servers: Servers, group: str, last: int) -> float:
    """In a child: sequences a second, from the first that is reported until the clone is whole."""
    set_for_worker()
    deployment, started = RealDeployment(servers.config()), [(0.0, 0)]

    def advance(_begun: int, reached: int, _last: int) -> None:
        if not started[0][1]:
            started[0] = time.monotonic(), reached

    store = open_store(deployment, PRIMARY, group, create=True)
    materialise(deployment, store, "was", Moment(last), advance)
    took = time.monotonic() - started[0][0]
    store.close()
    deployment.close()
    return (last - started[0][1]) / took
