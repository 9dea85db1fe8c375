"""A group over several regions, each with a Kafka and a control topic of its own, as one catalogue. Pure.

An event has one sequence and one seal wherever its log was mirrored to, and so has a copy: receipts of all regions can
be held against one another. Offsets cannot.
"""

from collections.abc import Iterable

from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyArchived, CopyFormed, GroupCreated, SiteStatus
from tidelog.schemas.control_record import ControlRecord
from tidelog.schemas.reports import StoreBegan


def merged(views: Iterable[ControlView], group: str) -> ControlView:
    """What sites of all these control topics say of a group; of two words of one site (it has moved from one region to
    another) the newer. The group's own record is the first topic's."""
    found: dict[str, ControlRecord] = {}
    for view in views:
        for key, record in view.items():
            told = _told_us(record, group)
            if told is not None and (key not in found or told > (_told_us(found[key], group) or 0)):
                found[key] = record
    return found


def _told_us(record: ControlRecord, group: str) -> int | None:
    """When a site said it; None for what is not of the group, or is one topic's own matter."""
    if (
        not isinstance(record, GroupCreated | SiteStatus | StoreBegan | CopyFormed | CopyArchived)
        or record.group != group
    ):
        return None
    if isinstance(record, SiteStatus | StoreBegan):
        return record.reported_us
    if isinstance(record, CopyFormed):
        return record.formed_us
    return record.archived_us if isinstance(record, CopyArchived) else 0
