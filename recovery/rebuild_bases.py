"""What a rebuild can begin from: the log's beginning, another site's copy, an export. As data, and how each is read."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.contents import Block
from tidelog.stores.loading import Loading
from tidelog.stores.pairs import Pair
from tidelog.stores.store import Copy

LOG = "log"


class BaseKind(StrEnum):
    """Where a base is had. A load of one kind does not go on with one of the other (`Loading`)."""

    LOG = "log"
    SITE = "site"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Base:
    """A state that a rebuild can begin from. ``source`` is a site's name or an export's place, ``copy`` the copy as it
    is there (None: the log's beginning), ``digest`` what the receipts or the export say of it; ``content_bytes`` what
    is to be loaded, at most."""

    kind: BaseKind
    source: str = ""
    copy: Copy | None = None
    digest: bytes = b""
    content_bytes: int = 0

    @property
    def sequence(self) -> int:
        """Where the replay begins behind it."""
        return 0 if self.copy is None else self.copy.sequence

    @property
    def loading(self) -> Loading:
        """What a store says of itself while this is loaded. Not for the log's beginning."""
        assert self.copy is not None
        return Loading.of(self.kind, self.source, self.copy, self.digest)

    def __str__(self) -> str:
        if self.copy is None:
            return "the log's beginning"
        where = f"at site {self.source}" if self.kind is BaseKind.SITE else f"in the export at {self.source}"
        return f"copy {self.copy.name} (sequence {self.copy.sequence}) {where}"


@dataclass(frozen=True, slots=True)
class NotTaken:
    """What a rebuild does not begin from, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class ExportFound:
    """A whole export, whose files are not looked at yet."""

    group_id: str
    base: Base


class BaseSource(Protocol):
    """What a base is loaded from. Close it."""

    def blocks(self, volume: VolumeInfo, after: int) -> Iterator[list[Block]]:
        """The blocks of a volume behind block ``after``, ascending, a MiB or so at a time."""

    def zeros(self, volume: VolumeInfo) -> ChangeBitmap:
        """Blocks that events have named, and that `blocks` may have left out since they are zeros."""

    def pairs(self) -> dict[Pair, ChangeBitmap]:
        """See `Store.pairs`."""

    def close(self) -> None:
        """Lets go of it."""


class Exports(Protocol):
    """Exports as bases: `tidelog.gateways.exports.bases`."""

    def find(self, place: str) -> ExportFound:
        """What is there. Raises `UsageError`, `ExportDamaged`."""

    def open(self, base: Base) -> BaseSource:
        """Its blocks, each file's checksum looked at first. Raises `ExportDamaged`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator has asked for: ``source`` is ``log``, a site or an export's place (empty: what is best),
    ``copy`` the name of a copy there."""

    source: str = ""
    copy: str = ""

    def kind(self, sites: Collection[str]) -> BaseKind | None:
        """Which of them; None: the best. ``sites`` are the configured ones."""
        if not self.source:
            return None
        if self.source == LOG:
            return BaseKind.LOG
        return BaseKind.SITE if self.source in sites else BaseKind.EXPORT


@dataclass(slots=True)
class BaseSurvey:
    """Bases that can be taken, of each place the newest (and the one that a load which was cut short goes on with), and
    what cannot."""

    usable: list[Base] = field(default_factory=list)
    refused: list[NotTaken] = field(default_factory=list)
