"""Commands that write open a writer session, which fences any other: not unasked, while one is alive."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tidelog.clock import wall_us
from tidelog.consumers.access import open_group, read_group
from tidelog.errors import TidelogError, UsageError
from tidelog.gateways.cli.exit_codes import WriterAlive
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.cli.sidefile_files import refuse_undrained
from tidelog.producers.control import Control
from tidelog.producers.group import Group
from tidelog.producers.group_state import GroupState
from tidelog.producers.log import Log
from tidelog.producers.mirrors import refuse_mirror
from tidelog.producers.process_name import has_ended
from tidelog.recovery.head import tail
from tidelog.recovery.rpo import ALIVE_HEARTBEATS
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Event, WriterOpened
from tidelog.schemas.promotions import is_promotion
from tidelog.schemas.reports import OPEN, WriterStatus, writer_key

# Raises `UsageError` for what a group, as its log has it at that head, does not let the command do.
Check = Callable[[GroupState, Head], object]

_ASK_AGAIN = 0.05


@contextmanager
def writing(
    invocation: Invocation, group: str, *, take_over: bool, check: Check | None = None, instead: str = ""
) -> Iterator[Group]:
    """The group, open for writing for as long as the context lasts. Raises `WriterAlive`, whose hint ends with
    ``instead``, and what ``check`` raises, before anybody is fenced or anything is written.

    What only the session finds out comes too late for that: then it is said that the writer is fenced all the same.
    """
    try:
        refuse_undrained(invocation.deployment.config, group)
        cluster = invocation.deployment.cluster
        record = cluster.find_group(group)
        refuse_mirror(cluster.control, record, lambda: cluster.log(record))
        if check is not None:
            check(*read_group(group, invocation.deployment))
        if not take_over:
            refuse_live_writer(invocation, group, instead)
        opened = open_group(group, deployment=invocation.deployment, schedule=False, sidefile=False)
        try:
            yield opened
        except BaseException as error:
            opened.abandon()  # a flush could wait for long, and nobody is told that it succeeded
            if take_over and isinstance(error, UsageError):
                invocation.say("--take-over has fenced the writer that was there; the command itself was refused:")
            raise
        opened.close()
    except TidelogError as error:
        error.group = error.group or group
        raise


def refuse_live_writer(invocation: Invocation, group: str, instead: str = "") -> None:
    """Raises `WriterAlive` if a session other than an ended one of this machine is at work on the group; ``instead`` is
    what could be done without a session.

    Whether the log's newest event is young is not enough to tell, as a session may just have ended: the log is watched
    until the next heartbeat would have come.
    """
    cluster = invocation.deployment.cluster
    record = cluster.find_group(group)
    codec, log = cluster.codec(record), cluster.log(record)
    settings = invocation.deployment.config.writer
    wait = ALIVE_HEARTBEATS * settings.heartbeat
    try:
        end = log.bounds().end
        events = tail(log, codec)
        newest = max(events, key=lambda event: (event.epoch, event.sequence), default=None)
        if newest is None or _opener_is_gone(newest, events):
            return
        if _age(newest) > wait + settings.max_clock_skew and not _reports(cluster.control, group, newest, wait):
            return
        if _moves(log, end, wait):
            who = _who(cluster.control, group, newest, events)
            raise WriterAlive(
                f"a writer session (epoch {newest.epoch}{who}) is alive: its newest event is {_age(newest):.1f} s old",
                group=group,
                sequence=newest.last_sequence,
                hint="this command would fence it, and its unflushed writes may be lost; stop it first, or say"
                f" --take-over{instead}",
            )
    finally:
        log.close()


def _reports(control: Control, group: str, newest: Event, within: float) -> bool:
    """Whether the session of the newest event has reported lately: one that drains a sidefile writes events with the
    times of an outage."""
    report = control.snapshot().get(writer_key(group))
    if not isinstance(report, WriterStatus) or report.epoch < newest.epoch or report.state != OPEN:
        return False
    return abs(wall_us() - report.reported_us) / 1_000_000 < within


def _who(control: Control, group: str, newest: Event, events: list[Event]) -> str:
    """The process of the newest event's session, by its opening or its report; empty where neither tells."""
    for event in events:
        if isinstance(event, WriterOpened) and event.writer == newest.writer:
            return f", process {event.opened_by}"
    report = control.snapshot().get(writer_key(group))
    if isinstance(report, WriterStatus) and report.epoch == newest.epoch:
        return f", process {report.process}"
    return ""


def _age(event: Event) -> float:
    return abs(wall_us() - event.timestamp_us) / 1_000_000


def _opener_is_gone(newest: Event, events: list[Event]) -> bool:
    """Whether the session of the newest event was a process of this machine that has ended, or a promotion's."""
    openings = (event for event in events if isinstance(event, WriterOpened) and event.writer == newest.writer)
    opening = next(openings, None)
    return is_promotion(opening) or (opening is not None and has_ended(opening.opened_by))


def _moves(log: Log, end: int, seconds: float) -> bool:
    """Whether something comes after ``end`` within ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if log.bounds().end > end:
            return True
        time.sleep(_ASK_AGAIN)
    return False
