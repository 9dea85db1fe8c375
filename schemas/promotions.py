"""Records of the control topic by which the primary of a group moves from one site to another.

The fields are those of the ``.avsc`` file of the same name, which documents them.
"""

from typing import ClassVar

from tidelog.schemas.control_record import ControlRecord, Fixed16
from tidelog.schemas.events import Event, WriterOpened

# What `opened_by` of an event begins with that opens an epoch for a promotion; a host's name has no space in it.
_OPENED_BY = "promotion to "
_IN = " in "


class PromotionAsked(ControlRecord):
    """A promotion is under way, and the session ``writer`` is asked to end: nobody is where that is all zeros."""

    kind: ClassVar[str] = "PromotionAsked"

    group: str
    site: str
    epoch: int
    writer: Fixed16
    forced: bool
    asked_us: int
    expires_us: int
    asked_by: str

    @property
    def key(self) -> str:
        return promotion_key(self.group)


class PrimaryChosen(ControlRecord):
    """The group's primary is ``site`` since the event at ``sequence``, which opened ``epoch``."""

    kind: ClassVar[str] = "PrimaryChosen"

    group: str
    group_id: str
    site: str
    before: str
    epoch: int
    sequence: int
    seal: Fixed16
    forced: bool
    chosen_us: int
    chosen_by: str

    @property
    def key(self) -> str:
        return primary_key(self.group)


PROMOTIONS: tuple[type[ControlRecord], ...] = (PromotionAsked, PrimaryChosen)


def promotion_key(group: str) -> str:
    """The key of a group's `PromotionAsked`."""
    return f"promotion/{group}"


def primary_key(group: str) -> str:
    """The key of a group's `PrimaryChosen`."""
    return f"primary/{group}"


def opened_for(site: str, process: str, log: str = "") -> str:
    """``opened_by`` of the event that opens an epoch for a promotion to ``site``; with ``log`` also that this log, a
    mirror until then, is the group's from there on."""
    return f"{_OPENED_BY}{site}{_IN + log if log else ''}, {process}"


def is_promotion(event: Event | None) -> bool:
    """Whether this event opened an epoch for a promotion: nobody writes in it."""
    return isinstance(event, WriterOpened) and event.opened_by.startswith(_OPENED_BY)


def ends_mirror(event: Event | None, log: str) -> bool:
    """Whether this event made ``log`` the group's own, which had been a mirror until then."""
    return isinstance(event, WriterOpened) and is_promotion(event) and f"{_IN}{log}, " in event.opened_by
