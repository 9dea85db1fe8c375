"""The records of the control topic (DESIGN section 7), and their keys.

The fields are those of the ``.avsc`` file of the same name, which documents them. The topic is compacted: a record
replaces the one with the same key.
"""

from typing import Any, ClassVar

from pydantic import ValidationError

from tidelog.errors import CorruptEvent
from tidelog.schemas.codec import read_record
from tidelog.schemas.control_record import ControlRecord, Fixed16
from tidelog.schemas.mirrors import REGIONS
from tidelog.schemas.promotions import PROMOTIONS
from tidelog.schemas.reports import REPORTS

MAX_RECORD_SIZE = 64 * 1024


class GroupCreated(ControlRecord):
    """A consistency group exists."""

    kind: ClassVar[str] = "GroupCreated"

    group: str
    group_id: str
    topic: str
    keyed: bool
    created_us: int

    @property
    def key(self) -> str:
        return group_key(self.group)


class CopyFormed(ControlRecord):
    """A site's receipt for a copy. Its identity is (group, ``sequence``, ``seal``)."""

    kind: ClassVar[str] = "CopyFormed"

    site: str
    group: str
    sequence: int
    seal: Fixed16
    name: str
    timestamp_us: int
    digest: Fixed16
    blocks_changed: int
    formed_us: int

    @property
    def key(self) -> str:
        return copy_key(self.group, self.sequence, self.name, self.site)


class CopyArchived(ControlRecord):
    """A site's copy is in an export at ``place``, verified there; its Redis may have dropped it since."""

    kind: ClassVar[str] = "CopyArchived"

    site: str
    group: str
    group_id: str
    sequence: int
    seal: Fixed16
    name: str
    timestamp_us: int
    digest: Fixed16
    place: str
    archived_us: int

    @property
    def key(self) -> str:
        return archive_key(self.group, self.sequence, self.name, self.site)


class CopyOrdered(ControlRecord):
    """A command: every site is to cut a copy of these groups at one time of their logs."""

    kind: ClassVar[str] = "CopyOrdered"

    name: str
    groups: str
    at_us: int
    ordered_us: int
    ordered_by: str
    dropped_us: int = 0

    @property
    def key(self) -> str:
        return order_key(self.name)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups, in the order in which they were given."""
        return tuple(self.groups.split(","))


class OrderProtected(ControlRecord):
    """What protects the copies that a `CopyOrdered` makes, at every site and of every group."""

    kind: ClassVar[str] = "OrderProtected"

    name: str
    groups: str
    at_us: int
    locked_until_us: int
    kept: bool
    protected_us: int

    @property
    def key(self) -> str:
        return protection_key(self.name)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups of the command."""
        return tuple(self.groups.split(","))


class OrderAnswered(ControlRecord):
    """What a site that is past the time of a `CopyOrdered` does about it: ``state`` is ``FORMING``, while it makes the
    copy late, or ``OUT_OF_WINDOW``. Once the copy is there its receipt takes this record's place."""

    kind: ClassVar[str] = "OrderAnswered"

    site: str
    group: str
    name: str
    at_us: int
    state: str
    reason: str
    answered_us: int

    @property
    def key(self) -> str:
        return answer_key(self.group, self.name, self.site)


class SiteStatus(ControlRecord):
    """Where a site stands with a group."""

    kind: ClassVar[str] = "SiteStatus"

    site: str
    group: str
    state: str
    reason: str = ""
    hint: str = ""
    sequence: int
    seal: Fixed16
    epoch: int
    timestamp_us: int
    offset: int
    end_offset: int
    events_applied: int
    redelivered: int
    void: int
    reported_us: int
    worker: str

    @property
    def key(self) -> str:
        return status_key(self.group, self.site)

    @property
    def shown_state(self) -> str:
        """`shown_state` of it."""
        return shown_state(self.state, self.reason)


def shown_state(state: str, reason: str) -> str:
    """The word for what a worker reports: ``WAITING`` if it cannot go on, or begin, since something does not answer,
    such as its Redis; on the control topic that is ``STARTING`` with a reason."""
    return "WAITING" if state == "STARTING" and reason else state


_ALL: tuple[type[ControlRecord], ...] = (
    GroupCreated,
    CopyOrdered,
    OrderProtected,
    OrderAnswered,
    CopyFormed,
    CopyArchived,
    SiteStatus,
    *REGIONS,
    *REPORTS,
    *PROMOTIONS,
)
CONTROL_TYPES = {cls.kind: cls for cls in _ALL}


def group_key(group: str) -> str:
    """The key of a group's `GroupCreated`."""
    return f"group/{group}"


def order_key(name: str) -> str:
    """The key of a `CopyOrdered`."""
    return f"order/{name}"


def protection_key(name: str) -> str:
    """The key of the `OrderProtected` of a command."""
    return f"protection/{name}"


def answer_key(group: str, name: str, site: str) -> str:
    """The key of a site's `OrderAnswered` for a command."""
    return f"answer/{group}/{name}/{site}"


def copy_key(group: str, sequence: int, name: str, site: str) -> str:
    """The key of a site's `CopyFormed` for the copy of that name at ``sequence``: a copy by time may have the identity
    of a marker's, or of another's."""
    return f"copy/{group}/{sequence}/{name}/{site}"


def archive_key(group: str, sequence: int, name: str, site: str) -> str:
    """The key of a site's `CopyArchived`, as `copy_key`."""
    return f"archive/{group}/{sequence}/{name}/{site}"


def status_key(group: str, site: str) -> str:
    """The key of a site's `SiteStatus` for a group."""
    return f"status/{group}/{site}"


def decode_control(value: bytes) -> ControlRecord:
    """The record that these bytes are.

    Raises `CorruptEvent` for bytes that are no control record, `UnsupportedEvent` for a type that this version does
    not know.
    """
    schema, fields = read_record(value, MAX_RECORD_SIZE)
    cls = CONTROL_TYPES.get(schema.name)
    if cls is None:
        raise CorruptEvent(f"{schema.name} does not belong on the control topic")
    return _model(cls, fields)


def _model(cls: type[ControlRecord], fields: dict[str, Any]) -> ControlRecord:
    try:
        return cls(**fields)
    except ValidationError as error:
        raise CorruptEvent(f"{cls.kind} has a field out of range: {error.errors()[0]['loc'][0]}") from error
