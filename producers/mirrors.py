"""A log that is a mirror of a log on another cluster: who may write there, and how it is judged.

A log has one source of records: writers, or one mirror (DESIGN section 9). Between two clusters nothing fences, so a
mirror's log is closed to tidelog's own writers, and its readers halt on what only a second source can have brought.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tidelog.clock import wall_us
from tidelog.errors import AlreadyExists, Halted, LogDiverged, LogGap, LogUnavailable, UsageError
from tidelog.producers.control import Control, ControlView
from tidelog.producers.follower import Follower
from tidelog.producers.log import Log, Record
from tidelog.schemas.chain import Head, Verdict
from tidelog.schemas.codec import Codec, group_seal
from tidelog.schemas.control import GroupCreated, group_key
from tidelog.schemas.events import Event, WriterOpened
from tidelog.schemas.mirrors import (
    HistorySealed,
    LogMirrored,
    cluster_of,
    in_incarnation,
    incarnation,
    is_sealing,
    mirror_key,
    sealed_key,
)

# Events that counted and whose seals are kept (some 2 MB).
REMEMBERED = 16_384
# So long (seconds) the record of a head that was seen in the log is taken to be there.
BELIEVED = 0.5


@dataclass(frozen=True, slots=True)
class MirrorSource:
    """The other region's log, as far as it is known: its id, its cluster's bootstrap servers and its control topic,
    where the mirror is told of too. Without the cluster only its group is known."""

    log: str = ""
    servers: Sequence[str] = ()
    control: Control | None = None


def mirror_here(view: ControlView, group: str, log: str) -> LogMirrored | None:
    """What makes the group's log of that id a mirror; None if it is none."""
    found = view.get(mirror_key(group, log))
    return found if isinstance(found, LogMirrored) else None


def mirrors_elsewhere(view: ControlView, group: str, log: str) -> list[LogMirrored]:
    """The other logs that mirror the group's, as far as they have told."""
    records = (record for record in view.values() if isinstance(record, LogMirrored) and record.group == group)
    return sorted((one for one in records if one.target_cluster != log), key=lambda one: one.target_cluster)


def sealed_log(view: ControlView, group: str, log: str) -> HistorySealed | None:
    """Where the history in the group's log of that id was sealed; None if it was not."""
    found = view.get(sealed_key(group, log))
    return found if isinstance(found, HistorySealed) else None


def seals_of(view: ControlView, group: str) -> list[HistorySealed]:
    """Where logs of the group that are known by their ids were sealed, oldest first."""
    told = (one for one in view.values() if isinstance(one, HistorySealed) and one.group == group and one.log)
    return sorted(told, key=lambda one: one.epoch)


def record_here(view: ControlView, group: GroupCreated, id_of: Callable[[GroupCreated], str]) -> GroupCreated:
    """The record of a group of another region, ``group``, as it is to be here: with the next incarnation of the topic
    where the one that is here is sealed. ``id_of`` gives the id of a log of this cluster.

    Raises `AlreadyExists` if there is a group of that name that is another, or that is written to here.
    """
    there = view.get(group_key(group.group))
    if not isinstance(there, GroupCreated):
        return group
    if there.group_id != group.group_id:
        raise AlreadyExists(f"there is another group {group.group} here, with id {there.group_id}", group=group.group)
    log = id_of(there)
    if mirror_here(view, group.group, log) is not None:
        return there
    if sealed_log(view, group.group, log) is None:
        raise AlreadyExists(
            f"group {group.group} is here already, and its log is no mirror",
            group=group.group,
            hint="say this in the other region, with its configuration",
        )
    number = max(incarnation(there.topic) + 1, incarnation(group.topic))
    return there.model_copy(update={"topic": in_incarnation(there.topic, number)})


def begins_with(log: Log, codec: Codec, group: GroupCreated) -> bool:
    """Whether the log's first record is the first event of that group."""
    record = log.record_at(log.bounds().start)
    try:
        event = codec.decode(record.value) if record is not None else None
    except Halted:
        return False
    return event is not None and event.sequence == 1 and event.previous == group_seal(group.group_id)


def mirror_record(group: GroupCreated, source: MirrorSource, target: str, target_servers: Sequence[str]) -> LogMirrored:
    """What makes the group's log ``target`` a mirror. Raises `UsageError` if the source is on the same cluster."""
    if cluster_of(source.log) == cluster_of(target):
        raise UsageError(
            f"cluster {cluster_of(target)} would be a mirror of itself",
            group=group.group,
            hint="the configuration is to be that of the region that receives the mirror",
        )
    return LogMirrored(
        group=group.group,
        group_id=group.group_id,
        topic=group.topic,
        source_cluster=source.log,
        source_servers=",".join(source.servers),
        target_cluster=target,
        target_servers=",".join(target_servers),
        mirrored_us=wall_us(),
    )


def has_regions(view: ControlView, group: str) -> bool:
    """Whether anything is said of the group in several regions: else its log's id need not be asked for."""
    return any(isinstance(one, LogMirrored | HistorySealed) and one.group == group for one in view.values())


def refuse_mirror(
    control: Control, record: GroupCreated, open_log: Callable[[], Log], what: str = "nobody writes there"
) -> None:
    """Raises `UsageError` if the group's log on this cluster is a mirror, or sealed; ``what`` it is that cannot be
    done. The log is opened, and closed, only where that has to be found out. Raises `LogUnavailable`."""
    view = control.snapshot()
    if not has_regions(view, record.group):
        return
    log = open_log()
    try:
        mirror, sealed = mirror_here(view, record.group, log.id), sealed_log(view, record.group, log.id)
    finally:
        log.close()
    if mirror is not None:
        source = mirror.source_cluster or "another cluster"
        where = f" ({mirror.source_servers})" if mirror.source_servers else ""
        raise UsageError(
            f"the log of group {record.group} is a mirror of {source}{where}: {what}",
            group=record.group,
            hint="do it there, with that region's configuration; if that region is lost:"
            f" tidelog site promote SITE --group {record.group} --force",
        )
    if sealed is not None:
        refuse_sealed(sealed)


def refuse_sealed(sealed: HistorySealed) -> None:
    """Raises `UsageError`: the group's log on this cluster is sealed."""
    raise UsageError(
        f"the log of group {sealed.group} here was sealed at sequence {sealed.sequence}: the group goes on in"
        f" {sealed.goes_on} ({sealed.servers})",
        group=sealed.group,
        hint=f"do it there; take this region up again with: tidelog group mirror {sealed.group} --from-config FILE",
    )


def mirror_follower(control: Control, group: str) -> Callable[[Log, Codec, Head], Follower]:
    """Makes who judges the group's log: by what it is when that is asked."""

    def make(log: Log, codec: Codec, head: Head) -> Follower:
        name = log.id

        def mirrored() -> bool:
            return mirror_here(control.snapshot(), group, name) is not None

        return MirrorFollower(log, codec, head, mirrored) if mirrored() else SiteFollower(log, codec, head)

    return make


class SiteFollower(Follower):
    """Judges a log for a site, which does not apply what seals it: its last event then is one that the log that the
    group goes on in may have too."""

    def take(self, record: Record) -> Event | None:
        """See `Follower`. Raises `LogUnavailable` at the end of a log that is sealed."""
        event = super().take(record)
        if is_sealing(event):
            raise LogUnavailable(
                f"the log {self.log.id} is sealed: the group goes on in another one",
                offset=record.offset,
                hint="the site goes on by itself once this region receives the group: tidelog group mirror",
            )
        return event


class MirrorFollower(SiteFollower):
    """Judges a mirrored log as any other, and knows that its records have one source.

    A mirror repeats records and keeps their order. So whatever session opens, in vain or not, has extended an event
    that counts here, and writes on only if its opening counts: else it is of a history that somebody has written in
    another place, or the mirror has left records out. Of what an opening extends that lies further back than
    `REMEMBERED` events this is not asked: as a rule it is sent again.
    """

    def __init__(self, log: Log, codec: Codec, head: Head, mirrored: Callable[[], bool] = lambda: True) -> None:
        super().__init__(log, codec, head)
        self._mirrored = mirrored  # until a promotion has made the log its region's own
        self._counted = {head.sequence: head.seal}  # the newest ones, in order
        self._first = head.sequence
        self._verified, self._verified_at = b"", 0.0  # whose record was seen to be there, and when

    def leader_changed(self, record: Record) -> bool:
        """See `Follower`."""
        if record.leader_epoch > self._leader_epoch:
            self._verified = b""
        return super().leader_changed(record)

    def take(self, record: Record) -> Event | None:
        """See `Follower`. Raises `LogDiverged` for a second source, too."""
        event = super().take(record)
        if event is not None:
            self._counted[event.last_sequence] = event.seal
            if len(self._counted) > REMEMBERED:
                del self._counted[self._first]
                self._first = next(iter(self._counted))
        return event

    def _ours(self) -> bool:
        """Asked again for the same head only after `BELIEVED` seconds: a mirror sends thousands of records twice, and
        a look-up costs more than applying. Nothing is applied upon it, and a new leader is asked at once."""
        now = time.monotonic()
        if self._verified == self.head.seal and now - self._verified_at < BELIEVED:
            return True
        found = super()._ours()
        self._verified, self._verified_at = self.head.seal if found else b"", now
        return found

    def _skip(self, event: Event, verdict: Verdict, record: Record) -> None:
        if self._is_foreign(event) and self._mirrored():
            self.gap = None  # this says more
            raise LogDiverged(
                f"{event.kind} of epoch {event.epoch} is of a session that goes on from another event than counts here:"
                " this log has a second source of records, or its mirror has left some out",
                sequence=self.head.sequence,
                offset=record.offset,
                hint="a log has one source; stop whatever else writes to this topic, and see docs/runbooks/regions.md",
            )
        before = self.gap
        super()._skip(event, verdict, record)
        if self.gap is not None and self.gap is not before:
            hint = "the mirror has left records out, if other regions go on: see docs/runbooks/regions.md"
            self.gap = LogGap(self.gap.message, sequence=self.gap.sequence, offset=self.gap.offset, hint=hint)

    def _is_foreign(self, event: Event) -> bool:
        if isinstance(event, WriterOpened):
            return event.sequence > self._first and self._counted.get(event.sequence - 1) != event.previous
        # A session whose opening did not count has written nothing else.
        return event.epoch == self.head.epoch and event.writer != self.head.writer
