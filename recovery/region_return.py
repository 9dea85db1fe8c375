"""A region whose group went on in another one while it was away: its own log is sealed before it receives the other's.

The seal is an event of the log: it opens an epoch in which nobody writes, so a writer that lives on there fails with
`Fenced` at its next flush. Who opens the group there anew is refused by the `HistorySealed` on the region's own control
topic. What stands in the log behind the event that both have is lost to the group, and kept in the topic.
"""

from tidelog.clock import PROCESS_CLOCK, HybridClock
from tidelog.errors import LogDiverged, NotFound
from tidelog.producers.cluster import Cluster
from tidelog.producers.control import ControlView
from tidelog.producers.log import Log
from tidelog.producers.mirrors import mirror_here, sealed_log
from tidelog.producers.opening import open_epoch
from tidelog.producers.process_name import process_name
from tidelog.recovery.head import find_head, newest_event
from tidelog.recovery.lost_tail import LostTail, sum_up
from tidelog.recovery.region_seal import head_of
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.mirrors import HistorySealed, incarnation, is_sealing, sealed_for


def find_seal(cluster: Cluster, group: str, theirs: ControlView) -> HistorySealed | None:
    """Where the group's log on this cluster is to be sealed, or is: what the other region, whose control topic is
    ``theirs``, says of it. None if that says nothing, or there is no such group here, or its log is a mirror already.
    Raises `LogUnavailable`."""
    try:
        record = cluster.find_group(group)
    except NotFound:
        return None
    ours, log = cluster.control.snapshot(), cluster.log(record)
    try:
        told = sealed_log(ours, group, log.id) or sealed_log(theirs, group, log.id)
        told = told or _unnamed(ours, theirs, group, log.id)
        if told is None or told.group_id != record.group_id or mirror_here(ours, group, log.id) is not None:
            return None
        return told.model_copy(update={"log": log.id})
    finally:
        log.close()


def _unnamed(ours: ControlView, theirs: ControlView, group: str, log: str) -> HistorySealed | None:
    """What the other region says of the log that it had received by the group's id alone: a first incarnation, and not
    the one that the group has come back to since."""
    told = sealed_log(theirs, group, "")
    if told is None or incarnation(log) != 1 or sealed_log(ours, group, told.goes_on) is not None:
        return None
    return told


def seal_own(cluster: Cluster, sealed: HistorySealed, clock: HybridClock = PROCESS_CLOCK) -> LostTail:
    """Seals the log, and tells what of it is lost. A crash leaves what the same call goes on from.

    Raises `LogDiverged` if this log has another event where it is said to be sealed, `ClockSkew`, `Fenced`
    (others opened it at the same time, again and again), `LogUnavailable`, and what folding the log's end raises.
    """
    record = cluster.find_group(sealed.group)
    codec, log = cluster.codec(record), cluster.log(record)
    try:
        since = _since(cluster, log, codec, record, sealed)
        lost = sum_up(log, codec, since)
        cluster.control.publish(sealed)  # nobody opens the group here from now on
        _seal(cluster, log, codec, lost, sealed, clock)
        return sum_up(log, codec, since)
    finally:
        log.close()


def _since(cluster: Cluster, log: Log, codec: Codec, record: GroupCreated, sealed: HistorySealed) -> Head:
    """The last event that both have; the log's last where it has come back with less than it had sent."""
    try:
        return head_of(log, codec, record.group_id, sealed.sequence, sealed.seal)
    except LogDiverged:
        end = find_head(log, codec, record, cluster.control.snapshot())
        if end.sequence >= sealed.sequence:
            raise
        return end


def _seal(cluster: Cluster, log: Log, codec: Codec, lost: LostTail, sealed: HistorySealed, clock: HybridClock) -> None:
    """Whoever has opened the log before is fenced."""
    if is_sealing(newest_event(log, codec, lost.until.epoch + 1)):  # what a fenced writer sends may stand behind it
        return
    opened_by = sealed_for(sealed.goes_on, process_name())
    open_epoch(log, codec, lost.until, cluster.config.writer, behind=None, opened_by=opened_by, clock=clock)
