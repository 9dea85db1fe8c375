"""What a store holds: one group at one site (DESIGN sections 4 and 5)."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from tidelog.clock import iso
from tidelog.schemas.chain import Head
from tidelog.schemas.volumes import VolumeInfo


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose data a store holds; another's is refused."""

    group: str
    group_id: str
    site: str


@dataclass(frozen=True, slots=True)
class Position:
    """How far a store is. It changes in the same atomic step as the data.

    ``layout`` is raised by every cut and drop step, so that whoever plans on a stale picture of the copies is refused.
    ``generation`` is that of the newest cut, 0 before the first. ``step`` counts the blocks already done of the event
    after the head, for events too large for one transaction, and ``step_seal`` is that event's seal; 0 and empty mean
    that none is under way. ``cluster_id`` names the log that offsets are of: its cluster, and the topic's incarnation
    where that is not the first.
    """

    head: Head
    cluster_id: str
    layout: int
    generation: int
    step: int = 0
    step_seal: bytes = b""


class CopyOrigin(StrEnum):
    """Why a copy was cut: a marker in the log, a command to cut at a time, or to make room for a late copy: that one is
    nobody's, and is being dropped from the beginning; its volumes are listed as a copy's are, so that they stay.

    A copy is LOST whose event is not in the log any more (lost history), whatever it was cut for: it is kept for
    people, and counts for nothing else. ROLLBACK is nobody's either: where a roll back ended (`tidelog.stores.scars`).
    """

    MARKER = "marker"
    TIME = "time"
    SPLIT = "split"
    LOST = "lost"
    ROLLBACK = "rollback"


class CopyState(StrEnum):
    """Only a formed copy can be read. FORMING is one that is made late (`tidelog.stores.late`)."""

    FORMING = "forming"
    FORMED = "formed"
    DROPPING = "dropping"


@dataclass(frozen=True, slots=True)
class Copy:
    """A point-in-time copy as the store knows it. Its identity is (group, ``sequence``, ``seal``); the name is a label.

    ``sequence`` is that of the last event or write in it, ``seal`` that of the event that holds it: the marker, or
    for a copy by time whatever came last before. ``timestamp_us`` is the marker's, or the time that was asked for.
    ``epoch``, ``writer`` and ``offset`` are those of that event, whose record is in the log ``cluster_id``: a site
    that takes a marker's copy as its base goes on from there. ``blocks_changed`` counts the blocks, of the volumes in
    the table at the cut, that events named since the cut before; ``volumes`` is that table, by id. Nothing drops it
    before ``locked_until_us`` (0: it was never locked), and retention leaves it alone while it is ``kept``. ``base``
    is 0 but for what a roll back cuts: the generation of the copy that it goes back to.

    ``hold`` is no part of the record: it is the id of the hold under which whoever has this object reads the copy,
    dropped or not; empty for those who read it only while it is formed.
    """

    generation: int
    sequence: int
    seal: bytes
    name: str
    timestamp_us: int
    volumes: tuple[VolumeInfo, ...]
    blocks_changed: int
    epoch: int
    writer: bytes
    offset: int
    cluster_id: str
    state: CopyState = CopyState.FORMED
    origin: CopyOrigin = CopyOrigin.MARKER
    locked_until_us: int = 0
    kept: bool = False
    base: int = 0
    hold: str = field(default="", compare=False)

    @property
    def head(self) -> Head:
        """The head at the cut."""
        return Head(self.sequence, self.seal, self.epoch, self.writer, self.timestamp_us, self.offset)

    def volume(self, name: str) -> VolumeInfo | None:
        """The volume of that name at the cut, or None."""
        return next((volume for volume in self.volumes if volume.name == name), None)


# What a group is before its first event: what is materialised from the log's beginning begins from it.
NOTHING = Copy(0, 0, bytes(16), "(the beginning of the log)", 0, (), 0, 0, bytes(16), -1, "")
_ARCHIVE = "(archive of) "


def archive_base(copy: str) -> Copy:
    """Nor is there anything under what the archived copy of that name is brought into."""
    return replace(NOTHING, name=_ARCHIVE + copy)


class HoldKind(StrEnum):
    """What needs a copy to stay."""

    CLONE = "clone"
    EXPORT = "export"
    VOLUME = "volume"  # an open work volume
    REBUILD = "rebuild"  # of another site, which takes the copy as its base


@dataclass(frozen=True, slots=True)
class Hold:
    """What keeps one copy's blocks at a site, dropped or not. ``holder`` says who, for people.

    ``expires_us`` is by the clock of the site's Redis, so that nobody's own clock counts; 0 is until it is released.
    """

    id: str
    generation: int
    sequence: int
    seal: bytes
    kind: HoldKind
    holder: str
    expires_us: int = 0

    def of(self, copy: Copy) -> bool:
        """Whether it is this copy that is held."""
        return (self.generation, self.sequence, self.seal) == (copy.generation, copy.sequence, copy.seal)

    def live(self, now_us: int) -> bool:
        """Whether it still counts."""
        return not self.expires_us or self.expires_us > now_us

    def __str__(self) -> str:
        return f"{self.kind} {self.holder}" if self.kind is HoldKind.CLONE else f"{self.kind} by {self.holder}"


@dataclass(frozen=True, slots=True)
class Moment:
    """Which image of a group: the one after ``sequence``, or (0) after the last event or write of at most ``at_us``."""

    sequence: int = 0
    at_us: int = 0

    def covers(self, sequence: int, timestamp_us: int) -> bool:
        """Whether what ends at that sequence and time is in the image."""
        return sequence <= self.sequence if self.sequence else timestamp_us <= self.at_us

    def __str__(self) -> str:
        return f"sequence {self.sequence}" if self.sequence else iso(self.at_us)


@dataclass(frozen=True, slots=True)
class Clone:
    """A writable overlay on a copy at one site. ``base`` is the copy as it was when the clone was made, and carries the
    clone's hold, whose id is the clone's own: 16 hexadecimal digits.

    A clone of a copy has the base's volumes. One that is materialised from the log is the group as it was at
    ``moment``: its base is what it began from (generation 0: the log's beginning, nothing), and ``reached`` what it is,
    or while it is ``forming`` how far it has come. As a copy, ``reached`` is in no generation: 0.
    """

    id: str
    name: str
    base: Copy
    created_us: int
    dropping: bool = False
    moment: Moment | None = None
    reached: Copy | None = None
    forming: bool = False

    @property
    def field(self) -> str:
        """Its field in the table: its name; of one that is being dropped, which no longer has one, its id."""
        return f"#{self.id}" if self.dropping else self.name

    @property
    def archived(self) -> str | None:
        """The archived copy that it is of, if it is."""
        return self.base.name.removeprefix(_ARCHIVE) if self.base.name.startswith(_ARCHIVE) else None

    @property
    def image(self) -> Copy:
        """What it is an image of, and whose volumes it has."""
        return self.base if self.reached is None else self.reached

    def in_base(self, volume: int) -> VolumeInfo | None:
        """The volume of that id as it is in the base; None if it is not there."""
        return next((row for row in self.base.volumes if row.id == volume), None)
