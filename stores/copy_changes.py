"""What an event makes of a copy's record: dropped, locked, kept. Pure, and the same at every site."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from tidelog.clock import iso, wall_us
from tidelog.errors import LockInDoubt
from tidelog.schemas.events import CopyDropped, CopyKept, CopyLocked
from tidelog.schemas.locks import CLOCK_SKEW_US
from tidelog.stores.store import Copy, CopyOrigin, CopyState

CopyChange = CopyDropped | CopyLocked | CopyKept


def changed(copy: Copy, event: CopyChange) -> Copy:
    """The record after the event; the same object if the event is about another copy, or changes nothing.

    A copy that is locked at the event's own time is not dropped, and a lock is never shortened.
    """
    if not _names(event, copy):
        return copy
    if isinstance(event, CopyKept):
        return replace(copy, kept=event.kept)
    if isinstance(event, CopyLocked):
        return replace(copy, locked_until_us=max(copy.locked_until_us, event.until_us))
    return copy if copy.locked_until_us > event.timestamp_us else replace(copy, state=CopyState.DROPPING)


def relocated(copies: Iterable[Copy], offsets: Mapping[tuple[int, bytes], int], cluster_id: str) -> Iterator[Copy]:
    """The records of the copies whose events, by sequence and seal, are at these offsets in the log of ``cluster_id``;
    the log has nothing of a lost history."""
    for copy in copies:
        offset = offsets.get((copy.sequence, copy.seal))
        if offset is not None and copy.origin is not CopyOrigin.LOST:
            yield replace(copy, offset=offset, cluster_id=cluster_id)


def refuse_doubtful_drop(event: CopyDropped, copies: Iterable[Copy], offset: int) -> None:
    """Raises `LockInDoubt` if the event drops a copy whose lock has ended by the log, and by this machine's clock has
    not: the log's time may have been set forward, and a dropped copy does not come back."""
    for copy in copies:
        if not _names(event, copy):
            continue
        if event.timestamp_us >= copy.locked_until_us > wall_us() + CLOCK_SKEW_US:
            raise LockInDoubt(
                f"the log, at {iso(event.timestamp_us)}, drops copy {copy.name}, which is locked until"
                f" {iso(copy.locked_until_us)}, and this site's clock has not come that far",
                sequence=event.sequence,
                offset=offset,
                hint="compare the clocks of this site and of the writer; set this one right if it is slow, then start"
                " the site's worker again. Until then the copy stays",
            )


def _names(event: CopyChange, copy: Copy) -> bool:
    """Events are about marker copies alone: a copy by time may have the same identity, and a command of its own."""
    wanted = event.copy_sequence, event.copy_seal
    marked = copy.state is CopyState.FORMED and copy.origin is CopyOrigin.MARKER
    return marked and (copy.sequence, copy.seal) == wanted
