"""What `tidelog status` shows: each group with its sites, in a table if the terminal has room for one."""

from collections.abc import Container, Iterable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from tidelog.clock import iso
from tidelog.consumers.answers import Answer
from tidelog.consumers.catalogue import CatalogueCopy, SiteStanding
from tidelog.gateways.cli.hints import for_a_lost_writer, for_operators
from tidelog.gateways.cli.output import count_text, equal_text, make_table, seconds_text, short, size_text, state_text
from tidelog.gateways.cli.primary_text import primary_text
from tidelog.gateways.cli.rpo_text import mirrored_text, pacing_text, writer_text
from tidelog.gateways.cli.standing import Obstacle, obstacle_of, obstacles_of_several, problems
from tidelog.gateways.standing.observer import Observed
from tidelog.gateways.standing.sidefiles import sentence, state_word

ALARM_STYLE = "bold white on red"
COLUMNS = (
    *("site", "state", "applied", "behind", "not in log", "not applied", "in no copy", "RPO"),
    *("events/s", "data/s", "ETA", "newest copy", "reported", "worker"),
)
_TEXTS = ("site", "state", "newest copy", "reported", "worker")
_SPARED = ("worker", "reported", "applied")  # in this order, where there is not the room for all
_UNLIMITED = 100_000
WORST_FIRST = (
    *("HALTED", "NEEDS_REBUILD", "DIVERGED", "SILENT", "UNKNOWN", "STOPPED", "WAITING"),
    *("REBUILDING", "REPLAYING", "STARTING", "STREAMING"),
)


class StatusScreen:
    """All groups, as they were observed, in the width that there is. ``heading`` stands above them. With ``fitted``
    in the height, too: where not all has room, a line of each group comes first, the worst one's above, and the last
    line says how many are hidden."""

    def __init__(self, observed: Sequence[Observed], heading: Text | None = None, *, fitted: bool = False) -> None:
        self._observed, self._heading, self._fitted = observed, heading, fitted

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        above = [] if self._heading is None else [self._heading]
        if not self._fitted:
            yield from (*above, *_all(self._observed, console, options))
            return
        # Of a heading that has not the room so much is shown that the last line can say what is hidden.
        lines = _lines(above, console, options)[: max(1, options.size.height - 1)]
        room = options.size.height - len(lines)
        below = _lines(_all(self._observed, console, options), console, options)
        while below and _blank(below[-1]):
            below.pop()
        lines += below if len(below) <= room else _cut(self._observed, room, console, options)[:room]
        for line in lines:
            yield from (*line, Segment.line())


def _all(observed: Sequence[Observed], console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
    for group in observed:
        yield from (Text(f"ALARM: {alarm}", style=ALARM_STYLE) for alarm in [*group.alarms, *group.missed])
    if not observed:
        yield Text("no group yet; make one with: tidelog group create NAME")
    told = obstacles_of_several(observed)
    for obstacle, groups in told.items():
        yield from _obstacle(obstacle, f" ({groups})")
    for group in observed:
        yield from _group(group, told, console, options)


def _obstacle(obstacle: Obstacle, of: str = "") -> Iterator[RenderableType]:
    yield Text(f"{obstacle.site}: {obstacle.reason}{of}", style="red")
    if obstacle.hint:
        yield Text(f"  hint: {obstacle.hint}")


def _lines(shown: Iterable[RenderableType], console: Console, options: ConsoleOptions) -> list[list[Segment]]:
    return [line for each in shown for line in console.render_lines(each, options, pad=False)]


def _blank(line: list[Segment]) -> bool:
    return not any(segment.text.strip() for segment in line)


def _cut(observed: Sequence[Observed], room: int, console: Console, options: ConsoleOptions) -> list[list[Segment]]:
    """So many lines, the last of which says what is not among them."""
    worst_first = sorted(observed, key=_goodness)
    standings = _lines(map(_standing, worst_first), console, options)
    details = _lines(_all(worst_first, console, options), console, options)
    shown = max(0, room - 1)
    left = max(0, shown - len(standings))
    hidden = sum(not _blank(line) for line in details[left:])
    told = count_text(hidden, "line is", "lines are")
    if shown < len(standings):
        told = f"{count_text(len(standings) - shown, 'group')} and {told}"
    end = Text(f"{told} hidden: see a group alone with --group", style="bold", no_wrap=True, overflow="ellipsis")
    return [*standings[:shown], *details[:left], *_lines([end], console, options)]


def _goodness(group: Observed) -> tuple[bool, bool, int]:
    """The least of the worst group, by the verdict of `tidelog check`, then by its worst site."""
    found = [problem.critical for problem in problems([group])]
    return not any(found), not found, min(map(_rank, group.configured_sites), default=0)


def _rank(site: SiteStanding) -> int:
    return WORST_FIRST.index(site.state) if site.state in WORST_FIRST else len(WORST_FIRST)


def _standing(group: Observed) -> Text:
    """One line: the worst site's state, the worst RPO, and the first of what is wrong, with nothing said twice."""
    told: dict[str, str] = {}  # of a site whose state the line has, the rest
    sites, line = group.configured_sites, Text(no_wrap=True, overflow="ellipsis")
    line.append(group.standing.record.group, "bold")
    if sites:
        worst = min(sites, key=_rank)
        alike = [site.site for site in sites if site.state == worst.state]
        ages = [group.exposures[site.site].rpo for site in sites]
        rpo = max((age for age in ages if age is not None), default=None) if None not in ages else None
        told = {site.site: site.reason for site in sites if site.state == worst.state}
        where = alike[0] if len(alike) == 1 else f"{len(alike)} sites"
        line.append("  ").append_text(state_text(worst.state)).append(f" at {where}, RPO {seconds_text(rpo)}")
    found = sorted(problems([group]), key=lambda problem: not problem.critical)
    if found and (text := told.get(found[0].site, found[0].brief)):
        line.append(f"; {text}", "bold red" if found[0].critical else "yellow")
    return line


def _group(
    group: Observed, told: Container[Obstacle], console: Console, options: ConsoleOptions
) -> Iterator[RenderableType]:
    writer = writer_text(group.writer, group.newest, group.observed_us)
    if group.mirror is not None:
        writer = mirrored_text(group.mirror, group.newest, group.observed_us)
    yield Text.assemble(("group ", "dim"), (group.standing.record.group, "bold"), "  ", writer)
    if group.hint:
        yield Text(f"  hint: {for_operators(group.hint, group.standing.record.group)}")
    if group.writer_is_gone:
        yield Text(f"  hint: {for_a_lost_writer(group.standing.record.group)}")
    yield Text(f"primary {primary_text(group.chosen, group.configured, group.mirror)}")
    if (pacing := pacing_text(group.writer)) is not None:
        yield pacing
    for found in group.sidefiles:
        if state_word(found) == "undrained":
            yield Text(sentence(found), style="bold yellow")
    table = _fitting(group, console, options)
    if table is not None:
        yield table
    else:
        for site in group.standing.sites:
            yield from _stacked(group, site)
    for site in group.standing.sites:
        if site.reason and (obstacle := obstacle_of(site)) not in told:
            yield from _obstacle(obstacle)
    yield from (_newest_copy(group), Text())


def _fitting(group: Observed, console: Console, options: ConsoleOptions) -> Table | None:
    """The table with as many columns as there is room for; None if those that matter do not fit."""
    rows = [_cells(group, site) for site in group.standing.sites]
    numbers = [name for name in COLUMNS if name not in _TEXTS]
    for count in range(len(_SPARED) + 1):
        names = [name for name in COLUMNS if name not in _SPARED[:count]]
        made = make_table(names, [[row[name] for name in names] for row in rows], numbers)
        if Measurement.get(console, options.update_width(_UNLIMITED), made).maximum <= options.max_width:
            return made
    return None


def _cells(group: Observed, site: SiteStanding) -> dict[str, Text]:
    """A row, by column."""
    exposed, rates, status = group.exposures[site.site], group.rates[site.site], site.status
    plain = {
        "site": _name(site),
        "applied": "-" if status is None else str(status.sequence),
        "behind": "-" if site.lag_events is None else str(site.lag_events),
        "not in log": seconds_text(exposed.not_logged),
        "not applied": seconds_text(exposed.not_applied),
        "events/s": _number(rates.events),
        "data/s": "-" if rates.bytes is None else f"{size_text(round(rates.bytes))}/s",
        "ETA": seconds_text(rates.eta),
        "reported": "never" if status is None else f"{seconds_text(site.age_seconds)} ago",
        "worker": "-" if status is None else status.worker,
    }
    return {name: Text(text) for name, text in plain.items()} | {
        "state": state_text(site.state),
        "in no copy": _against(exposed.not_copied, exposed.copy_rpo, exposed.copy_objective),
        "RPO": _against(exposed.rpo, exposed.rpo, exposed.objective),
        "newest copy": _copy_text(group, site),
    }


def _stacked(group: Observed, site: SiteStanding) -> Iterator[RenderableType]:
    """A site in four lines, for a narrow terminal."""
    cells, eta = _cells(group, site), group.rates[site.site].eta
    reported = f"reported {cells['reported']}" if site.status is not None else "never reported"
    where = f"  at {cells['applied']}, {cells['behind']} behind, {reported}"
    yield Text.assemble((_name(site), "bold"), "  ", cells["state"], where)
    parts = f": {cells['not in log']} not in log, {cells['not applied']} not applied"
    arrives = f", at the end in {cells['ETA']}" if eta else ""
    for line in (
        Text.assemble("RPO ", cells["RPO"], parts),
        Text.assemble(cells["in no copy"], " in no copy; newest copy ", cells["newest copy"]),
        Text(f"{cells['events/s']} events/s, {cells['data/s']}{arrives}"),
    ):
        yield Padding(line, (0, 0, 0, 2))


def _name(site: SiteStanding) -> str:
    return site.site if site.configured else f"{site.site} (not configured)"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _against(shown: float | None, age: float | None, objective: float | None) -> Text:
    """An age and the objective, red where ``age`` misses it."""
    if objective is None:
        return Text(seconds_text(shown))
    missed = age is None or age > objective
    return Text(f"{seconds_text(shown)} of {seconds_text(objective)}", style="bold red" if missed else "")


def _copy_text(group: Observed, site: SiteStanding) -> Text:
    """How old the newest copy is that the site holds, and whether all sites have it alike."""
    copies = group.standing.copies
    copy = next((copy for copy in reversed(copies) if copy.answers.get(site.site) is Answer.FORMED), None)
    if copy is None:
        return Text("none")
    return Text.assemble(f"{_age(group, copy)} old, ", equal_text(copy.equal))


def _age(group: Observed, copy: CatalogueCopy) -> str:
    return seconds_text(max(0.0, (group.observed_us - copy.timestamp_us) / 1_000_000))


def _newest_copy(group: Observed) -> Text:
    copies = group.standing.copies
    if not copies:
        return Text("no copy yet")
    copy = copies[-1]
    digests = ", ".join(short(digest) for digest in sorted(copy.digests))
    waiting = f" (no answer from {', '.join(copy.missing)})" if copy.missing else ""
    number, age = count_text(len(copies), "copy", "copies"), _age(group, copy)
    made = f"{number}, the newest {copy.name} at sequence {copy.sequence}, {iso(copy.timestamp_us)}, {age} old: "
    return Text.assemble(made, equal_text(copy.equal), f" {digests}{waiting}")
