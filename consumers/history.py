"""Whether a log goes on from where a store stands."""

from tidelog.errors import REBUILD, ROLLBACK, LogDiverged, NeedsRebuild
from tidelog.producers.follower import Follower
from tidelog.producers.log import Log


def check_history(log: Log, follower: Follower, cluster_id: str) -> None:
    """Raises `LogDiverged` or `NeedsRebuild` unless this log goes on from the follower's head."""
    head, bounds = follower.head, log.bounds()
    if head.sequence and cluster_id != log.id:
        raise LogDiverged(
            f"the store was filled from cluster {cluster_id}, and this log is on {log.id}",
            sequence=head.sequence,
            hint=f"check kafka.bootstrap_servers; if the log has moved: {ROLLBACK}",
        )
    if head.next_offset < bounds.start or (head.sequence and head.offset < bounds.start):
        raise NeedsRebuild(
            f"the log begins at offset {bounds.start}, and the next event needed is at {head.next_offset}",
            sequence=head.sequence,
            offset=head.next_offset,
            hint=f"the log was trimmed past this site; rebuild it from another site's copy or an export: {REBUILD}",
        )
    follower.check_head()
