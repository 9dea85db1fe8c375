"""A model of a store that is obviously right: a fold of the log into one bytes object a volume, every state kept.

A copy is the state at its marker; bitmaps are sets of block numbers.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from tidelog.schemas.events import (
    CopyDropped,
    CopyKept,
    CopyLocked,
    Discard,
    Event,
    Marker,
    VolumeCopied,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
    WriteBatch,
)
from tidelog.schemas.volumes import VolumeInfo


@dataclass
class State:
    """The image at one sequence; ``named`` holds the blocks named, by generation and volume id, ``pairs`` those in
    which source and target may differ, by their ids."""

    volumes: dict[int, tuple[VolumeInfo, bytes]] = field(default_factory=dict)
    named: list[dict[int, frozenset[int]]] = field(default_factory=lambda: [{}])
    dropped: frozenset[int] = frozenset()
    locked: dict[int, int] = field(default_factory=dict)  # the end of its lock, by the copy's sequence
    kept: frozenset[int] = frozenset()
    pairs: dict[tuple[int, int], frozenset[int]] = field(default_factory=dict)

    def ever(self, volume: int) -> frozenset[int]:
        """Every block of a volume that an event has named."""
        return frozenset().union(*(named.get(volume, frozenset()) for named in self.named))

    def name(self, volume: int, blocks: Iterable[int]) -> None:
        """What every event does to the bitmaps."""
        added = frozenset(blocks)
        self.named[-1][volume] = self.named[-1].get(volume, frozenset()) | added
        self.pairs.update({pair: known | added for pair, known in self.pairs.items() if volume in pair})


class Model:
    """Every state of a log, by sequence; ``copies`` by the sequence of the marker."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {0: State()}
        self.copies: dict[int, tuple[Marker, State, int]] = {}
        self._last = 0

    def fold(self, log: Iterable[tuple[Event, int]]) -> None:
        for event, _ in log:
            if event.sequence <= self._last:
                continue
            before = self.states[self._last]
            state = replace(
                before,
                volumes=dict(before.volumes),
                named=[dict(generation) for generation in before.named],
                locked=dict(before.locked),
                pairs=dict(before.pairs),
            )
            self._apply(state, event)
            self._last = event.last_sequence
            self.states[self._last] = state

    def _apply(self, state: State, event: Event) -> None:
        if isinstance(event, VolumeCreated):
            info = VolumeInfo(event.sequence, event.name, event.size, event.block_size)
            state.volumes[info.id] = info, bytes(event.size)
        elif isinstance(event, VolumeDeleted):
            del state.volumes[event.volume]
            state.pairs = {pair: known for pair, known in state.pairs.items() if event.volume not in pair}
        elif isinstance(event, VolumeCopied):
            self._copy(state, event)
        elif isinstance(event, WriteBatch):
            at = 0
            for volume, offset, length in zip(event.volumes, event.offsets, event.lengths, strict=True):
                self._put(state, volume, offset, event.data[at : at + length])
                at += length
        elif isinstance(event, Discard):
            self._put(state, event.volume, event.offset, bytes(event.length))
        elif isinstance(event, VolumeResized):
            info, data = state.volumes[event.volume]
            if event.size < info.size:
                self._put(state, info.id, event.size, bytes(info.size - event.size))
            state.volumes[info.id] = replace(info, size=event.size), data[: event.size].ljust(event.size, b"\0")
        elif isinstance(event, Marker):
            newest = state.named[-1]
            changed = sum(len(newest.get(volume, ())) for volume in state.volumes)
            self.copies[event.sequence] = event, State(dict(state.volumes), pairs=dict(state.pairs)), changed
            state.named.append({})
        elif isinstance(event, CopyDropped) and state.locked.get(event.copy_sequence, 0) <= event.timestamp_us:
            state.dropped |= {event.copy_sequence}
        elif isinstance(event, CopyLocked):
            copy = event.copy_sequence
            state.locked[copy] = max(event.until_us, state.locked.get(copy, 0))
        elif isinstance(event, CopyKept):
            copy = event.copy_sequence
            state.kept = state.kept | {copy} if event.kept else state.kept - {copy}

    def _put(self, state: State, volume: int, offset: int, data: bytes) -> None:
        info, content = state.volumes[volume]
        state.volumes[volume] = info, content[:offset] + data + content[offset + len(data) :]
        state.name(volume, range(offset // info.block_size, -(-(offset + len(data)) // info.block_size)))

    def since(self, state: State, volume: int, sequence: int) -> frozenset[int]:
        """The blocks named since the cut of that marker; of the live volume (0), none."""
        if not sequence:
            return frozenset()
        newer = state.named[list(self.copies).index(sequence) + 1 :]
        return frozenset().union(*(named.get(volume, frozenset()) for named in newer))

    def may_differ(self, source: int, target: int, sequence: int = 0) -> frozenset[int]:
        """What a copy must ship at the newest state: the least that can be right."""
        state = self.states[self._last]
        both = frozenset() if source == target else state.ever(source) | state.ever(target)
        found = state.pairs.get((source, target), both) | self.since(state, source, sequence)
        return frozenset(block for block in found if block < state.volumes[target][0].blocks)

    def _copy(self, state: State, event: VolumeCopied) -> None:
        """What it means: the whole target becomes the source, whatever is shipped; what is named is what is shipped."""
        sequence = event.source_copy_sequence
        volumes = self.copies[sequence][1].volumes if sequence else state.volumes
        info = state.volumes[event.target][0]
        state.volumes[info.id] = info, volumes[event.source][1].ljust(info.size, b"\0")
        bits = "".join(f"{byte:08b}" for byte in zlib.decompress(event.bitmap))
        since = self.since(state, event.source, sequence)
        state.name(info.id, (block for block, bit in enumerate(bits) if bit == "1"))
        if event.source != info.id:
            state.pairs[event.source, info.id] = since
