"""The plan of a roll back: where the site's history and the log's part, what goes back and what is lost, as data."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tidelog.clock import wall_us
from tidelog.consumers.catalogue import standing_of
from tidelog.consumers.deployment import Deployment, find_site, open_store
from tidelog.consumers.replica import State
from tidelog.errors import LogUnavailable, NeedsRebuild, RollingBack, UsageError
from tidelog.producers.control import ControlView
from tidelog.producers.mirrors import sealed_log
from tidelog.recovery.common_history import CommonHistory, Identity, find_common
from tidelog.schemas.chain import Head
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.named import blocks_since
from tidelog.stores.rollback import Rollback
from tidelog.stores.store import Copy, CopyOrigin, Position


class Way(StrEnum):
    """What is to be done."""

    NOTHING = "nothing"  # the log goes on from where the site stands
    RELOCATE = "relocate"  # likewise, but its head's record is at another place there
    ROLL_BACK = "roll back"
    RESUME = "resume"  # one that has begun
    REBUILD = "rebuild"  # no copy of the site is in the log


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a roll back will do. ``position`` is where the site stands, ``common`` the newest event that it and the log
    are known to share, ``copy`` what it goes back to, and ``head`` that copy's event in the log as it is now.

    ``lost_copies`` become lost history. ``torn``: an event is applied in part, so ``lost-tail`` is a little more than
    the image at ``position``. ``blocks`` and ``size`` (bytes) are moved within the store, at the most. ``offsets`` are
    those of other copies' events in the log. ``worker`` is who runs the site now, empty if nobody does.
    """

    site: str
    group: str
    way: Way
    position: Head
    common: Head | None
    copy: Copy | None
    head: Head | None
    end: Head | None
    cluster_id: str
    lost_copies: tuple[Copy, ...]
    torn: bool
    blocks: int
    size: int
    offsets: dict[Identity, int]
    worker: str

    @property
    def lost_sequences(self) -> tuple[int, int]:
        """The first and last sequence of the lost tail, at the most; nothing is lost if the first is the greater."""
        return (self.common.sequence if self.common else 0) + 1, self.position.sequence

    @property
    def replayed(self) -> int:
        """How many sequences the site then applies to be where the log is now."""
        return max(0, (self.end.sequence if self.end else 0) - (self.head.sequence if self.head else 0))


def plan_rollback(deployment: Deployment, site: str, group: str) -> RollbackPlan:
    """Looks at the site's store and folds the log; changes nothing.

    Raises `NotFound`, `UsageError` for a store in which nothing was applied, `NeedsRebuild` for one without a position,
    `StoreUnavailable`, `LogUnavailable`, and what folding the log raises.
    """
    find_site(deployment.config, site)
    cluster = deployment.cluster
    record = cluster.find_group(group)
    worker = _worker(deployment, site, group)
    store = open_store(deployment, site, group)
    try:
        tail, records = _under_way(deployment, site, group, store)
        position, copies = _stands(store, tail, records, group)
        log = cluster.log(record)
        try:
            wanted = {(copy.sequence, copy.seal) for copy in copies}
            common = find_common(log, cluster.codec(record), record.group_id, position.head, wanted)
            cluster_id = log.id
        finally:
            log.close()
        _await_mirror(cluster.control.snapshot(), group, position, common, cluster_id)
        if tail is not None:
            return _plan(site, group, Way.RESUME, position, common, copies, cluster_id, worker, (0, 0))
        usable = usable_copies(copies, common)
        way = _way(position, common, cluster_id) or (Way.ROLL_BACK if usable else Way.REBUILD)
        if way is Way.NOTHING and store.rebuilding() is not None:  # all but the last word of it is said
            way = Way.RESUME
        moved = (0, 0)
        if way is Way.ROLL_BACK:
            keyspace = deployment.keyspace(site, group)
            try:
                moved = blocks_since(keyspace, Keys(group), usable[-1])
            finally:
                keyspace.close()
        return _plan(site, group, way, position, common, copies, cluster_id, worker, moved, usable)
    finally:
        store.close()


def _await_mirror(view: ControlView, group: str, position: Position, common: CommonHistory, log: str) -> None:
    """Raises `LogUnavailable` while a log that takes a sealed one's place has not come to where the two part: the site
    would go back further than it must."""
    sealed = sealed_log(view, group, position.cluster_id) if position.cluster_id != log else None
    end = common.end.sequence if common.end is not None else 0
    if sealed is not None and end <= sealed.sequence:
        raise LogUnavailable(
            f"the log {log} has come to sequence {end}, and the site's own was sealed at {sealed.sequence}: what both"
            " have is still being mirrored",
            hint="is MirrorMaker running? try again when it has caught up",
        )


def usable_copies(copies: Sequence[Copy], common: CommonHistory) -> list[Copy]:
    """The copies, in order, that a roll back may go to: each is in the log, and what the log does behind it can be done
    from there. A volume that is copied from a copy needs that copy, which the lost history may have dropped: it must be
    at the site, or come back behind the place that is gone back to. Pure."""
    there = {(copy.sequence, copy.seal): copy.generation for copy in copies if copy.origin is CopyOrigin.MARKER}

    def enough(copy: Copy) -> bool:
        return all(
            sequence <= copy.sequence
            or source[0] > copy.sequence
            or there.get(source, copy.generation + 1) <= copy.generation
            for sequence, source in common.sources
        )

    return [copy for copy in copies if (copy.sequence, copy.seal) in common.heads and enough(copy)]


def _plan(
    site: str,
    group: str,
    way: Way,
    position: Position,
    common: CommonHistory,
    copies: list[Copy],
    cluster_id: str,
    worker: str,
    moved: tuple[int, int],
    usable: Sequence[Copy] = (),
) -> RollbackPlan:
    copy = usable[-1] if usable and way is Way.ROLL_BACK else None
    lost = tuple(one for one in copies if one.generation > copy.generation) if copy is not None else ()
    identity = (copy.sequence, copy.seal) if copy is not None else (position.head.sequence, position.head.seal)
    return RollbackPlan(
        site=site,
        group=group,
        way=way,
        position=position.head,
        common=common.common,
        copy=copy,
        head=common.heads.get(identity),
        end=common.end,
        cluster_id=cluster_id,
        lost_copies=lost,
        torn=position.step > 0,
        blocks=moved[0],
        size=moved[1],
        offsets={identity: head.offset for identity, head in common.heads.items()},
        worker=worker,
    )


def _way(position: Position, common: CommonHistory, cluster_id: str) -> Way | None:
    """What is to be done for a site whose head is in the log; None if that is not."""
    there = common.heads.get((position.head.sequence, position.head.seal))
    if there is None or position.step:
        return None
    same = (there.offset, cluster_id) == (position.head.offset, position.cluster_id)
    return Way.NOTHING if same else Way.RELOCATE


def _under_way(deployment: Deployment, site: str, group: str, store: Store) -> tuple[Copy | None, list[Copy]]:
    """The copy ``lost-tail`` of a roll back that is under way, if one is, and all the records of the store."""
    keyspace = deployment.keyspace(site, group)
    try:
        with Rollback(keyspace, store.identity) as rollback:
            return rollback.under_way(), rollback.records()
    finally:
        keyspace.close()


def _stands(store: Store, tail: Copy | None, records: list[Copy], group: str) -> tuple[Position, list[Copy]]:
    """The position, before a roll back that is under way began, and the copies of the site's history, in order."""
    if tail is not None:
        # The store is not to be read, but its records are: the offsets of those that stay are looked for in the log.
        kept = [copy for copy in records if copy.generation <= tail.base and copy.origin is not CopyOrigin.LOST]
        return Position(tail.head, tail.cluster_id, 0, tail.generation), kept
    try:
        position = store.position()
    except RollingBack as error:  # it began in this moment
        raise NeedsRebuild(error.message, hint=error.hint, group=group) from error
    if not position.head.sequence:
        raise UsageError(f"site {store.identity.site} has applied nothing of group {group}, so nothing is to go back")
    if (store.rebuilding() or 0) > position.head.sequence:
        raise UsageError(
            f"site {store.identity.site} is being rebuilt", hint="let it end, or begin it again: tidelog site rebuild"
        )
    return position, store.copies()


def _worker(deployment: Deployment, site: str, group: str) -> str:
    view = deployment.cluster.control.snapshot()
    interval = deployment.config.worker.status_interval
    standing = standing_of(view, group, site, configured=True, now_us=wall_us(), status_interval=interval)
    status = standing.status
    alive = status is not None and not standing.silent and status.state != State.STOPPED
    return status.worker if status is not None and alive else ""
