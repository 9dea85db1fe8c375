"""The one list of metrics: what is exposed, what the reference says, and what dashboards and rules may ask for.

A gauge that is not known is ``+Inf``, never absent and never 0; so is an objective that is not configured. What is idle
is 0. Label values are bounded: names of groups and sites, and words of tidelog's own.
"""

from dataclasses import dataclass
from enum import StrEnum

from tidelog.consumers.counts import HALT_KINDS
from tidelog.consumers.progress import State
from tidelog.recovery.rpo import WriterState
from tidelog.schemas.events import EVENT_TYPES


class Kind(StrEnum):
    """As Prometheus calls them."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


class Place(StrEnum):
    """Who exposes a metric."""

    OBSERVER = "observer"  # `tidelog serve http`, `tidelog metrics`: of all sites, by what they have told
    WORKER = "worker"  # `tidelog site run` with metrics.listen: of itself
    BOTH = "both"


class Stability(StrEnum):
    """What may become of a metric."""

    STABLE = "stable"  # its name, labels and meaning stay within a major version
    EXPERIMENTAL = "experimental"


@dataclass(frozen=True, slots=True)
class Listed:
    """One metric. ``name`` is the exposed one, ``help`` one sentence."""

    name: str
    kind: Kind
    place: Place
    labels: tuple[str, ...]
    unit: str
    help: str
    stability: Stability = Stability.STABLE


SITE_STATES = (*(state.value for state in State), "SILENT", "UNKNOWN", "DIVERGED", "WAITING")
ELSEWHERE = "elsewhere"
WRITER_STATES = (*(state.value for state in WriterState), ELSEWHERE)
# The metrics and the states that say that something is wrong: each is in a rule of infra/prometheus, and no rule asks
# for a state that is not one. Objectives alone say nothing.
ALARMING = frozenset(
    {
        "tidelog_site_state",
        "tidelog_site_rpo_seconds",
        "tidelog_site_copy_rpo_seconds",
        "tidelog_site_not_copied_seconds",
        "tidelog_site_last_copy_timestamp_seconds",
        "tidelog_site_copies_missing",
        "tidelog_site_lag_seconds",
        "tidelog_group_seen",
        "tidelog_group_copies_differing",
        "tidelog_group_alarms",
        "tidelog_group_objectives_missed",
        "tidelog_writer_state",
        "tidelog_writer_delay_seconds",
        "tidelog_observer_up",
        "tidelog_observer_look_timestamp_seconds",
        "tidelog_worker_state",
        "tidelog_worker_kafka_up",
    }
)
ALARMING_STATES = {
    "tidelog_site_state": frozenset({"HALTED", "NEEDS_REBUILD", "DIVERGED", "SILENT", "UNKNOWN", "STOPPED", "WAITING"}),
    "tidelog_writer_state": frozenset({"silent", "ended"}),  # unknown is that the group is not seen
    "tidelog_worker_state": frozenset({"HALTED", "NEEDS_REBUILD"}),
}
# The values of each label that has words of tidelog's own; the others are names of groups and sites, and the version.
LABEL_VALUES = {"state": (*SITE_STATES, *WRITER_STATES), "type": tuple(EVENT_TYPES), "kind": HALT_KINDS}

_SITE = ("group", "site")
_GROUP = ("group",)


def _observed(name: str, labels: tuple[str, ...], unit: str, text: str, kind: Kind = Kind.GAUGE) -> Listed:
    return Listed(name, kind, Place.OBSERVER, labels, unit, text)


def _worker(name: str, labels: tuple[str, ...], unit: str, text: str, kind: Kind = Kind.GAUGE) -> Listed:
    return Listed(name, kind, Place.WORKER, labels, unit, text)


_OF_SITES = (
    _observed("tidelog_site_state", (*_SITE, "state"), "", "1 for the state that the site is in, 0 for the others."),
    _observed("tidelog_site_rpo_seconds", _SITE, "seconds", "Age of the oldest change that the site's image lacks."),
    _observed("tidelog_site_rpo_objective_seconds", _SITE, "seconds", "The configured objective of that age."),
    _observed("tidelog_site_not_logged_seconds", _SITE, "seconds", "Part of the RPO: accepted, not in the log."),
    _observed("tidelog_site_not_applied_seconds", _SITE, "seconds", "Part of the RPO: in the log, not applied here."),
    _observed("tidelog_site_not_copied_seconds", _SITE, "seconds", "Part of the copy RPO: applied, in no copy here."),
    _observed("tidelog_site_copy_rpo_seconds", _SITE, "seconds", "Age of the oldest change that no copy here holds."),
    _observed("tidelog_site_copy_rpo_objective_seconds", _SITE, "seconds", "The configured objective of that age."),
    _observed(
        "tidelog_site_lag_events", _SITE, "events", "Sequence numbers between the site's position and the newest."
    ),
    _observed("tidelog_site_lag_seconds", _SITE, "seconds", "Time of the log between the two."),
    _observed("tidelog_site_sequence", _SITE, "events", "The site's position: the sequence that it has applied last."),
    _observed("tidelog_site_applied_timestamp_seconds", _SITE, "seconds", "Time of that event; 0 if there was none."),
    _observed("tidelog_site_silent_seconds", _SITE, "seconds", "Age of the site's last report."),
    _observed("tidelog_site_copies", _SITE, "copies", "Copies that the site holds, with a digest."),
    _observed("tidelog_site_copies_missing", _SITE, "copies", "Copies that the site is to hold and has no receipt of."),
    _observed("tidelog_site_last_copy_timestamp_seconds", _SITE, "seconds", "Time of the newest it holds; 0 if none."),
    _observed(
        "tidelog_site_events_applied_total",
        _SITE,
        "events",
        "Events that the site's worker has applied since it began, heartbeats left out; as it has told last.",
        Kind.COUNTER,
    ),
    _observed(
        "tidelog_site_bytes_applied_total", _SITE, "bytes", "Bytes of data in those that were writes.", Kind.COUNTER
    ),
    Listed(
        "tidelog_site_catch_up_seconds",
        Kind.GAUGE,
        Place.OBSERVER,
        _SITE,
        "seconds",
        "Until the site is at the log's end at its net rate: 0 when it is, +Inf when that does not come nearer.",
        Stability.EXPERIMENTAL,
    ),
)
_OF_GROUPS = (
    _observed("tidelog_group_seen", _GROUP, "", "1 if the group's log could be read, else 0."),
    _observed("tidelog_group_sequence", _GROUP, "events", "The sequence of the log's newest event."),
    _observed("tidelog_group_newest_timestamp_seconds", _GROUP, "seconds", "Time of that event; 0 if there was none."),
    _observed("tidelog_group_copies", _GROUP, "copies", "Copies that any site or archive holds."),
    _observed(
        "tidelog_group_copies_equal", _GROUP, "copies", "Copies that all sites that are to hold them have alike."
    ),
    _observed("tidelog_group_copies_differing", _GROUP, "copies", "Copies of which two digests differ: an alarm."),
    _observed("tidelog_group_copies_waiting", _GROUP, "copies", "Copies of which a receipt is still to come."),
    _observed("tidelog_group_last_copy_timestamp_seconds", _GROUP, "seconds", "Time of the newest copy; 0 if none."),
    _observed("tidelog_group_alarms", _GROUP, "alarms", "Alarms that `tidelog status` shows, objectives left out."),
    _observed("tidelog_group_objectives_missed", _GROUP, "objectives", "Objectives that are missed, or not known."),
    _observed("tidelog_group_mirror", _GROUP, "", "1 if the log here is a mirror of another region's, else 0."),
    _observed(
        "tidelog_writer_state", (*_GROUP, "state"), "", "1 for the state that the writer is in, 0 for the others."
    ),
    _observed("tidelog_writer_silent_seconds", _GROUP, "seconds", "Since its last sign of life; 0 if it has ended."),
    _observed("tidelog_writer_delay_seconds", _GROUP, "seconds", "What pacing adds to each write now; 0 if nothing."),
)
_OF_OBSERVERS = (
    _observed("tidelog_observer_up", (), "", "1 if Kafka answered the observer's last look, else 0."),
    _observed("tidelog_observer_look_timestamp_seconds", (), "seconds", "Time of its last look that was answered."),
)
_OF_WORKERS = (
    _worker(
        "tidelog_worker_events_applied_total",
        (*_SITE, "type"),
        "events",
        "Events applied, by type; a batch is as many as it has writes.",
        Kind.COUNTER,
    ),
    _worker("tidelog_worker_records_applied_total", _SITE, "records", "Records of the log applied.", Kind.COUNTER),
    _worker("tidelog_worker_bytes_applied_total", _SITE, "bytes", "Bytes of data in writes applied.", Kind.COUNTER),
    _worker("tidelog_worker_transactions_total", _SITE, "transactions", "Transactions of Redis sent.", Kind.COUNTER),
    _worker(
        "tidelog_worker_apply_duration_seconds",
        _SITE,
        "seconds",
        "What applying a run of events took, until Redis had all but the last transaction.",
        Kind.HISTOGRAM,
    ),
    _worker(
        "tidelog_worker_redelivered_total",
        _SITE,
        "records",
        "Records passed over that had been applied before, since the log was opened.",
        Kind.COUNTER,
    ),
    _worker(
        "tidelog_worker_void_total",
        _SITE,
        "records",
        "Records passed over that a fenced writer left, since the log was opened.",
        Kind.COUNTER,
    ),
    _worker("tidelog_worker_receipts_total", _SITE, "receipts", "Receipts sent for copies.", Kind.COUNTER),
    _worker("tidelog_worker_halts_total", (*_SITE, "kind"), "halts", "Halts on doubt, by kind of error.", Kind.COUNTER),
    _worker("tidelog_worker_state", (*_SITE, "state"), "", "1 for the state that the group is in, 0 for the others."),
    _worker("tidelog_worker_sequence", _SITE, "events", "The sequence applied last."),
    _worker("tidelog_worker_applied_timestamp_seconds", _SITE, "seconds", "Time of that event; 0 if there was none."),
    _worker("tidelog_worker_lag_records", _SITE, "records", "Records of the log behind the position."),
    _worker("tidelog_worker_copies", _SITE, "copies", "Copies in the site's Redis."),
    _worker("tidelog_worker_last_copy_timestamp_seconds", _SITE, "seconds", "Time of the newest; 0 if there is none."),
    _worker(
        "tidelog_worker_uncopied_timestamp_seconds",
        _SITE,
        "seconds",
        "Time of the oldest change that none of them holds; 0 if each is in one.",
    ),
    _worker("tidelog_worker_kafka_up", (), "", "1 if Kafka answered the worker's last round, else 0."),
)
METRICS: tuple[Listed, ...] = (
    *_OF_SITES,
    *_OF_GROUPS,
    *_OF_OBSERVERS,
    *_OF_WORKERS,
    Listed("tidelog_build_info", Kind.GAUGE, Place.BOTH, ("version",), "", "1, with the version of tidelog."),
)
