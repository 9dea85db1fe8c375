"""Every error that tidelog raises on purpose.

    TidelogError
    ├── ConfigError                 a setting is unknown, of a wrong type, or pinned
    ├── UsageError                  the caller asked for something that cannot be
    │   ├── OutOfBounds             an offset or length that the volume does not have
    │   ├── InvalidName             a name outside the allowed pattern
    │   ├── AlreadyExists           a volume, copy or group of that name is there
    │   ├── NotFound                no such group, volume, copy or site
    │   ├── Locked                  a copy is locked until a time that has not come
    │   ├── SessionClosed           the writer session was closed by its owner
    │   └── SidefileInUse           another process has this group's sidefile
    ├── Unavailable                 something that must answer does not
    │   ├── LogUnavailable          Kafka; of a write: unknown whether it is in the log
    │   ├── RegistryUnavailable     the schema registry, at the opening of a writer session; nothing was sent
    │   ├── StoreUnavailable        Redis
    │   │   └── RollingBack         a site's store is between two histories
    │   ├── SiteBehind              a site has not applied what the caller waits for
    │   └── SidefileFull            Kafka is away, and the sidefile takes no more; nothing was written
    ├── Fenced                      another writer session took over; the write's fate is unknown
    │   └── SidefileLost            it did while writes stood in a sidefile, which is kept and named
    ├── CopiesDiffer                two sites have different bytes under the same identity: an alarm
    ├── OutOfWindow                 a late copy of a time that the log and the copies do not reach back to
    ├── ExportDamaged               an export is torn, was changed, or lacks a file
    ├── SidefileDamaged             a sidefile was changed, is another group's, or cannot be written
    ├── ClockSkew                   the log's time is too far ahead of this machine's clock
    ├── Halted                      a site stops on doubt, at a known position
    │   ├── CorruptEvent            bytes that are no event, a wrong seal, or an impossible content
    │   ├── LogGap                  an event is missing before this one
    │   ├── LogDiverged             the log's history is not the one that was applied
    │   ├── LockInDoubt             the log drops a copy whose lock still runs by this site's clock
    │   ├── NeedsRebuild            the log no longer holds what comes next
    │   ├── StoreDamaged            the store answered a command with an error, or lacks its keys
    │   ├── CopyMissing             a copy onto a volume needs a source copy that this site does not hold
    │   └── UnsupportedEvent        a valid event that this version cannot apply
    └── WrongStore                  the Redis holds another group's or site's data, or may evict

A message says what happened and where; ``hint`` says what to do about it.
"""

import re
from typing import ClassVar

# For hints: `TidelogError.at_site` knows which site and group.
REBUILD = "tidelog site rebuild SITE --group GROUP"
# Where the log's history is another one than the store's.
ROLLBACK = "tidelog site rollback SITE --group GROUP"
# Where what must have come has not.
IS_KAFKA_UP = "is Kafka up, and does each partition have a leader?"


class TidelogError(Exception):
    """What happened, where (``group``, ``sequence``, ``offset``; None where that means nothing) and, in ``hint``,
    what to do. ``exit_code`` is what the command line ends with."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        group: str | None = None,
        sequence: int | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.group = group
        self.sequence = sequence
        self.offset = offset
        if hint:
            self.add_note(f"hint: {hint}")  # so that a traceback shows it, too

    def at_site(self, site: str, group: str) -> None:
        """Fills in the words ``SITE`` and ``GROUP`` in the hint; for whoever knows in which store it happened."""
        self.group = self.group or group
        names = {"SITE": site, "GROUP": group}
        before, self.hint = self.hint, re.sub(r"\b(SITE|GROUP)\b", lambda found: names[found[0]], self.hint)
        notes = getattr(self, "__notes__", [])
        notes[:] = [f"hint: {self.hint}" if note == f"hint: {before}" else note for note in notes]

    @property
    def where(self) -> str:
        """``group bank, sequence 7, offset 9``, less what the message says itself; empty where nothing is left."""
        known = (("group", self.group), ("sequence", self.sequence), ("offset", self.offset))
        parts = (f"{name} {value}" for name, value in known if value is not None)
        return ", ".join(part for part in parts if not re.search(rf"\b{re.escape(part)}(?![.-]?\w)", self.message))

    def __str__(self) -> str:
        return f"{self.message} ({self.where})" if self.where else self.message


class ConfigError(TidelogError):
    """A setting is unknown, of a wrong type, or pinned by tidelog."""

    exit_code = 10


class UsageError(TidelogError):
    """The caller asked for something that cannot be; nothing was changed."""

    exit_code = 2


class OutOfBounds(UsageError, ValueError):
    """An offset or length that the volume does not have."""


class InvalidName(UsageError, ValueError):
    """A name outside ``[a-z0-9][a-z0-9._-]{0,62}``."""


class AlreadyExists(UsageError):
    """A volume, copy or group of that name is there already, and is not the same."""


class NotFound(UsageError, LookupError):
    """No group, volume, copy or site of that name."""


class Locked(UsageError):
    """A copy is locked until a time that has not come; the message names it."""


class SessionClosed(UsageError):
    """The writer session was closed by its owner."""


class SidefileInUse(UsageError):
    """Another process, which still runs, has this group's sidefile: its writes come first."""


class Unavailable(TidelogError):
    """Something that must answer does not."""


class LogUnavailable(Unavailable):
    """Kafka does not answer in time. Of a write it means *unknown*: it may or may not be in the log."""

    exit_code = 11


class RegistryUnavailable(Unavailable):
    """The schema registry does not answer, or refuses. Only a writer session that opens asks it."""

    exit_code = 11


class StoreUnavailable(Unavailable):
    """Redis does not answer, or refuses this user."""

    exit_code = 12


class RollingBack(StoreUnavailable):
    """A site's store is being rolled back, and nothing in it can be read until that has ended."""

    exit_code = 3


class SiteBehind(Unavailable):
    """A site has not applied, within the time given, what the caller waits for."""

    exit_code = 3


class SidefileFull(Unavailable):
    """Kafka is away, and the group's sidefile has no room for this write, of which nothing was taken."""

    exit_code = 11


class Fenced(TidelogError):
    """Another writer session took over. Unflushed writes are *unknown*; no flush that returned is lost."""

    exit_code = 13


class SidefileLost(Fenced):
    """Another writer session was accepted while this group's writes stood in a sidefile: they are not in the log, and
    never will be by themselves. The file is kept; the message names it."""


class SidefileDamaged(TidelogError):
    """A sidefile is not what was written into it, is another group's, or cannot be written to; nothing was changed."""

    exit_code = 3


class CopiesDiffer(TidelogError):
    """Two sites' digests of the same copy are not equal: an alarm, never to be passed over."""

    exit_code = 3


class OutOfWindow(TidelogError):
    """Neither the copies of a site nor the log reach back to the time that a copy was ordered for."""

    exit_code = 3


class ExportDamaged(TidelogError):
    """An export is not what its manifest says: torn, changed, reordered, or short of a file, which is named.

    ``problem`` is what is wrong with that file, without its name.
    """

    exit_code = 3
    problem = ""


class ClockSkew(TidelogError):
    """The newest event's timestamp is further ahead of this machine's clock than ``max_clock_skew``."""

    exit_code = 1


class Halted(TidelogError):
    """A site stops on doubt; position, copies and data stay as they are and readable."""

    exit_code = 4

    @property
    def reason(self) -> str:
        """The word that status and receipts show: the class's name."""
        return type(self).__name__


class CorruptEvent(Halted):
    """Bytes that are no event, a wrong seal, a timestamp that goes back, or a write outside its volume."""


class LogGap(Halted):
    """An event is missing before this one: apply nothing until a new writer session opens."""


class LogDiverged(Halted):
    """The log's history is not the one that was applied."""


class LockInDoubt(Halted):
    """The log drops a copy whose lock still runs by this site's clock: one of the two clocks is wrong."""


class NeedsRebuild(Halted):
    """The log no longer holds the record that comes next."""


class StoreDamaged(Halted):
    """Redis answered a command of an apply with an error, or keys are missing that must be there."""


class CopyMissing(Halted):
    """A copy onto a volume needs a source copy that this site does not hold, or is dropping on its own."""


class UnsupportedEvent(Halted):
    """A valid event that this version of tidelog cannot apply: upgrade the site first."""


class WrongStore(TidelogError):
    """The Redis holds another group's or another site's data, or is set up to evict keys."""

    exit_code = 12
