"""What a rebuild says of itself: where it is, and in the end what it has done."""

from dataclasses import dataclass, field
from enum import StrEnum

from tidelog.errors import CopiesDiffer


class Phase(StrEnum):
    """What a rebuild is at; from the log's beginning nothing is loaded or proved."""

    ERASING = "erasing"
    LOADING = "loading"
    PROVING = "proving"
    REPLAYING = "replaying"
    VERIFYING = "verifying"


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """Where a rebuild is. ``done`` and ``total`` are keys while erasing (the total then is 0: nobody counts them),
    bytes of blocks while loading and proving, sequences while replaying, copies while verifying. ``bytes_done`` and
    ``bytes_total`` are of blocks, or of the log, estimated."""

    phase: Phase
    done: int
    total: int
    bytes_done: int
    bytes_total: int
    seconds: float
    by: str  # who replays: a worker's name, or "this process"

    @property
    def rate(self) -> float:
        """``done`` a second, of this phase."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds to go, None while there is nothing to tell it from."""
        return (self.total - self.done) / self.rate if self.total and self.rate else None


@dataclass(frozen=True, slots=True)
class VerifiedCopy:
    """A rebuilt copy beside the receipts for it: the other sites', and this site's own from before."""

    name: str
    sequence: int
    digest: bytes
    receipts: dict[str, bytes]

    @property
    def equal(self) -> bool:
        """Whether no receipt says otherwise."""
        return all(digest == self.digest for digest in self.receipts.values())


@dataclass(slots=True)
class RebuildReport:
    """What a rebuild has done. ``seconds`` is all of it, ``replay_seconds`` the replay alone, ``load_seconds`` what it
    took to load ``bytes_loaded`` of blocks and to prove the whole base."""

    site: str
    group: str
    keys_erased: int = 0
    bytes_loaded: int = 0
    load_seconds: float = 0.0
    events: int = 0
    bytes_estimated: int = 0
    seconds: float = 0.0
    replay_seconds: float = 0.0
    by: str = "this process"
    copies: list[VerifiedCopy] = field(default_factory=list)

    def check(self) -> None:
        """Raises `CopiesDiffer` if a rebuilt copy has another digest than a receipt for it."""
        differing = [copy for copy in self.copies if not copy.equal]
        if differing:
            names = ", ".join(copy.name for copy in differing)
            raise CopiesDiffer(
                f"after the rebuild of site {self.site} these copies differ from their receipts: {names}",
                group=self.group,
                hint="one of the sites, or the log, is damaged; compare with: "
                f"tidelog pitc verify {differing[0].name} --group {self.group}",
            )
