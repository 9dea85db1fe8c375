"""Which moments of a group's past a site can go back to: by the copies that it holds, and the log. Changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tidelog.clock import iso
from tidelog.errors import CorruptEvent, OutOfWindow, UnsupportedEvent, UsageError
from tidelog.producers.follower import Follower, carries_head, follow
from tidelog.producers.log import Log
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.stores.image import Store
from tidelog.stores.store import Copy, Moment
from tidelog.units import parse_time

FOLD_TIMEOUT = 30.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(at: "int | str | datetime | None", sequence: int | None, before_event: int | None) -> Moment:
    """The moment that one of the three names: a time (UTC microseconds, text, or a datetime with its zone), a sequence,
    or the sequence of the event before which it is. Raises `UsageError` unless exactly one is given and can be."""
    given = [value for value in (at, sequence, before_event) if value is not None]
    if len(given) != 1:
        raise UsageError(
            "a moment is named by exactly one of a time, a sequence, and the event before which it is",
            hint="give one of --at TIME, --sequence N and --before-event N",
        )
    if at is not None:
        return Moment(at_us=_microseconds(at))
    number = sequence if sequence is not None else (before_event or 0) - 1
    if number < 1:
        raise UsageError(
            "there is nothing before the first event, whose sequence is 1"
            if before_event is not None
            else f"{number} is no sequence: they begin at 1"
        )
    return Moment(sequence=number)


def _microseconds(at: "int | str | datetime") -> int:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise UsageError(f"{at} has no time zone", hint="such as datetime(..., tzinfo=UTC)")
        at = (at - _EPOCH) // timedelta(microseconds=1)
    found = parse_time(at) if isinstance(at, str) else at
    if found < 1:
        raise UsageError(f"{iso(found)} is before any event")
    return found


@dataclass(frozen=True, slots=True)
class Window:
    """The moments that can be reached: every sequence from the first to the last, which are of these times."""

    first_sequence: int
    first_us: int
    last_sequence: int
    last_us: int

    def __str__(self) -> str:
        first, last = (self.first_sequence, self.first_us), (self.last_sequence, self.last_us)
        return "from {} to {}".format(*(f"sequence {sequence} ({iso(at_us)})" for sequence, at_us in (first, last)))


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin: with a copy, or with None at the log's beginning."""

    base: Copy | None


def find_start(store: Store, log: Log, codec: Codec, moment: Moment) -> Start:
    """Where an image of that moment begins: the newest copy at the site that is of it, or before it and has its record
    in the log still; else the log's beginning.

    Raises `OutOfWindow`, which names what can be reached, for a moment that cannot, or that is not over yet: the log's
    last event is before it. `LogDiverged` if the site's history is not the log's; `LogUnavailable`.
    """
    copies = [copy for copy in store.copies() if moment.covers(copy.sequence, copy.timestamp_us)]
    if copies and moment in (Moment(copies[-1].sequence), Moment(at_us=copies[-1].timestamp_us)):
        return Start(copies[-1])
    bounds = log.bounds()
    there = [one for one in store.copies() if one.cluster_id == log.id and one.offset >= bounds.start]
    head = _head(store, log, codec, there)
    window = _window(log, codec, head, there)
    who = store.identity
    if window is None:
        raise OutOfWindow(
            f"no moment of group {who.group} can be reached at site {who.site}: "
            + (
                f"its log begins at offset {bounds.start}, and the site holds no copy from behind that"
                if bounds.start
                else "its log is empty"
            ),
            group=who.group,
        )
    before = not moment.covers(window.first_sequence, window.first_us)
    after = moment.sequence > window.last_sequence or moment.at_us > window.last_us
    if before or after:
        where = "before all that is there" if before else "behind the last event of the log"
        raise OutOfWindow(
            f"{moment} is {where}: at site {who.site} group {who.group} can be reached {window}",
            hint="choose a moment in between"
            + ("" if before else "; a time is over once an event behind it is in the log, heartbeats included"),
            group=who.group,
        )
    usable = [copy for copy in copies if copy in there]
    return Start(usable[-1] if usable else None)


def _head(store: Store, log: Log, codec: Codec, there: Sequence[Copy]) -> Head:
    """The last event of the log that counts; what cannot be read, and all behind it, does not."""
    position, bounds = store.position(), log.bounds()
    known = position.head
    if not known.sequence or position.cluster_id != log.id or not carries_head(log, known):
        known = there[-1].head if there and bounds.start else origin(store.identity.group_id)
        if not known.sequence and bounds.start:
            return known
    follower = Follower(log, codec, known)
    reader = log.reader(known.next_offset)
    try:
        for _ in follow(reader, bounds.end, follower, FOLD_TIMEOUT):
            pass
    except (CorruptEvent, UnsupportedEvent):
        pass
    finally:
        reader.close()
    return follower.head


def _window(log: Log, codec: Codec, head: Head, there: Sequence[Copy]) -> Window | None:
    bounds = log.bounds()
    if not head.sequence:
        return None
    if not bounds.start:
        record = log.record_at(0)
        first = codec.decode(record.value).first_timestamp_us if record is not None else head.timestamp_us
        return Window(1, first, head.sequence, head.timestamp_us)
    if not there:
        return None
    return Window(there[0].sequence, there[0].timestamp_us, head.sequence, head.timestamp_us)
