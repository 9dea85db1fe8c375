"""What a worker exposes of itself: what it counts anyway, put together when somebody asks. It asks nobody."""

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from tidelog.consumers.counts import RUN_SECONDS, Counts
from tidelog.consumers.replica import Replica
from tidelog.consumers.worker import SiteWorker
from tidelog.gateways.metrics.families import Families
from tidelog.gateways.metrics.listed import SITE_STATES, Place
from tidelog.schemas.control import shown_state


class WorkerCollector(Collector):
    """Of the groups that the worker owns now."""

    def __init__(self, worker: SiteWorker) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        worker, families = self._worker, Families(Place.WORKER)
        families.add("tidelog_worker_kafka_up", worker.unreachable is None)
        for group, replica in sorted(worker.replicas.items()):
            where = (group, worker.site)
            status = worker.statuses.get(group)
            _add_counts(families, worker.reports.counts_of(group), *where)
            _add_progress(families, replica, status.end_offset if status else 0, *where)
        return iter(families)


def _add_counts(families: Families, counts: Counts, *where: str) -> None:
    families.add_each("tidelog_worker_events_applied_total", dict(counts.events), *where)
    families.add_each("tidelog_worker_halts_total", dict(counts.halts), *where)
    families.add("tidelog_worker_records_applied_total", counts.records, *where)
    families.add("tidelog_worker_bytes_applied_total", counts.bytes, *where)
    families.add("tidelog_worker_transactions_total", counts.transactions, *where)
    families.add("tidelog_worker_receipts_total", counts.receipts, *where)
    families.add("tidelog_worker_copies", counts.copies, *where)
    name, runs = "tidelog_worker_apply_duration_seconds", tuple(counts.runs)
    families.add_histogram(name, RUN_SECONDS, runs, counts.run_seconds, *where)


def _add_progress(families: Families, replica: Replica, end: int, *where: str) -> None:
    progress, uncopied = replica.progress(end), replica.uncopied
    newest_us = since_us = None  # until the store is open
    if uncopied is not None:
        newest_us, since_us = uncopied.newest.timestamp_us if uncopied.newest else 0, uncopied.since_us
    state = shown_state(progress.state.value, str(progress.error or ""))
    families.add_one_of("tidelog_worker_state", SITE_STATES, state, *where)
    for name, value in (
        ("redelivered_total", progress.skipped.redelivered),
        ("void_total", progress.skipped.void),
        ("sequence", progress.head.sequence),
        ("applied_timestamp_seconds", progress.head.timestamp_us / 1_000_000),
        ("lag_records", max(0, end - progress.head.next_offset) if progress.state != "STREAMING" else 0),
        ("last_copy_timestamp_seconds", None if newest_us is None else newest_us / 1_000_000),
        ("uncopied_timestamp_seconds", None if since_us is None else since_us / 1_000_000),
    ):
        families.add(f"tidelog_worker_{name}", value, *where)
