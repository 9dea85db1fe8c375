"""What a promotion ends where the log was a mirror: that it is one, and the history of its source behind the last event
that came (DESIGN section 9, "A Kafka in each region").

The event that opens the promotion's epoch says in the log itself that the mirror ends there (`ends_mirror`). So a
promotion that was cut short behind it is found again, and what is told here is told once more, the same.
"""

from collections.abc import Iterable

from tidelog.clock import wall_us
from tidelog.errors import Fenced, LogDiverged, UsageError
from tidelog.producers.cluster import Cluster
from tidelog.producers.control import ControlView
from tidelog.producers.log import Log
from tidelog.producers.mirrors import mirror_here, seals_of
from tidelog.producers.process_name import process_name
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import SEAL_SIZE, Codec
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.mirrors import HistorySealed, LogMirrored, cluster_of

READ_TIMEOUT = 30.0
# What an opening extends stands within so many records before it, as a rule.
NEAR = 1024


def refuse_running_mirror(cluster: Cluster, record: GroupCreated) -> None:
    """Raises `UsageError` while something that may be the log's MirrorMaker runs: what it still brought would stand
    between the new writers' events. Raises `LogUnavailable`."""
    running = cluster.mirror_makers()
    if running:
        raise UsageError(
            f"Kafka Connect runs into this cluster ({', '.join(running)}): it may be the MirrorMaker of {record.topic}",
            group=record.group,
            hint="stop MirrorMaker first, or take that topic out of it; if it does not mirror this one, say"
            " --mirror-stopped",
        )


def refuse_below_own(seals: Iterable[HistorySealed], log: str, head: Head) -> None:
    """Raises `UsageError` if this region's log of before has more of what both regions had than its mirror has brought
    yet."""
    own = [one for one in seals if cluster_of(one.log) == cluster_of(log) and one.sequence > head.sequence]
    if own:
        raise UsageError(
            f"the mirror has come to sequence {head.sequence}, and this region itself had all up to"
            f" {own[-1].sequence}, where its own log was sealed",
            group=own[-1].group,
            hint="let the mirror catch up; if its source is lost for good, --give-up goes on without what is between",
        )


def refuse_ended_mirror(view: ControlView, group: str, log: str) -> None:
    """Raises `Fenced` once another promotion has made the log this region's own: there are writers behind it then, and
    what they wrote is not what both regions have."""
    if mirror_here(view, group, log) is None:
        raise Fenced(
            f"another promotion of group {group} has ended the mirror meanwhile",
            group=group,
            hint="see which site is the primary: tidelog status",
        )


def seal_source(
    cluster: Cluster, log: Log, codec: Codec, record: GroupCreated, mirror: LogMirrored, opened: Head
) -> HistorySealed:
    """Tells that the source's history ends where the event at ``opened``, which ends the mirror, goes on from. Raises
    `LogUnavailable`, and `LogDiverged` if the log has lost it."""
    found = log.record_at(opened.offset)
    if found is None:
        raise LogDiverged(f"the record at offset {opened.offset} is gone", offset=opened.offset)
    event = codec.decode(found.value)
    near = max(log.bounds().start, opened.offset - NEAR)
    last = head_of(log, codec, record.group_id, event.sequence - 1, event.previous, near)
    sealed = HistorySealed(
        group=record.group,
        group_id=record.group_id,
        log=mirror.source_cluster,
        sequence=last.sequence,
        seal=last.seal,
        timestamp_us=last.timestamp_us,
        goes_on=mirror.target_cluster,
        servers=mirror.target_servers,
        epoch=event.epoch,
        sealed_us=wall_us(),
        sealed_by=process_name(),
    )
    cluster.control.publish(sealed)
    for before in seals_of(cluster.control.snapshot(), record.group):
        if before.sequence > sealed.sequence:  # the history in which that was the common event was given up
            common = {"sequence": sealed.sequence, "seal": sealed.seal, "timestamp_us": sealed.timestamp_us}
            cluster.control.publish(before.model_copy(update=common))
    return sealed


def head_of(log: Log, codec: Codec, group_id: str, sequence: int, seal: bytes, near: int | None = None) -> Head:
    """The head that an event which is known to count makes, by its sequence and seal, wherever in the log it is: a
    mirror may have sent it more than once, and this is the first. Reads the log's records from its beginning; if the
    event is behind offset ``near``, only from there, and it is the first there.

    Raises `LogDiverged` if it is not there, `LogUnavailable`.
    """
    if not sequence:
        return origin(group_id)
    begin = log.bounds().start
    reader = log.reader(begin if near is None else near)
    try:
        for record in reader.records(log.bounds().end, READ_TIMEOUT):
            if record.value[-SEAL_SIZE:] == seal:
                event = codec.decode(record.value)
                if event.last_sequence == sequence:
                    return Head(sequence, seal, event.epoch, event.writer, event.timestamp_us, record.offset)
    finally:
        reader.close()
    if near is not None and near > begin:
        return head_of(log, codec, group_id, sequence, seal)
    raise LogDiverged(f"the log {log.id} has no event with sequence {sequence} and the seal that it is known by")
