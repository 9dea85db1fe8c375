"""The events of a group's log (DESIGN section 3).

Fields are those of the ``.avsc`` file of the same name, which documents them. Ids, seals and writers are ``bytes`` of
length 16; times are UTC microseconds; sizes, offsets and lengths are bytes.
"""

from dataclasses import dataclass
from typing import ClassVar

ZERO_SEAL = bytes(16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What every event of the chain carries. ``seal`` is empty until the event is encoded or decoded."""

    epoch: int
    writer: bytes
    sequence: int
    timestamp_us: int
    previous: bytes
    seal: bytes = b""

    kind: ClassVar[str] = "Event"

    @property
    def last_sequence(self) -> int:
        """The last sequence that this event takes."""
        return self.sequence

    @property
    def first_timestamp_us(self) -> int:
        """UTC microseconds of the first thing in the event; must exceed the head's."""
        return self.timestamp_us


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOpened(Event):
    """A writer session takes over. ``opened_by`` is host:pid, for people."""

    opened_by: str

    kind: ClassVar[str] = "WriterOpened"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeCreated(Event):
    """A volume of ``size`` bytes begins; its id is this event's sequence."""

    name: str
    size: int
    block_size: int

    kind: ClassVar[str] = "VolumeCreated"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeResized(Event):
    """A volume has ``size`` bytes now; shrinking is a discard of all beyond."""

    volume: int
    size: int

    kind: ClassVar[str] = "VolumeResized"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeDeleted(Event):
    """A volume leaves the volume table; copies keep it."""

    volume: int

    kind: ClassVar[str] = "VolumeDeleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBatch(Event):
    """Write ``i`` takes ``sequence + i`` and the next ``lengths[i]`` bytes of ``data``."""

    volumes: list[int]
    offsets: list[int]
    lengths: list[int]
    timestamps_us: list[int]
    data: bytes

    kind: ClassVar[str] = "WriteBatch"

    @property
    def last_sequence(self) -> int:
        return self.sequence + len(self.lengths) - 1

    @property
    def first_timestamp_us(self) -> int:
        return self.timestamps_us[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discard(Event):
    """``length`` bytes from ``offset`` on read as zeros."""

    volume: int
    offset: int
    length: int

    kind: ClassVar[str] = "Discard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker(Event):
    """Every site cuts a copy here; ``name`` is its label."""

    name: str

    kind: ClassVar[str] = "Marker"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyDropped(Event):
    """The copy of that identity is dropped at every site."""

    copy_sequence: int
    copy_seal: bytes

    kind: ClassVar[str] = "CopyDropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyLocked(Event):
    """The copy of that identity is dropped by nothing before ``until_us``, by the log's time."""

    copy_sequence: int
    copy_seal: bytes
    until_us: int

    kind: ClassVar[str] = "CopyLocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyKept(Event):
    """The copy of that identity is exempt from retention if ``kept``, else no longer."""

    copy_sequence: int
    copy_seal: bytes
    kept: bool

    kind: ClassVar[str] = "CopyKept"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeCopied(Event):
    """Each site copies the blocks of ``bitmap`` (`tidelog.schemas.block_bitmap`) from its own source volume, live if
    the copy's sequence is 0 and its seal all zeros."""

    source: int
    source_copy_sequence: int
    source_copy_seal: bytes
    target: int
    bitmap: bytes

    kind: ClassVar[str] = "VolumeCopied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(Event):
    """Idle time passes."""

    kind: ClassVar[str] = "Heartbeat"


EVENT_TYPES: dict[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        WriterOpened,
        VolumeCreated,
        VolumeResized,
        VolumeDeleted,
        WriteBatch,
        Discard,
        Marker,
        CopyDropped,
        CopyLocked,
        CopyKept,
        VolumeCopied,
        Heartbeat,
    )
}
