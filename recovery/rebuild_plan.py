"""The plan of a rebuild: what it erases and what it replays, as data, before anything is done."""

from dataclasses import dataclass

from tidelog.clock import wall_us
from tidelog.consumers.catalogue import standing_of
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.consumers.replica import State
from tidelog.errors import IMPORT, NeedsRebuild, NotFound, StoreDamaged
from tidelog.producers.log import Bounds, Log
from tidelog.recovery.head import find_head, first_event
from tidelog.schemas.control import GroupCreated
from tidelog.stores.erase import ERASING as ERASING
from tidelog.stores.image import Store
from tidelog.stores.store import HoldKind

_SAMPLE_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class StoreSurvey:
    """What a site's store holds before a rebuild. ``sequence`` is None where it has no position: an erase that was cut
    short. ``rebuilding`` is the sequence that an unfinished rebuild must reach, None if there is none. ``clones`` are
    names; ``leases`` counts the exports and open work volumes that hold copies."""

    sequence: int | None
    copies: int
    volumes: int
    rebuilding: int | None
    clones: tuple[str, ...] = ()
    leases: int = 0


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that a plan rests on. ``worker`` is who runs the site now, empty if nobody does. ``first_sequence``
    is that of the log's oldest record, None in an empty log; ``record_size`` the mean of some records, in bytes."""

    record: GroupCreated
    site: str
    bounds: Bounds
    first_sequence: int | None
    head_sequence: int
    head_timestamp_us: int
    record_size: float
    store: StoreSurvey | None
    worker: str


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild will do. ``erase`` is False when an earlier one is gone on with, from ``from_sequence``. An erase
    takes clones away only with ``drop_clones``."""

    site: str
    group: str
    erase: bool
    drop_clones: bool
    store: StoreSurvey | None
    from_sequence: int
    until_sequence: int
    until_timestamp_us: int
    records: int
    bytes_estimated: int
    worker: str


def survey(deployment: Deployment, site: str, group: str) -> Survey:
    """Looks at the log, the store and the control topic; changes nothing.

    Raises `NotFound`, `WrongStore`, `StoreUnavailable`, `LogUnavailable`, and what folding the log's end raises.
    """
    find_site(deployment.config, site)
    cluster = deployment.cluster
    record = cluster.find_group(group)
    codec, view = cluster.codec(record), cluster.control.snapshot()
    log = cluster.log(record)
    try:
        bounds = log.bounds()
        first = first_event(log, codec)
        head = find_head(log, codec, record, view)
        size = _mean_record_size(log, bounds)
    finally:
        log.close()
    standing = standing_of(
        view,
        group,
        site,
        configured=True,
        now_us=wall_us(),
        status_interval=deployment.config.worker.status_interval,
    )
    status = standing.status
    alive = status is not None and not standing.silent and status.state != State.STOPPED
    return Survey(
        record=record,
        site=site,
        bounds=bounds,
        first_sequence=first.sequence if first else None,
        head_sequence=head.sequence,
        head_timestamp_us=head.timestamp_us,
        record_size=size,
        store=_survey_store(deployment, site, group),
        worker=status.worker if status is not None and alive else "",
    )


def plan_rebuild(found: Survey, *, from_scratch: bool = False, drop_clones: bool = False) -> RebuildPlan:
    """The plan. Pure. An earlier rebuild that had begun to replay is gone on with, unless ``from_scratch``.

    Raises `NeedsRebuild` if the log does not begin at its beginning: then it cannot be the source.
    """
    if found.bounds.start > 0 or found.first_sequence not in (None, 1):
        first = f", with sequence {found.first_sequence}" if found.first_sequence is not None else ""
        refusal = NeedsRebuild(
            f"the log begins at offset {found.bounds.start}{first}, and a rebuild needs it from sequence 1",
            group=found.record.group,
            offset=found.bounds.start,
            hint=f"a log that was trimmed cannot rebuild a site by itself; nothing was erased. Else {IMPORT}",
        )
        refusal.at_site(found.site, found.record.group)
        raise refusal
    store = found.store
    replaying = store is not None and store.sequence is not None and store.rebuilding not in (None, ERASING)
    resumed = replaying and not from_scratch
    done = store.sequence if resumed and store is not None and store.sequence is not None else 0
    records = found.bounds.end - found.bounds.start
    if resumed and found.head_sequence:
        records = round(records * max(0.0, 1 - done / found.head_sequence))
    return RebuildPlan(
        site=found.site,
        group=found.record.group,
        erase=not resumed,
        drop_clones=drop_clones,
        store=store,
        from_sequence=done + 1,
        until_sequence=found.head_sequence,
        until_timestamp_us=found.head_timestamp_us,
        records=records,
        bytes_estimated=round(records * found.record_size),
        worker=found.worker,
    )


def _survey_store(deployment: Deployment, site: str, group: str) -> StoreSurvey | None:
    try:
        store = open_store(deployment, site, group)
    except NotFound:
        return None
    try:
        return _survey_opened(store)
    finally:
        store.close()


def _survey_opened(store: Store) -> StoreSurvey:
    """What can be told of a store that may be damaged: that is a reason to rebuild, not one to refuse."""
    try:
        holds = store.holds()
        return StoreSurvey(
            store.position().head.sequence,
            len(store.copies()),
            len(store.volumes()),
            store.rebuilding(),
            tuple(clone.name for clone in store.clones.all()),
            sum(hold.kind is not HoldKind.CLONE for hold in holds),
        )
    except (NeedsRebuild, StoreDamaged):
        return StoreSurvey(None, 0, 0, ERASING)


def _mean_record_size(log: Log, bounds: Bounds) -> float:
    """Bytes, from one fetch at the beginning and one in the middle: for an estimate only."""
    sizes: list[int] = []
    reader = log.reader(bounds.start)
    try:
        for offset in {bounds.start, (bounds.start + bounds.end) // 2}:
            if offset < bounds.end:
                reader.seek(offset)
                sizes.extend(len(record.value) for record in reader.poll(_SAMPLE_TIMEOUT))
    finally:
        reader.close()
    return sum(sizes) / len(sizes) if sizes else 0.0
