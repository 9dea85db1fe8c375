"""What the control topic says of the archives of a group's copies. Pure."""

from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyArchived, GroupCreated, group_key


def archives_of(view: ControlView, group: str) -> list[CopyArchived]:
    """What the sites have archived of a group, oldest copy first; not of an earlier group of that name."""
    created = view.get(group_key(group))
    if not isinstance(created, GroupCreated):
        return []
    found = (record for record in view.values() if isinstance(record, CopyArchived))
    own = (record for record in found if (record.group, record.group_id) == (group, created.group_id))
    return sorted(own, key=lambda record: (record.sequence, record.timestamp_us, record.site))


def archived_copies(view: ControlView, group: str) -> frozenset[tuple[int, bytes]]:
    """Sequence and seal of each of these copies."""
    return frozenset((record.sequence, record.seal) for record in archives_of(view, group))
