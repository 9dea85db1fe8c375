"""Taking a copy away and bringing it back, beside reading and writing the same blocks in bulk."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import redis

from benchmarks import limits, ours
from benchmarks.arithmetic import MIB, Row, alternate, at_least, paired
from benchmarks.child import in_child
from benchmarks.feed import BLOCK
from benchmarks.limits import Way
from benchmarks.load import Load
from benchmarks.servers import PRIMARY, SECONDARY, Bench, Servers
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.consumers.process_settings import set_for_worker
from tidelog.gateways.exports.loading import import_exports, open_exports
from tidelog.gateways.exports.writing import write_export
from tidelog.stores.keys import Keys

COPY = "copy"


def exports(bench: Bench) -> list[Row]:
    """An export of a copy of random blocks to this machine's disk, and its import into an empty site; both verified."""
    load = Load(BLOCK, 0, bench.sized(256, 64) * MIB)
    group = bench.new_group()
    bench.empty_redis()
    last = in_child(ours.publish_stages, bench.servers, group, load.volume_bytes, [load.every_block(), COPY])[-1]
    in_child(ours.apply, bench.servers, group, last, 1)
    folder = Path(tempfile.mkdtemp(prefix="tidelog-bench-"))
    try:
        rows = _measured(bench, group, load, folder)
    finally:
        shutil.rmtree(folder)
    bench.drop(bench.topic_of(group))
    return rows


def _measured(bench: Bench, group: str, load: Load, folder: Path) -> list[Row]:
    servers, size = bench.servers, load.volume_bytes / MIB
    place = folder / "export"

    def taken() -> float:
        shutil.rmtree(place, ignore_errors=True)
        return size / in_child(export_seconds, servers, group, str(place))

    def brought() -> float:
        _empty(servers)
        return size / in_child(import_seconds, servers, str(place))

    def read(call: str, count: int) -> float:
        return size / in_child(bulk_read_seconds, servers, group, load, call, count)

    def written(call: str, count: int) -> float:
        _empty(servers)
        return size / in_child(bulk_write_seconds, servers, load, call, count)

    way_out, way_in = limits.best(bulk_read_ways(), read), limits.best(limits.bulk_write_ways(), written)
    out = alternate({"ours": taken, "read": lambda: read(*way_out)}, bench.pairs)
    back = alternate({"ours": brought, "write": lambda: written(*way_in)}, bench.pairs)
    _empty(servers)
    note = f"{size:.0f} MiB of random blocks, zstandard, to disk and synced; read again and proved"
    return [
        paired(
            "export of a copy / bulk read",
            "MiB/s",
            out["ours"],
            out["read"],
            at_least(0.5),
            f"{note}; bulk read: {way_out[0]} of {way_out[1]} blocks, {median(out['read']):.0f} MiB/s",
        ),
        paired(
            "import of an export / bulk write",
            "MiB/s",
            back["ours"],
            back["write"],
            at_least(0.5),
            f"checksums first, then every block read back; bulk write: {way_in[0]} of {way_in[1]} blocks",
        ),
    ]


def export_seconds(servers: Servers, group: str, place: str) -> float:
    """In a child: one export in a process set up as the command's is; the site's receipt has the copy's digest."""
    set_for_worker()
    store = open_store(RealDeployment(servers.config()), PRIMARY, group)
    copy = store.copy(COPY)
    store.digest(copy)
    start = time.perf_counter()
    write_export(store, copy, place, None, lambda _: None)
    return time.perf_counter() - start


def import_seconds(servers: Servers, place: str) -> float:
    """In a child: one import into an empty site, likewise."""
    set_for_worker()
    deployment = RealDeployment(servers.config())
    deployment.cluster.list_groups()  # connected before the clock runs
    start = time.perf_counter()
    import_exports(deployment, SECONDARY, open_exports([place], None), lambda _: None)
    return time.perf_counter() - start


def bulk_read_ways() -> Iterator[Way]:
    """A redis-py call and how many blocks it takes at once."""
    return ((call, count) for call in ("mget", "pipeline") for count in (64, 256, 1024))


def bulk_read_seconds(servers: Servers, group: str, load: Load, call: str, count: int) -> float:
    """In a child: the volume's live blocks, read and thrown away."""
    volume = open_store(RealDeployment(servers.config()), PRIMARY, group).volume(ours.VOLUME)
    key_of = Keys(group).block_format(volume.id)
    keys = [key_of % block for block in range(load.volume_bytes // BLOCK)]
    client = servers.client()
    client.ping()
    start = time.perf_counter()
    size = read_in_bulk(client, keys, call, count)
    took = time.perf_counter() - start
    assert size == load.volume_bytes, "every block of the volume is there"
    return took


def read_in_bulk(client: "redis.Redis", keys: list[bytes], call: str, count: int) -> int:
    """Every value, thrown away; how many bytes there were. ``call`` and ``count`` as `bulk_read_ways` gives them."""
    size = 0
    for at in range(0, len(keys), count):
        if call == "mget":
            found = client.mget(keys[at : at + count])
        else:
            with client.pipeline(transaction=False) as pipeline:
                for key in keys[at : at + count]:
                    pipeline.get(key)
                found = pipeline.execute()
        size += sum(map(len, found))
    return size


def bulk_write_seconds(servers: Servers, load: Load, call: str, count: int) -> float:
    """In a child: every block of the volume, in bulk, to the other site's Redis."""
    offsets, data = load.every_block()
    keys = [b"limit:%d" % (offset // BLOCK) for offset in offsets]
    client = servers.client(SECONDARY)
    client.ping()
    return limits.seconds_to_write(client, keys, data, call, count)


def _empty(servers: Servers) -> None:
    servers.client(SECONDARY).flushall(asynchronous=False)
