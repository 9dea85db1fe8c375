"""Where sites stand, as rows of a table, what is wrong with it, and the exit code that it comes to."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.text import Text

from tidelog.consumers.catalogue import SiteStanding
from tidelog.gateways.cli.exit_codes import DEGRADED, HALTED, MISSED, OK
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.cli.output import seconds_text, state_text
from tidelog.gateways.cli.rpo_text import RPO_COLUMNS, rpo_cells
from tidelog.gateways.standing.observer import Observed
from tidelog.recovery.rpo import Exposure, WriterState

NAMED = 8  # groups, of many
COLUMNS = ("site", "state", "applied", "behind", *RPO_COLUMNS, "reported", "worker")
NUMBERS = ("applied", "behind", *RPO_COLUMNS)


class Problem(NamedTuple):
    """What is wrong, in a sentence, and whether somebody must look now."""

    critical: bool
    text: str
    brief: str  # the same, in a line that has named the group
    site: str = ""


def exit_code(
    sites: Iterable[SiteStanding], alarms: Iterable[str] = (), missed: Iterable[str] = (), *, writer_gone: bool = False
) -> int:
    """3 for an alarm, else 4 for a site that has halted, else 5 for an objective that is missed, else 3 for a site that
    is silent, unknown or stopped, or whose worker reports what is in its way, and for a writer that is gone. A site
    that is not configured is not judged."""
    if any(True for _ in alarms):
        return DEGRADED
    sites = [site for site in sites if site.configured]
    if any(site.stuck for site in sites):
        return HALTED
    if any(True for _ in missed):
        return MISSED
    return OK if all(site.well for site in sites) and not writer_gone else DEGRADED


def exit_code_of(observed: Sequence[Observed]) -> int:
    """The same of all that was observed."""
    sites = [site for group in observed for site in group.standing.sites]
    alarms = [alarm for group in observed for alarm in group.alarms]
    missed = [missed for group in observed for missed in group.missed]
    return exit_code(sites, alarms, missed, writer_gone=any(group.writer_is_gone for group in observed))


def problems(observed: Sequence[Observed]) -> Iterator[Problem]:
    """Critical: alarms, sites that wait for an operator, objectives that are missed. A warning: a site that is silent,
    unknown, stopped or says what is in its way, and a writer that has gone silent or has ended by an error."""
    for group in observed:
        yield from (Problem(True, text, text) for text in [*group.alarms, *group.missed])
        for site in group.configured_sites:
            if not site.well:
                said = f"{site.site} is {site.state}" + (f" ({site.reason})" if site.reason else "")
                yield Problem(site.stuck, f"group {site.group} at {said}", said, site.site)
        writer, name = group.writer, group.standing.record.group
        if not group.writer_is_gone:
            continue
        if writer.state is WriterState.SILENT:
            silent = f"for {seconds_text(writer.silent_seconds)}"
            yield Problem(
                False, f"no word from the writer of group {name} {silent}", f"no word from the writer {silent}"
            )
        elif writer.report is not None:
            ended = f"has ended: {writer.report.reason}"
            yield Problem(False, f"the writer of group {name} {ended}", f"the writer {ended}")


class Obstacle(NamedTuple):
    """What is in a site's way, in words that do not name the group."""

    site: str
    reason: str
    hint: str


def obstacle_of(site: SiteStanding) -> Obstacle:
    """As the site says it of one group."""
    return Obstacle(site.site, site.reason.removesuffix(f" (group {site.group})"), for_operators(site.hint, site.group))


def obstacles_of_several(observed: Iterable[Observed]) -> dict[Obstacle, str]:
    """Those that a site tells of more than one group, such as a Redis that does not answer, with the groups' names."""
    found: dict[Obstacle, list[str]] = {}
    for site in (site for group in observed for site in group.standing.sites if site.reason):
        found.setdefault(obstacle_of(site), []).append(site.group)
    return {obstacle: _names(groups) for obstacle, groups in found.items() if len(groups) > 1}


def _names(groups: Sequence[str]) -> str:
    more = f" and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
    return f"groups {', '.join(groups[:NAMED])}{more}"


def site_row(site: SiteStanding, exposed: Exposure) -> tuple[str | Text, ...]:
    """A row under `COLUMNS`."""
    status = site.status
    name = site.site if site.configured else f"{site.site} (not configured)"
    if status is None:
        return (name, state_text(site.state), "-", "-", *rpo_cells(exposed), "never", "-")
    return (
        name,
        state_text(site.state),
        str(status.sequence),
        "-" if site.lag_events is None else str(site.lag_events),
        *rpo_cells(exposed),
        f"{seconds_text(site.age_seconds)} ago",
        status.worker,
    )
