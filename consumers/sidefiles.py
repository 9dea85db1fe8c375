"""A group's sidefile as the configuration has it, and a writer with one."""

import threading
from collections.abc import Callable
from typing import Protocol

from tidelog.clock import HybridClock
from tidelog.config import Config
from tidelog.producers.group_state import GroupState
from tidelog.producers.log import Appender, Log
from tidelog.producers.opening import Opening
from tidelog.producers.outage import SidefileSettings, Source, recover
from tidelog.producers.resumable_session import ResumableSession, with_timeout
from tidelog.producers.session import WriterSession
from tidelog.producers.sidefile_drain import Drain
from tidelog.producers.sidefile_folder import check_folder
from tidelog.producers.sidefile_session import SidefileSession
from tidelog.producers.writer_settings import WriterSettings
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.control import GroupCreated

Plan = Callable[[Head], Opening]
# On the way back from an outage the log is asked for a sign of life before more is asked of it (seconds).
_SIGN_OF_LIFE = 1.0


class Begin(Protocol):
    """Opens a session of the group; see `open_session`."""

    def __call__(self, plan: Plan | None = None, make: Callable[..., WriterSession] = WriterSession) -> WriterSession:
        """With the plan of a drain, and as whatever ``make`` makes."""


def sidefile_settings(config: Config, group: str) -> SidefileSettings | None:
    """What is configured for a group; None if it has no sidefile."""
    table = config.groups.get(group)
    if table is None or table.sidefile is None:
        return None
    return SidefileSettings(
        table.sidefile,
        table.sidefile_size,
        table.sidefile_after,
        table.sidefile_full,
        config.writer.write_timeout,
        config.writer.batch_bytes,
    )


def open_with_sidefile(
    begin: Begin,
    settings: SidefileSettings,
    record: GroupCreated,
    log: Log,
    codec: Codec,
    clock: HybridClock,
) -> SidefileSession:
    """A writer with a sidefile, behind all that an earlier one has left in it. Raises `ConfigError` if the folder is
    not there or cannot be written to, and what `recover` does."""
    check_folder(settings.folder, record.group)
    returning = False
    after = settings.after  # until a session is given up; opening one may take as long as ever

    def begin_resumable(drain: Drain | None, order: threading.RLock) -> ResumableSession:
        nonlocal returning
        made: list[ResumableSession] = []

        def make(
            log: Log,
            appender: Appender,
            codec: Codec,
            opened: Head,
            state: GroupState,
            clock: HybridClock,
            settings: WriterSettings,
            on_turn: Callable[[WriterSession], float],
        ) -> WriterSession:
            within = with_timeout(settings, after)
            draining = drain is not None
            made.append(
                ResumableSession(log, appender, codec, opened, state, clock, within, on_turn, order, draining=draining)
            )
            return made[0]

        if returning:
            log.bounds(_SIGN_OF_LIFE)
        begin(None if drain is None else drain.plan, make)
        returning = True
        return made[0]

    source = Source(record.group, record.group_id, log, codec, clock, begin_resumable)
    return SidefileSession(source, settings, recover(source, settings, threading.RLock()))
