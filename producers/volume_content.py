"""A volume made to read as another does by writing what differs: for a source that no command in the log can name.

A copy by marker goes onto a volume as a command (`tidelog.producers.volume_copy`). A copy by time is no event, and an
archived one is in no site's store: their data have to travel.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tidelog.producers.rules import require_room
from tidelog.producers.volume_file import ReadableVolume

if TYPE_CHECKING:
    from tidelog.producers.volume import Volume

_PART_BYTES = 4 << 20


def copy_content(target: "Volume", source: ReadableVolume, advance: Callable[[int], None] | None = None) -> int:
    """See `Volume.copy_from`. ``advance`` is told of the bytes compared since it was last called."""
    require_room(source.name, source.size, target.info, target.group)
    written = 0
    for offset in range(0, target.size, _PART_BYTES):
        length = min(_PART_BYTES, target.size - offset)
        there = target.read(offset, length)
        held = max(0, min(length, source.size - offset))
        wanted = (source.read(offset, held) if held else b"").ljust(length, b"\0")
        if wanted != there:
            written += _write_differing(target, offset, there, wanted)
        if advance is not None:
            advance(length)
    return written


def _write_differing(target: "Volume", offset: int, there: bytes, wanted: bytes) -> int:
    """Writes the runs of blocks that differ, as discards those that become zeros; their bytes."""
    size, written, start = target.block_size, 0, None
    for at in range(0, len(wanted) + size, size):
        same = at >= len(wanted) or there[at : at + size] == wanted[at : at + size]
        if same and start is not None:
            run = wanted[start:at]
            if any(run):
                target.write(offset + start, run)
            else:
                target.discard(offset + start, len(run))
            written += len(run)
            start = None
        elif not same and start is None:
            start = at
    return written
