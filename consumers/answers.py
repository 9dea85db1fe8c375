"""What a site says of a copy, and what it says of its store that bears on that. Pure."""

from enum import StrEnum

from tidelog.producers.control import ControlView
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.reports import StoreBegan, began_key


class Answer(StrEnum):
    """What a site says of a copy."""

    FORMED = "formed"
    PENDING = "pending"  # it has not come that far, or has never reported
    MISSING = "missing"  # it has passed the copy's position, and has no receipt
    UNKNOWN = "unknown"  # the control topic could not be asked
    ARCHIVED = "archived"  # its Redis has dropped it, after an export of it was verified
    DROPPED = "dropped"  # it has dropped it: a copy by time by its own retention, one that was archived by an event
    FORMING = "forming"  # of a copy by time: it was past the time, and makes the copy from an elder one and the log
    OUT_OF_WINDOW = "out_of_window"  # likewise, and neither reaches back to that time
    BEGINS_LATER = "begins_later"  # its store began from a newer copy: this one does not come there
    REBUILDING = "rebuilding"  # it is being rebuilt or rolled back, and serves nothing meanwhile
    EMPTIED = "emptied"  # it had the copy once, and has no store of the group any more


def unserved(view: ControlView, group: str, site: str, sequence: int) -> Answer | None:
    """Why a copy that the site has told the digest of is not to be had there now, by what the site says of itself."""
    status = view.get(status_key(group, site))
    if not isinstance(status, SiteStatus):
        return None
    if status.state == "REBUILDING":
        return Answer.REBUILDING
    return Answer.EMPTIED if status.state == "NEEDS_REBUILD" and status.sequence < sequence else None


def began_at(view: ControlView, group: str, site: str) -> StoreBegan:
    """Where the site's store began; at the log's beginning, unless it has told otherwise."""
    told = view.get(began_key(group, site))
    if isinstance(told, StoreBegan):
        return told
    return StoreBegan(site=site, group=group, sequence=0, timestamp_us=0, reported_us=0)
