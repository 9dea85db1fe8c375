"""Block devices: fio through NBD, beside nbdkit's disks in memory and in a file of this machine."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import ours
from benchmarks.arithmetic import MIB, Goal, Row, alternate, at_least, at_most, paired
from benchmarks.child import Child, await_word, tell
from benchmarks.limits import SILENCE
from benchmarks.servers import PRIMARY, Bench, Servers
from tidelog.consumers.deployment import RealDeployment
from tidelog.consumers.process_settings import set_for_worker
from tidelog.gateways.nbd.address import UnixAddress
from tidelog.gateways.nbd.writer import open_writer
from tidelog.testing.child import DIE_WITH_PARENT
from tidelog.testing.nbd import RunningNbd
from tidelog.testing.readiness import wait_until

_SIZE = 128 * MIB
_FLUSH_EACH = 32
_DEPTHS = (1, 32)
# Beside a file on a disk, whose flush is an fsync; and beside memory, whose flush is nothing, with not much between.
_WRITE_GOALS = {"file": at_least(0.5), "memory": at_least(0.1)}
_P99_GOALS = {"file": at_most(10), "memory": at_most(20)}
_READ_GOAL = at_least(0.1)
# A volume that is discarded whole, as mkfs does with a new one, and what is written to it before.
_LARGE, _WRITTEN = 64 << 30, 16 * MIB
_DISCARD_GOAL = at_most(1.5)


class Measured(NamedTuple):
    """What fio says: operations and bytes a second, and the 99th percentile of an operation in ms."""

    operations: float
    bytes: float
    p99: float


def nbd(bench: Bench) -> list[Row]:
    """4 KiB random writes with a flush behind each 32, one and 32 in flight, on a live volume; 64 KiB sequential reads
    of that volume and of its copy. fio is the client of all sides, over unix sockets."""
    seconds = bench.sized(8, 1)
    group = bench.new_group()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidelog-bench-")))
        worker = stack.enter_context(Child(ours.serve, bench.servers, group, PRIMARY))
        server = stack.enter_context(Child(serve, bench.servers, group))
        uris: dict[str, str] = server.hear()
        worker.hear()
        uris["memory"] = stack.enter_context(_nbdkit(folder, "memory", str(_SIZE)))
        with (folder / "disk").open("wb") as file:
            file.truncate(_SIZE)
        uris["file"] = stack.enter_context(_nbdkit(folder, "file", str(folder / "disk")))
        for side in ("live", "memory", "file"):
            _fio(uris[side], "write", "64k", 8, {"size": str(_SIZE)})  # every block is there from here on
        rows = [row for depth in _DEPTHS for row in _writes(bench, uris, depth, seconds)]
        server.say()
        server.hear()  # the copy is there
        rows += _reads(bench, uris, seconds)
        for child in (server, worker):
            child.say()
            child.result()
    bench.drop(bench.topic_of(group))
    return rows


def _writes(bench: Bench, uris: dict[str, str], depth: int, seconds: int) -> list[Row]:
    sides = ("live", "file", "memory")
    p99: dict[str, list[float]] = {side: [] for side in sides}

    def measure(side: str) -> float:
        options = {"fsync": str(_FLUSH_EACH), "size": str(_SIZE)}
        measured = _fio(uris[side], "randwrite", "4k", depth, options, seconds)
        p99[side].append(measured.p99)
        return measured.operations

    found = alternate({side: partial(measure, side) for side in sides}, bench.pairs)
    worst = {side: values[1:] for side, values in p99.items()}  # the first round is thrown away
    name = f"NBD, 4 KiB random writes, {depth} in flight"
    note = f"flush each {_FLUSH_EACH}, {seconds} s a side and pair"
    return [
        *(
            paired(f"{name} / nbdkit {side}", "writes/s", found["live"], found[side], goal, note)
            for side, goal in _WRITE_GOALS.items()
        ),
        *(
            paired(f"{name}, p99 / nbdkit {side}", "ms", worst["live"], worst[side], goal)
            for side, goal in _P99_GOALS.items()
        ),
    ]


def _reads(bench: Bench, uris: dict[str, str], seconds: int) -> list[Row]:
    def measure(side: str) -> float:
        return _fio(uris[side], "read", "64k", 8, {"size": str(_SIZE)}, seconds).bytes / MIB

    found = alternate({side: partial(measure, side) for side in ("live", "copy", "memory")}, bench.pairs)

    def row(side: str, goal: Goal) -> Row:
        name = f"NBD, 64 KiB sequential reads, {side} / nbdkit memory"
        return paired(name, "MiB/s", found[side], found["memory"], goal, f"8 in flight, {seconds} s a side and pair")

    return [row("live", _READ_GOAL), row("copy", _READ_GOAL)]


def discards(bench: Bench) -> list[Row]:
    """The receipt of a copy behind a discard of a whole new volume of 64 GiB and some writes, beside that of a copy
    behind the writes alone; each on a new group."""
    found = alternate(
        {"discarded": partial(_receipt, bench, discard=True), "written": partial(_receipt, bench, discard=False)},
        bench.pairs,
    )
    name = "NBD, receipt behind a discard of 64 GiB / behind writes alone"
    return [paired(name, "ms", found["discarded"], found["written"], _DISCARD_GOAL, f"{_WRITTEN >> 20} MiB written")]


def _receipt(bench: Bench, *, discard: bool) -> float:
    """Milliseconds from the mark to the site's receipt."""
    group = bench.new_group()
    with Child(ours.serve, bench.servers, group, PRIMARY) as worker:
        with Child(serve, bench.servers, group, _LARGE) as server:
            uri = server.hear()["live"]
            worker.hear()
            if discard:
                _fio(uri, "trim", "1g", 1, {"size": str(_LARGE)})
            _fio(uri, "write", "64k", 8, {"size": str(_WRITTEN), "end_fsync": "1"})
            server.say()
            took = float(server.hear())
            server.say()
            server.result()
        worker.say()
        worker.result()
    bench.drop(bench.topic_of(group))
    return 1000 * took


def serve(servers: Servers, group: str, size: int = _SIZE) -> None:
    """In a child: serves a group's volume; tells the exports' URIs, and, when told to, marks the copy and tells after
    how many seconds its receipt is there; until the parent gives the word again."""
    set_for_worker()
    deployment = RealDeployment(servers.config())
    with open_writer(deployment, group) as opened:
        opened.create_volume(ours.VOLUME, size)
        with RunningNbd(deployment, group, PRIMARY, opened) as running:
            tell({"live": running.uri(ours.VOLUME), "copy": running.uri(f"{ours.VOLUME}@read")})
            await_word()
            begun = time.perf_counter()
            opened.mark("read").wait(sites=[PRIMARY], timeout=SILENCE)
            tell(time.perf_counter() - begun)
            await_word()
    deployment.close()


@contextmanager
def _nbdkit(folder: Path, plugin: str, argument: str) -> Iterator[str]:
    """An nbdkit with one of its plugins; the URI."""
    address = UnixAddress(folder / f"{plugin}.sock")
    nbdkit = shutil.which("nbdkit") or "nbdkit"
    launcher = [sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid())]
    process = subprocess.Popen([*launcher, nbdkit, "-f", "-U", str(address.path), plugin, argument])
    try:
        if not wait_until(address.path.exists, timeout_s=SILENCE):
            raise TimeoutError(f"nbdkit {plugin} does not listen")
        yield address.uri("")
    finally:
        process.terminate()
        process.wait()


def _fio(uri: str, pattern: str, block: str, depth: int, options: dict[str, str], seconds: int = 0) -> Measured:
    """One job of fio's; with ``seconds``, for so long."""
    job = {"name": pattern, "ioengine": "nbd", "uri": uri, "rw": pattern, "bs": block, "iodepth": str(depth)}
    timed = {"runtime": f"{seconds}s", "time_based": "1", "ramp_time": "1s"} if seconds else {}
    settings = job | options | timed | {"randseed": "7", "output-format": "json"}
    command = ["fio", *(f"--{name}={value}" for name, value in settings.items())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * SILENCE, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    (result,) = json.loads(done.stdout[done.stdout.index("{") :])["jobs"]
    side = result[{"read": "read", "trim": "trim"}.get(pattern, "write")]
    return Measured(side["iops"], side["bw_bytes"], side["clat_ns"]["percentile"]["99.000000"] / 1e6)
