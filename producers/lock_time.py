"""The time that a writer judges locks by, before it sends anything (see `tidelog.schemas.locks`), and their ends."""

from datetime import datetime, timedelta

from tidelog.clock import iso, microseconds
from tidelog.errors import UsageError
from tidelog.producers.control import Control
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.locks import CLOCK_SKEW_US

LONGEST_LOCK = timedelta(days=36_525)


def lock_time_us(log_time_us: int, group: str, control: Control) -> int:
    """The log's time, or what the sites' clocks said when they last reported, if that is earlier; UTC microseconds.

    A writer's own clock makes the log's time, so it is no witness that a lock has ended. Where no site has ever
    reported, nobody holds a copy and the log's time is all there is. Raises `LogUnavailable`.
    """
    statuses = (record for record in control.snapshot().values() if isinstance(record, SiteStatus))
    reported = [status.reported_us for status in statuses if status.group == group]
    return min(log_time_us, max(reported) + CLOCK_SKEW_US) if reported else log_time_us


def lock_end_us(until: datetime | timedelta, log_time_us: int) -> int:
    """The end of a lock in UTC microseconds. Raises `UsageError` for one that cannot be."""
    if isinstance(until, timedelta):
        end = log_time_us + until // timedelta(microseconds=1)
    elif until.tzinfo is None:
        raise UsageError(f"{until.isoformat()} says no offset to UTC", hint="such as 2027-01-01T00:00:00Z")
    else:
        end = microseconds(until)
    if end <= log_time_us:
        raise UsageError(
            f"a lock until {until.isoformat() if isinstance(until, datetime) else until} would have ended:"
            f" the log's time is {iso(log_time_us)}"
        )
    if end - log_time_us > LONGEST_LOCK // timedelta(microseconds=1):
        raise UsageError("a lock of more than a hundred years", hint="no lock can be shortened: take a nearer time")
    return end
