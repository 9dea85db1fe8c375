"""A copy onto a mirrored volume, as its writer gives it: which blocks the command must name (DESIGN section 8).

They are those that may differ at the sequence of the command. A site knows them at the position that it has come to;
what this session has written since names the rest. So nothing waits for the site but the command itself: writers go
on, and the order is held only for what they have written in the last moment.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidelog.errors import NotFound, SiteBehind, UsageError
from tidelog.producers.overlay import Named
from tidelog.producers.volume import READ_TIMEOUT, ChangedBlocks
from tidelog.schemas.block_bitmap import pack_bitmap
from tidelog.schemas.events import Event, VolumeCopied
from tidelog.schemas.volumes import VolumeInfo

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


@dataclass(frozen=True, slots=True)
class _Order:
    """What to copy, all of one moment. ``copy`` is the source copy's (sequence, seal)."""

    source: VolumeInfo
    target: VolumeInfo
    copy: tuple[int, bytes] | None

    @property
    def copy_sequence(self) -> int:
        return self.copy[0] if self.copy else 0


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
    """One attempt, not confirmed yet; None, and nothing is in the log, if the site must come further first."""
    order = _order(group, source, target, copy)
    changes, head = group.read_side.changes(order.source.id, order.target.id, order.copy)
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


def _order(group: "Group", source: str, target: str, copy: str | None) -> _Order:
    """What is asked for, if it can be. Raises `NotFound`, `UsageError`."""
    with group.session.order:
        from_info, to_info = group.volume(source).info, group.volume(target).info
        identity = None
        if copy is not None:
            known = group.session.state.copy(copy)
            if known is None:
                raise NotFound(
                    f"no copy {copy!r}", group=group.name, hint="tidelog pitc list shows those that there are"
                )
            identity = (known.sequence, known.seal)
            held = next((info for info in known.volumes if info.id == from_info.id), None)
            if held is None:
                raise NotFound(
                    f"copy {copy} does not hold volume {source}",
                    group=group.name,
                    hint="a volume that was made anew since is another one; read the old one from the copy",
                )
            from_info = held
    if copy is None and from_info.id == to_info.id:
        raise UsageError(f"volume {source} onto itself", group=group.name, hint="name the copy to restore it to")
    if from_info.block_size != to_info.block_size:
        raise UsageError(
            f"volume {source} has blocks of {from_info.block_size} bytes, volume {target} of {to_info.block_size}",
            group=group.name,
            hint="copy to a volume with the same block size",
        )
    if from_info.size > to_info.size:
        raise UsageError(
            f"{from_info.size} bytes of volume {source} do not fit into the {to_info.size} of volume {target}",
            group=group.name,
            hint="grow it first, with volume.resize(size)",
        )
    return _Order(from_info, to_info, identity)


def _emit(group: "Group", order: _Order, changes: ChangedBlocks, applied: int, copy: str | None) -> VolumeCopied | None:
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
