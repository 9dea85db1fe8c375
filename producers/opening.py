"""Opening a writer session: fold the log to its head, extend that head, and see that it counts."""

import math
import threading
import uuid
from collections.abc import Callable
from typing import NamedTuple

from tidelog.clock import PROCESS_CLOCK, HybridClock
from tidelog.errors import IS_KAFKA_UP, ClockSkew, Fenced, LogDiverged, LogUnavailable
from tidelog.producers.follower import Follower, carries_head, follow
from tidelog.producers.group_state import GroupState, Vouched
from tidelog.producers.log import UNKNOWN_OFFSET, Appender, Log, Reader
from tidelog.producers.process_name import process_name
from tidelog.producers.session import WriterSession
from tidelog.producers.writer_settings import WriterSettings
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import WriterOpened

# A writer yields to a void opening of a higher epoch, so that the second try succeeds against a busy one; more tries
# are needed only while several processes open at once.
MAX_ATTEMPTS = 20


class Opening(NamedTuple):
    """What an opening will say: the session's id, new at each head, and its time, above the head's."""

    writer: bytes
    timestamp_us: int


def open_session(
    log: Log,
    codec: Codec,
    group_id: str,
    settings: WriterSettings,
    *,
    vouched: Vouched | None = None,
    clock: HybridClock = PROCESS_CLOCK,
    on_turn: Callable[[WriterSession], float] = lambda _: math.inf,
    plan: Callable[[Head], Opening] | None = None,
    make: Callable[..., WriterSession] = WriterSession,
) -> WriterSession:
    """A new writer session at the head of the log; every session before it is fenced. ``on_turn`` is called by the
    session's own thread, and gives the seconds until it wants to be called again; it must not wait. ``plan`` is asked
    before each try, with the head that the opening will extend; what it raises ends the opening, with nothing sent.
    ``make`` makes the session, with the arguments of `WriterSession`.

    Folds from ``vouched`` if its record is still in the log, else from sequence 1. Raises `LogDiverged` (a log that
    does not begin at its beginning), `CorruptEvent`, `ClockSkew`, `LogUnavailable`, or `Fenced` when others kept
    opening at the same time.
    """
    follower, state = _start(log, codec, group_id, vouched)
    reader = log.reader(max(follower.head.next_offset, log.bounds().start))
    try:
        for _ in range(MAX_ATTEMPTS):
            _fold(reader, log.bounds().end, follower, state, settings.write_timeout)
            _check_skew(follower.head, clock, settings.max_clock_skew)
            appender = log.appender()
            try:
                opening = _opening(clock) if plan is None else plan(follower.head)
                if _try_open(opening, appender, reader, log, codec, follower, state, settings, process_name()):
                    return make(log, appender, codec, follower.head, state, clock, settings, on_turn)
            except BaseException:
                appender.abandon()
                raise
            appender.abandon()
    finally:
        reader.close()
    raise _lost_to_others(follower.head)


def open_epoch(
    log: Log,
    codec: Codec,
    head: Head,
    settings: WriterSettings,
    *,
    behind: bytes | None,
    opened_by: str,
    clock: HybridClock = PROCESS_CLOCK,
) -> Head | None:
    """Opens a new epoch in which nobody writes, and gives its head: every session before it is fenced, and the next one
    extends it. Folds from ``head``.

    None, and nothing was changed, if the session at the log's end is no longer ``behind`` (None: whoever it is), since
    another was opened meanwhile. Raises as `open_session` does.
    """
    follower = Follower(log, codec, head)
    reader = log.reader(head.next_offset)
    try:
        for _ in range(MAX_ATTEMPTS):
            _fold(reader, log.bounds().end, follower, None, settings.write_timeout)
            if behind is not None and follower.head.writer != behind:
                return None
            _check_skew(follower.head, clock, settings.max_clock_skew)
            appender = log.appender()
            try:
                if _try_open(_opening(clock), appender, reader, log, codec, follower, None, settings, opened_by):
                    return follower.head
            finally:
                appender.abandon()
    finally:
        reader.close()
    raise _lost_to_others(follower.head)


def read_state(
    log: Log, codec: Codec, group_id: str, timeout: float, *, vouched: Vouched | None = None
) -> tuple[GroupState, Head]:
    """What the log says of the group at its end, and the head there: nobody is fenced. ``timeout`` is in seconds.
    Raises what `open_session` does of a log that cannot be folded."""
    follower, state = _start(log, codec, group_id, vouched)
    reader = log.reader(max(follower.head.next_offset, log.bounds().start))
    try:
        _fold(reader, log.bounds().end, follower, state, timeout)
    finally:
        reader.close()
    return state, follower.head


def _start(log: Log, codec: Codec, group_id: str, vouched: Vouched | None) -> tuple[Follower, GroupState]:
    if vouched is not None and vouched.head.sequence > 0 and carries_head(log, vouched.head):
        return Follower(log, codec, vouched.head), GroupState(vouched.volumes, vouched.copies)
    _require_beginning(log)
    return Follower(log, codec, origin(group_id)), GroupState()


def _require_beginning(log: Log) -> None:
    bounds = log.bounds()
    if bounds.start > 0:
        raise LogDiverged(
            f"the log begins at offset {bounds.start}, and no site vouches for a later position",
            offset=bounds.start,
            hint="open the group where the primary site's Redis can be reached, so that its position can be used",
        )


def _lost_to_others(head: Head) -> Fenced:
    return Fenced(
        f"{MAX_ATTEMPTS} openings in a row lost the race to other writers",
        sequence=head.sequence,
        hint="several processes open this group for writing at the same time; let one do it",
    )


def _fold(reader: Reader, until: int, follower: Follower, state: GroupState | None, timeout: float) -> None:
    for event, _ in follow(reader, until, follower, timeout):
        if state is not None:
            state.fold(event)


def _check_skew(head: Head, clock: HybridClock, max_skew: float) -> None:
    ahead = (head.timestamp_us - clock.wall()) / 1_000_000
    if ahead > max_skew:
        raise ClockSkew(
            f"the newest event is {ahead:.1f} s ahead of this machine's clock, more than the {max_skew:g} s allowed",
            sequence=head.sequence,
            hint="set this machine's clock, or wait, or raise writer.max_clock_skew",
        )
    clock.witness(head.timestamp_us)


def _try_open(
    planned: Opening,
    appender: Appender,
    reader: Reader,
    log: Log,
    codec: Codec,
    follower: Follower,
    state: GroupState | None,
    settings: WriterSettings,
    opened_by: str,
) -> bool:
    """Sends a ``WriterOpened`` that extends the head; True once it counts. The follower ends behind it either way."""
    head = follower.head
    opening = WriterOpened(
        epoch=head.epoch + 1,
        writer=planned.writer,
        sequence=head.sequence + 1,
        timestamp_us=planned.timestamp_us,
        previous=head.seal,
        opened_by=opened_by,
    )
    message, _ = codec.encode(opening)
    # Where the fold stopped, never an end offset fetched apart from it: a record in between would be overlooked (L1).
    expected = reader.next_offset
    offset = _send_and_wait(appender, message, settings.write_timeout)
    if UNKNOWN_OFFSET < offset < expected:
        raise LogDiverged(f"an opening was acknowledged at offset {offset}, below {expected}", offset=offset)
    until = offset + 1 if offset > UNKNOWN_OFFSET else log.bounds().end
    # At the expected offset nothing can stand in between, and this reads the one record that was just acknowledged.
    _fold(reader, until, follower, state, settings.write_timeout)
    return follower.head.writer == opening.writer


def _opening(clock: HybridClock) -> Opening:
    return Opening(uuid.uuid4().bytes, clock.stamp())


def _send_and_wait(appender: Appender, message: bytes, timeout: float) -> int:
    answered = threading.Event()
    result: list[tuple[int, Exception | None]] = []

    def acknowledged(offset: int, error: Exception | None) -> None:
        result.append((offset, error))
        answered.set()

    appender.send(message, acknowledged)
    if not answered.wait(timeout):
        raise LogUnavailable(f"the log did not confirm an opening within {timeout:g} s", hint=IS_KAFKA_UP)
    offset, error = result[0]
    if error is not None:
        raise error
    return offset
