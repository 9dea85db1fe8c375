"""Records of the control topic that tell how far data has come: from the writer, and at a site.

The fields are those of the ``.avsc`` file of the same name, which documents them.
"""

from typing import ClassVar

from tidelog.schemas.control_record import ControlRecord, Fixed16

OPEN, CLOSED, ENDED = "OPEN", "CLOSED", "ENDED"


class WriterStatus(ControlRecord):
    """Where a writer session stands, and what it does about sites that are too far behind."""

    kind: ClassVar[str] = "WriterStatus"

    group: str
    epoch: int
    writer: Fixed16
    state: str
    reason: str = ""
    sequence: int
    timestamp_us: int
    unlogged_us: int
    policy: str = ""
    paced_since_us: int = 0
    paced_for: str = ""
    paced_count: int = 0
    delay_us: int = 0
    delayed_us: int = 0
    reported_us: int
    process: str

    @property
    def key(self) -> str:
        return writer_key(self.group)


class PositionAsked(ControlRecord):
    """A writer waits for ``sequence``: every site reports as soon as it has applied it."""

    kind: ClassVar[str] = "PositionAsked"

    group: str
    sequence: int
    asked_us: int

    @property
    def key(self) -> str:
        return ask_key(self.group)


class UncopiedSince(ControlRecord):
    """Since when a site holds changes that are in none of its copies; ``since_us`` is 0 if there are none."""

    kind: ClassVar[str] = "UncopiedSince"

    site: str
    group: str
    since_us: int
    reported_us: int

    @property
    def key(self) -> str:
        return uncopied_key(self.group, self.site)


class StoreBegan(ControlRecord):
    """The copy that a site's store of a group began from: elder ones do not come there. ``sequence`` 0: it has followed
    the log from its beginning. ``timestamp_us`` is 0 where the copy's time is not known."""

    kind: ClassVar[str] = "StoreBegan"

    site: str
    group: str
    sequence: int
    timestamp_us: int
    reported_us: int

    @property
    def key(self) -> str:
        return began_key(self.group, self.site)


class SiteRates(ControlRecord):
    """How fast a site applies: what it did within the last ``window_us``, and since its worker began. Told anew only
    when it has changed, so it is as fresh as the `SiteStatus` of the same ``worker``."""

    kind: ClassVar[str] = "SiteRates"

    site: str
    group: str
    window_us: int
    events: int
    bytes: int
    closing: int
    events_applied: int
    bytes_applied: int
    reported_us: int
    worker: str

    @property
    def key(self) -> str:
        return rates_key(self.group, self.site)


REPORTS: tuple[type[ControlRecord], ...] = (WriterStatus, PositionAsked, UncopiedSince, StoreBegan, SiteRates)


def writer_key(group: str) -> str:
    """The key of a group's `WriterStatus`: of the newest session that has reported."""
    return f"writer/{group}"


def ask_key(group: str) -> str:
    """The key of a group's `PositionAsked`."""
    return f"ask/{group}"


def uncopied_key(group: str, site: str) -> str:
    """The key of a site's `UncopiedSince` for a group."""
    return f"uncopied/{group}/{site}"


def began_key(group: str, site: str) -> str:
    """The key of a site's `StoreBegan` for a group."""
    return f"began/{group}/{site}"


def rates_key(group: str, site: str) -> str:
    """The key of a site's `SiteRates` for a group."""
    return f"rates/{group}/{site}"
