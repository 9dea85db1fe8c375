"""Our side, each function for a process of its own: the public API to write, the real site worker to apply."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tidelog
from benchmarks.child import await_word, tell
from benchmarks.limits import SILENCE
from benchmarks.load import Load, Writes
from benchmarks.servers import PRIMARY, Servers
from tidelog.consumers.deployment import RealDeployment, open_store
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.process_settings import set_for_worker
from tidelog.consumers.replica import Replica, State
from tidelog.consumers.worker import SiteWorker
from tidelog.schemas.control import CopyFormed

VOLUME = "data"
_SAMPLE_EVERY = 0.002

# (monotonic seconds, sequence applied)
Samples = list[tuple[float, int]]


def publish(servers: Servers, group: str, load: Load, rounds: int = 1) -> tuple[float, int]:
    """Writes a second through the public API, from the first write to the return of the flush, and the last sequence.
    ``rounds`` writes the same load so many times."""
    writes = load.writes()
    with tidelog.open_group(group, servers.config()) as opened:
        volume = opened.create_volume(VOLUME, load.volume_bytes)
        start = time.perf_counter()
        for _ in range(rounds):
            for offset, data in zip(*writes, strict=True):
                volume.write(offset, data)
        opened.flush()
        took = time.perf_counter() - start
        return rounds * load.count / took, opened.session.confirmed.sequence


def publish_stages(servers: Servers, group: str, volume_bytes: int, stages: Sequence[Writes | str]) -> list[int]:
    """Writes each stage, or marks a copy of that name; the last sequence of each, durable."""
    ends = []
    with tidelog.open_group(group, servers.config()) as opened:
        volume = opened.create_volume(VOLUME, volume_bytes)
        for stage in stages:
            if isinstance(stage, str):
                opened.mark(stage)
            else:
                for offset, data in zip(*stage, strict=True):
                    volume.write(offset, data)
                opened.flush()
            ends.append(opened.session.confirmed.sequence)
    return ends


def apply(servers: Servers, group: str, until: int, copies: int = 0, site: str = PRIMARY) -> Samples:
    """Runs the site's worker until ``until`` is applied and the receipts of so many copies are out."""
    set_for_worker()
    deployment = RealDeployment(servers.config())
    # A store made beforehand: a worker makes none where its site has reported progress before, as it has here.
    open_store(deployment, site, group, create=True).close()
    with _working(deployment, group, site) as worker:
        samples = _sample(_replica(worker, group), until)
        deadline = time.monotonic() + SILENCE
        while _receipts(deployment, group, site) < copies:
            if time.monotonic() > deadline:
                raise TimeoutError(f"receipts for fewer than {copies} copies")
            time.sleep(0.05)
    deployment.close()
    return samples


def serve(servers: Servers, group: str, site: str) -> str:
    """Runs the site's worker until the parent gives the word; tells when it has applied the first event. What the
    replica says of itself in the end."""
    set_for_worker()
    deployment = RealDeployment(servers.config())
    open_store(deployment, site, group, create=True).close()
    with _working(deployment, group, site) as worker:
        replica = _replica(worker, group)
        _sample(replica, 1)
        tell()
        await_word()
        said = f"{replica.progress(0)}, worker: {worker.unreachable or 'well'}"
    deployment.close()
    return said


def _sample(replica: Replica, until: int) -> Samples:
    samples: Samples = []
    deadline = 0.0
    while not samples or samples[-1][1] < until:
        progress, now = replica.progress(0), time.monotonic()
        # While it starts it says where the site stood by its last report.
        sequence = 0 if progress.state is State.STARTING else progress.head.sequence
        if not samples or sequence != samples[-1][1]:
            samples.append((now, sequence))
            deadline = now + SILENCE
        elif now > deadline:
            raise TimeoutError(f"stopped short of sequence {until}: {replica.progress(0)}")
        time.sleep(_SAMPLE_EVERY)
    return samples


@contextmanager
def _working(deployment: RealDeployment, group: str, site: str) -> Iterator[SiteWorker]:
    worker = SiteWorker(deployment, site, SoleWorker, [group])
    thread = threading.Thread(target=worker.run, name="worker")
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join()


def _replica(worker: SiteWorker, group: str) -> Replica:
    deadline = time.monotonic() + SILENCE
    while group not in worker.replicas:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker did not begin: {worker.unreachable}")
        time.sleep(0.001)
    return worker.replicas[group]


def _receipts(deployment: RealDeployment, group: str, site: str) -> int:
    view = deployment.cluster.control.snapshot().values()
    return sum(isinstance(record, CopyFormed) and (record.group, record.site) == (group, site) for record in view)
