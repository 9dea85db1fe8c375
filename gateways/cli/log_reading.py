"""A log for people: every record with its verdict, going on behind what would halt a site."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tidelog.errors import Halted, LogDiverged, NotFound
from tidelog.producers.cluster import Cluster
from tidelog.producers.follower import carries_head
from tidelog.producers.log import Log, Reader, Record
from tidelog.producers.mirrors import seals_of
from tidelog.schemas.chain import Head, Verdict, judge, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.events import Event
from tidelog.schemas.mirrors import cluster_of, in_incarnation, incarnation
from tidelog.schemas.volumes import VolumeTable

_TIMEOUT = 30.0
_POLL = 0.5


class Shown(StrEnum):
    """A verdict, as it is shown."""

    COUNTS = "counts"
    VOID = "void"
    REDELIVERED = "redelivered"
    HELD = "held"
    DIVERGED = "diverged"
    UNDECODABLE = "undecodable"


_SHOWN = {
    Verdict.APPLY: Shown.COUNTS,
    Verdict.ACCEPT: Shown.COUNTS,
    Verdict.REDELIVERED: Shown.REDELIVERED,
    Verdict.VOID: Shown.VOID,
    Verdict.GAP: Shown.HELD,
}


@dataclass(frozen=True, slots=True)
class Judged:
    """One record. ``event`` is None if it is undecodable; ``reason`` says why it does not count; ``head`` is the last
    event that counts up to here; ``names`` are the volumes' by id. ``trusted`` is False while the head was assumed,
    because the log no longer begins at its beginning."""

    offset: int
    size: int
    event: Event | None
    verdict: Shown
    reason: str
    head: Head
    names: dict[int, str]
    trusted: bool


def lost_stretch(cluster: Cluster, record: GroupCreated) -> tuple[GroupCreated, int]:
    """The group with the topic that was sealed last on this cluster, and the first sequence of it that is lost. Raises
    `NotFound` if none was."""
    here = cluster_of(cluster.log_id(record))
    own = [one for one in seals_of(cluster.control.snapshot(), record.group) if cluster_of(one.log) == here]
    if not own:
        raise NotFound(f"no log of group {record.group} was sealed on this cluster: nothing of it is lost")
    topic = in_incarnation(record.topic, incarnation(own[-1].log))
    return record.model_copy(update={"topic": topic}), own[-1].sequence + 1


def judged_records(cluster: Cluster, record: GroupCreated, *, follow: bool) -> Iterator[Judged | None]:
    """Every record that the log holds now, in order; with ``follow`` also those that come. None where the next one is
    still to come: what was put off so far should be shown.

    The log is folded from its start, since a verdict rests on everything before it.
    """
    codec = cluster.codec(record)
    log = cluster.log(record)
    try:
        bounds = log.bounds()
        reader = log.reader(bounds.start)
        try:
            judging = _Judging(log, codec, record, assumed=bounds.start > 0)
            for found in reader.records(bounds.end, _TIMEOUT):
                yield judging.take(found)
            while follow:
                yield None
                yield from map(judging.take, _polled(reader))
        finally:
            reader.close()
    finally:
        log.close()


def _polled(reader: Reader) -> list[Record]:
    return reader.poll(_POLL)


class _Judging:
    """The fold: as `tidelog.producers.follower.Follower`, but nothing stops it."""

    def __init__(self, log: Log, codec: Codec, record: GroupCreated, *, assumed: bool) -> None:
        self._log, self._codec = log, codec
        self._head = origin(record.group_id)
        self._assumed = assumed
        self._gap = False
        self._volumes = VolumeTable()

    def take(self, record: Record) -> Judged:
        """The verdict on the next record."""
        event: Event | None = None
        try:
            event = self._codec.decode(record.value)
            verdict, reason = self._judge(event, record.offset)
        except LogDiverged as error:
            verdict, reason = Shown.DIVERGED, error.message
        except Halted as error:
            verdict, reason = Shown.UNDECODABLE, error.message
        names = {volume.id: volume.name for volume in self._volumes}
        return Judged(
            record.offset, len(record.value), event, verdict, reason, self._head, names, trusted=not self._assumed
        )

    def _judge(self, event: Event, offset: int) -> tuple[Shown, str]:
        if self._assumed and self._head.sequence == 0:
            self._head = self._head.after(event, offset)
            return Shown.COUNTS, "taken for the head: the log does not begin at its beginning"
        verdict = judge(self._head, event, lambda: carries_head(self._log, self._head))
        if verdict is Verdict.GAP:
            self._gap = True
            return Shown.HELD, f"sequence {self._head.sequence + 1} is missing"
        if verdict is Verdict.APPLY and self._gap:
            return Shown.HELD, "behind a gap"
        if verdict in (Verdict.APPLY, Verdict.ACCEPT):
            self._volumes.fold(event)
            self._gap = False
            self._head = self._head.after(event, offset)
            return Shown.COUNTS, ""
        return _SHOWN[verdict], _why(verdict)


def _why(verdict: Verdict) -> str:
    return "an earlier session, or an opening that lost the race" if verdict is Verdict.VOID else "seen before"
