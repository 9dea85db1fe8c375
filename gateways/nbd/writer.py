"""The one writer session of a server, opened again when a log that was away is back.

Never behind another session: who has been fenced is told so, and stays out.
"""

import threading
import uuid
from collections.abc import Callable

from tidelog.clock import PROCESS_CLOCK
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import Deployment
from tidelog.errors import Fenced, LogUnavailable, TidelogError
from tidelog.producers.group import Group
from tidelog.producers.opening import Opening
from tidelog.schemas.chain import Head

# A write waits so long for others (seconds), unless the configuration says how long: nobody waits for it before a
# flush, which closes the batch. Batches cost broker, worker and server more than the writes in them.
LINGER = 0.010

# Opens the group; what the second one raises ends the opening before anything is sent: `open_session` has ``plan``.
Open = Callable[[Callable[[Head], Opening]], Group]


def open_writer(deployment: Deployment, group: str, plan: Callable[[Head], Opening] | None = None) -> Group:
    """A session as an application's: it makes the copies of the group's schedule. Without a sidefile: what a flush has
    confirmed is in the log. Raises as `tidelog.open_group`."""
    configured = deployment.config.writer
    linger = configured.linger if "linger" in configured.model_fields_set else LINGER
    return open_group(group, deployment=deployment, sidefile=False, plan=plan, linger=linger)


class Writer:
    """A group that is open for writing. Thread-safe. Without ``reopen`` it ends with its session."""

    def __init__(self, group: Group, reopen: Open | None = None) -> None:
        self._group, self._reopen = group, reopen
        self._ours = {group.session.writer}  # every session that may stand at the log's end
        self._lock = threading.Lock()

    @property
    def group(self) -> Group:
        """As it is open now. What it was asked for an export stays with that session: its writes that were not flushed
        are unknown once it has ended, and no later session's flush says anything of them. Raises what has ended it."""
        group = self._group
        if group.session.error is not None:
            raise group.session.error
        return group

    def has(self, group: Group) -> bool:
        """Whether that is the group as it is open now, or was last."""
        return group is self._group

    @property
    def error(self) -> TidelogError | None:
        """What has ended the session."""
        return self._group.session.error

    @property
    def can_reopen(self) -> bool:
        """Whether it was the log that was away, and nobody else has taken over as far as is known."""
        return self._reopen is not None and isinstance(self.error, LogUnavailable)

    def reopen(self) -> None:
        """Opens the group again. Raises `Fenced` if somebody else has opened it meanwhile, `LogUnavailable` while the
        log is still away, and whatever else an opening does."""
        assert self._reopen is not None
        with self._lock:
            opened = self._reopen(self._plan)
            ended, self._group = self._group, opened
            self._ours = {opened.session.writer}
        ended.abandon()

    def close(self) -> None:
        """Flushes and ends; raises as `Group.close`."""
        self._group.close()

    def abandon(self) -> None:
        """Ends without flushing."""
        self._group.abandon()

    def _plan(self, head: Head) -> Opening:
        if head.writer not in self._ours:
            session = self._group.session
            raise Fenced(
                f"writer session of epoch {session.epoch} was fenced by another one (epoch {head.epoch}) while Kafka"
                " did not answer",
                hint="another process opened this group for writing; unflushed writes may or may not be in the log",
                group=self._group.name,
                sequence=head.sequence,
            )
        opening = Opening(uuid.uuid4().bytes, PROCESS_CLOCK.stamp())
        self._ours.add(opening.writer)  # it may land in the log, and its acknowledgement be lost
        return opening
