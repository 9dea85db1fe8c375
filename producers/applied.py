"""`Group.flush(applied_at=n)`: until sites have applied, by what they report."""

import time
from collections.abc import Sequence

from tidelog.clock import wall_us
from tidelog.errors import SiteBehind, UsageError
from tidelog.producers.control import Control, ControlView
from tidelog.producers.follower import carries_head
from tidelog.producers.log import Log
from tidelog.schemas.chain import Head
from tidelog.schemas.control import SiteStatus, status_key
from tidelog.schemas.reports import PositionAsked

# In these states what a site has applied is not whole, or gone.
NOT_GOOD = frozenset({"REBUILDING", "NEEDS_REBUILD"})
# In these its worker answers within a second.
RUNNING = frozenset({"STARTING", "REPLAYING", "STREAMING", "REBUILDING"})


def check_sites(applied_at: int, sites: Sequence[str] | None, configured: Sequence[str]) -> Sequence[str]:
    """The sites to ask. Raises `UsageError` for a number that they cannot come to, and for unknown ones."""
    if isinstance(sites, str):
        raise UsageError(f"sites is a list of names, such as [{sites!r}]")
    asked = tuple(dict.fromkeys(configured if sites is None else sites))
    unknown = sorted(set(asked) - set(configured))
    if unknown:
        raise UsageError(f"no site {unknown[0]!r} is configured (there are: {', '.join(configured) or 'none'})")
    if not applied_at:
        raise UsageError("sites are waited for with applied_at, the number of them", hint="such as applied_at=1")
    if not 1 <= applied_at <= len(asked):
        raise UsageError(
            f"applied_at={applied_at} cannot be reached at {len(asked)} sites", hint="0 is a flush to the log alone"
        )
    return asked


def await_applied(
    group: str, log: Log, control: Control, target: Head, applied_at: int, sites: Sequence[str], timeout: float
) -> None:
    """Returns once ``applied_at`` of ``sites`` have reported a position at or past ``target`` in the same history: the
    record of that position is in the log with the same seal, and so is what was flushed.

    Asks their workers to report at once. Raises `SiteBehind` after ``timeout`` seconds, with where each site is, and
    `LogUnavailable`.
    """
    deadline = time.monotonic() + timeout
    proved: set[str] = set()
    refused: dict[str, Head] = {}  # positions that are of another history
    before = control.snapshot()
    control.publish(PositionAsked(group=group, sequence=target.sequence, asked_us=wall_us()))

    def fresh(view: ControlView) -> dict[str, Head]:
        heads = {site: _reported(view, group, site, target) for site in sites if site not in proved}
        return {site: head for site, head in heads.items() if head is not None and refused.get(site) != head}

    while True:
        there = control.wait_for(lambda view: bool(fresh(view)), max(0.0, deadline - time.monotonic()))
        view = control.snapshot()
        for site, head in fresh(view).items():
            if head == target or carries_head(log, head):
                proved.add(site)
            else:
                refused[site] = head
        if len(proved) >= applied_at:
            return
        if not there:
            answered = {
                site for site in sites if view.get(status_key(group, site)) != before.get(status_key(group, site))
            }
            raise _behind(group, target, applied_at, sites, proved, answered, view, timeout)


def _reported(view: ControlView, group: str, site: str, target: Head) -> Head | None:
    """The position that a site has reported, if it is far enough."""
    found = view.get(status_key(group, site))
    if not isinstance(found, SiteStatus) or found.sequence < target.sequence or found.state in NOT_GOOD:
        return None
    writer = target.writer if found.epoch == target.epoch else b""  # a report does not tell
    return Head(found.sequence, found.seal, found.epoch, writer, found.timestamp_us, found.offset)


def _behind(
    group: str,
    target: Head,
    applied_at: int,
    sites: Sequence[str],
    proved: set[str],
    answered: set[str],
    view: ControlView,
    timeout: float,
) -> SiteBehind:
    said = []
    for site in sites:
        found = view.get(status_key(group, site))
        if site in proved:
            said.append(f"{site} has")
        elif not isinstance(found, SiteStatus):
            said.append(f"{site} has never reported")
        elif found.state not in NOT_GOOD and found.sequence >= target.sequence:
            said.append(f"{site} is at {found.sequence} of another history")
        elif site in answered or found.state not in RUNNING:
            said.append(f"{site} is at {found.sequence} ({found.shown_state})")
        else:
            said.append(f"{site} has not answered; at {found.sequence} it was {found.shown_state}")
    return SiteBehind(
        f"sequence {target.sequence} is in the log and not applied at {applied_at} sites within {timeout:g} s:"
        f" {', '.join(said)}",
        group=group,
        hint="it is durable, and sites that run get there; see: tidelog status",
    )
