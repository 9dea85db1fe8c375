"""Looking at everything that the plan of a rebuild rests on; nothing is changed."""

from collections.abc import Sequence

from tidelog.clock import wall_us
from tidelog.consumers.catalogue import copies_of, standing_of
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.consumers.replica import State
from tidelog.errors import NeedsRebuild, NotFound, RollingBack, StoreDamaged
from tidelog.producers.control import ControlView
from tidelog.producers.follower import carries_head
from tidelog.producers.log import Bounds, Log
from tidelog.recovery.base_search import BaseSearch
from tidelog.recovery.common_history import find_common
from tidelog.recovery.head import find_head, first_event
from tidelog.recovery.rebuild_bases import Exports, Wanted
from tidelog.recovery.rebuild_plan import KnownCopy, StoreSurvey, Survey
from tidelog.schemas.codec import Codec
from tidelog.stores.erase import ERASING
from tidelog.stores.image import Store
from tidelog.stores.loading import Loading
from tidelog.stores.local_drop import judged_at_us
from tidelog.stores.store import Copy, CopyOrigin, HoldKind, Position

_SAMPLE_TIMEOUT = 5.0


def survey(
    deployment: Deployment, site: str, group: str, wanted: Wanted | None = None, exports: Exports | None = None
) -> Survey:
    """Looks at the log, the store, the control topic and at what could be a base; without ``exports`` at none of those.

    Raises `NotFound`, `WrongStore`, `StoreUnavailable`, `LogUnavailable`, what folding the log's end raises, and what
    `BaseSearch.look` does.
    """
    wanted = wanted or Wanted()
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
        store = _survey_store(deployment, site, group, log, codec)
        unfinished, locked = (None, ()) if store is None else (store.loading, store.locked)
        eldest = locked[0].sequence if locked else None
        bases = BaseSearch(deployment, record, site, log, view, exports, unfinished, eldest).look(wanted)
    finally:
        log.close()
    copies = (copy for copy in copies_of(view, group, deployment.config.sites) if copy.receipts)
    return Survey(
        record=record,
        site=site,
        bounds=bounds,
        first_sequence=first.sequence if first else None,
        head_sequence=head.sequence,
        head_timestamp_us=head.timestamp_us,
        record_size=size,
        store=store,
        worker=_worker(deployment, view, group, site),
        wanted=wanted,
        bases=bases,
        copies=tuple(KnownCopy(copy.name, copy.sequence, copy.seal) for copy in copies),
        sites=tuple(deployment.config.sites),
    )


def _worker(deployment: Deployment, view: ControlView, group: str, site: str) -> str:
    interval = deployment.config.worker.status_interval
    standing = standing_of(view, group, site, configured=True, now_us=wall_us(), status_interval=interval)
    status = standing.status
    alive = status is not None and not standing.silent and status.state != State.STOPPED
    return status.worker if status is not None and alive else ""


def _survey_store(deployment: Deployment, site: str, group: str, log: Log, codec: Codec) -> StoreSurvey | None:
    try:
        store = open_store(deployment, site, group)
    except NotFound:
        return None
    try:
        return _survey_opened(store, log, codec)
    finally:
        store.close()


def _survey_opened(store: Store, log: Log, codec: Codec) -> StoreSurvey:
    """What can be told of a store that may be damaged: that is a reason to rebuild, not one to refuse."""
    try:
        holds, position = store.holds(), store.position()
        head = position.head
        begun = head.sequence > 0
        behind = head.next_offset < log.bounds().start or (begun and position.cluster_id != log.id)
        copies, in_log = store.copies(lost=True), not behind and carries_head(log, head)
        locked, gone = _told(store, copies, position, in_log, log, codec)
        return StoreSurvey(
            head.sequence,
            len(copies),
            len(store.volumes()),
            store.rebuilding(),
            tuple(clone.name for clone in store.clones.all()),
            sum(hold.kind is not HoldKind.CLONE for hold in holds),
            in_log=in_log,
            locked=locked,
            gone=gone,
            began=None if store.whole() else next(((copy.sequence, copy.seal) for copy in copies), (0, b"")),
        )
    except RollingBack:
        return _survey_rolling(store, log, codec)
    except (NeedsRebuild, StoreDamaged):
        return StoreSurvey(None, 0, 0, ERASING, loading=_loading(store))


def _survey_rolling(store: Store, log: Log, codec: Codec) -> StoreSurvey:
    """Of one that is being rolled back: it has no position, and an erase takes the same away as ever."""
    try:
        copies, clones = store.left_rolling()
    except StoreDamaged:
        return StoreSurvey(None, 0, 0, ERASING, rolling=True)
    tail = copies[-1]
    position = Position(tail.head, tail.cluster_id, 0, tail.generation)
    locked, gone = _told(store, copies, position, False, log, codec)
    return StoreSurvey(None, len(copies), 0, ERASING, tuple(clones), locked=locked, gone=gone, rolling=True)


def _told(
    store: Store, copies: Sequence[Copy], position: Position, in_log: bool, log: Log, codec: Codec
) -> tuple[tuple[KnownCopy, ...], tuple[KnownCopy, ...]]:
    """Those that are locked and that a base may bring back, and those that none does, locked or not."""
    there = {(copy.sequence, copy.seal) for copy in copies if copy.origin is not CopyOrigin.LOST}
    if not in_log and there:  # by sequence and seal: offsets of another log mean nothing
        there &= find_common(log, codec, store.identity.group_id, position.head, there).heads.keys()
    now_us = judged_at_us(position)
    locked, gone = [], []
    for copy in copies:
        known = KnownCopy(copy.name, copy.sequence, copy.seal, copy.locked_until_us > now_us)
        if copy.origin is CopyOrigin.LOST or (copy.sequence, copy.seal) not in there:
            gone.append(known)
        elif known.locked:
            locked.append(known)
    return tuple(locked), tuple(gone)


def _loading(store: Store) -> Loading | None:
    try:
        return store.loading()
    except StoreDamaged:
        return None


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
