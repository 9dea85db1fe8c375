"""A copy onto a mirrored volume, as its writer gives it: which blocks the command must name (DESIGN section 8).

They are those that may differ at the sequence of the command. A site knows them at the position that it has come to;
what this session has written since names the rest. So nothing waits for the site but the command itself: writers go
on, and the order is held only for what they have written in the last moment.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidelog.errors import SiteBehind
from tidelog.producers.overlay import Named
from tidelog.producers.rules import CopyOrder, copy_order
from tidelog.producers.volume import READ_TIMEOUT, ChangedBlocks, refuse_other_history
from tidelog.schemas.block_bitmap import pack_bitmap
from tidelog.schemas.events import Event, VolumeCopied

if TYPE_CHECKING:
    from tidelog.producers.group import Group

# A site applies within milliseconds.
_ASK_AGAIN = 0.002


@dataclass(frozen=True, slots=True)
class VolumeCopy:
    """A copy onto a volume as it stands in the log: ``blocks`` of ``block_size`` bytes, told in ``bitmap_bytes``.
    ``source_copy`` is the sequence of the copy that it was taken from, 0 for the live source."""

    source: str
    target: str
    source_copy: int
    sequence: int
    timestamp_us: int
    blocks: int
    block_size: int
    bitmap_bytes: int


def copy_volume(group: "Group", source: str, target: str, copy: str | None) -> VolumeCopy:
    """See `Group.copy_volume`."""
    session = group.session
    session.flush()  # a session that was fenced says so before the site is waited for
    deadline = time.monotonic() + READ_TIMEOUT
    while (copied := try_copy(group, source, target, copy)) is None:
        if time.monotonic() > deadline:
            site, sequence = group.read_side.site, session.confirmed.sequence
            raise SiteBehind(
                f"site {site} has not applied what a copy needs to know, of the events up to {sequence}",
                group=group.name,
                hint=f"is its worker running? Start it with: tidelog site run {site}",
            )
        time.sleep(_ASK_AGAIN)
    session.flush()
    return copied


def try_copy(group: "Group", source: str, target: str, copy: str | None) -> VolumeCopy | None:
    """One attempt, not confirmed yet; None, and nothing is in the log, if the site must come further first. Raises
    `LogDiverged` if it never does."""
    order = _order(group, source, target, copy)
    changes, head = group.read_side.changes(order.source.id, order.target.id, order.copy)
    if not group.session.overlay.vouches(head):
        refuse_other_history(group, head, late=False)
    # A site that has come to an event of this very session has applied all those before it, and no others.
    if head.writer != group.session.writer or head.sequence < order.copy_sequence:
        return None
    event = _emit(group, order, changes, head.sequence, copy)
    if event is None:
        return None
    block_size, size = order.target.block_size, len(event.bitmap)
    return VolumeCopy(
        source, target, order.copy_sequence, event.sequence, event.timestamp_us, changes.count, block_size, size
    )


def _order(group: "Group", source: str, target: str, copy: str | None) -> CopyOrder:
    """What is asked for, if it can be. Raises `NotFound`, `UsageError`."""
    with group.session.order:
        return copy_order(group.session.state, source, target, copy, group.name)


def _emit(
    group: "Group", order: CopyOrder, changes: ChangedBlocks, applied: int, copy: str | None
) -> VolumeCopied | None:
    """Puts the command into the log, with ``changes``, true at sequence ``applied``, brought up to it. None if what
    this session has done since then does not tell: the site must come further first."""
    session, source, target = group.session, order.source, order.target
    volumes = {source.id, target.id}
    early = session.overlay.named(applied, volumes)  # most of it, while writers go on
    if early is None:
        return None
    _add(changes, early, target.block_size)
    with session.order:
        late = session.named(early.last, volumes)
        if late is None or _order(group, source.name, target.name, copy) != order:
            return None
        _add(changes, late, target.block_size)
        changes.discard_range(target.blocks, len(changes.bits) * 8)
        event: Event = session.emit(
            VolumeCopied,
            source=source.id,
            source_copy_sequence=order.copy_sequence,
            source_copy_seal=order.copy[1] if order.copy else bytes(16),
            target=target.id,
            bitmap=pack_bitmap(changes.bits),
        )
    assert isinstance(event, VolumeCopied)
    return event


def _add(changes: ChangedBlocks, named: Named, block_size: int) -> None:
    for _, offset, length in named.extents:
        changes.add_range(offset // block_size, -(-(offset + length) // block_size))
