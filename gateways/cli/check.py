"""`tidelog check`: the verdict of `tidelog status` in one line, for people and for Nagios."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from tidelog.errors import TidelogError
from tidelog.gateways.cli.exit_codes import NAGIOS
from tidelog.gateways.cli.hints import for_a_lost_writer
from tidelog.gateways.cli.invocation import Invocation, of
from tidelog.gateways.cli.options import OnlyGroup
from tidelog.gateways.cli.output import count_text
from tidelog.gateways.cli.standing import exit_code_of, problems
from tidelog.gateways.standing.observer import Observed, Observer

app = typer.Typer()


@app.command("check")
def check(
    context: typer.Context,
    group: OnlyGroup = None,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="Nagios' exit codes (0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN) and perfdata.")
    ] = False,
) -> int:
    """One line: whether all is well, or what is wrong. Exit codes are those of `tidelog status`, unless --nagios.

    What helps where a writer is gone is said on stderr, without --nagios.
    """
    invocation = of(context)
    if nagios:
        return _for_nagios(invocation, group)
    observed = _observe(invocation, group)
    _print(invocation, one_line(observed))
    for found in observed:
        if found.writer_is_gone:
            invocation.say(f"hint: {for_a_lost_writer(found.standing.record.group)}")
    return exit_code_of(observed)


def _for_nagios(invocation: Invocation, group: str | None) -> int:
    """Whatever keeps us from looking is UNKNOWN: a plugin that cannot judge has not found anything wrong."""
    try:
        observed = _observe(invocation, group)
    except TidelogError as error:
        _print(invocation, _plain(f"TIDELOG UNKNOWN - {error}"))
        return NAGIOS["UNKNOWN"]
    _print(invocation, f"{one_line(observed)} | {' '.join(perfdata(observed))}".removesuffix(" | "))
    return NAGIOS[verdict(observed)]


def _observe(invocation: Invocation, group: str | None) -> list[Observed]:
    with Observer(invocation.deployment, group) as observer:
        return observer.observe()


def _print(invocation: Invocation, line: str) -> None:
    print(line, file=invocation.out.file)


def verdict(observed: Sequence[Observed]) -> str:
    """One of `NAGIOS`. Without any group there is nothing to judge: a wrong prefix looks like that."""
    if not observed:
        return "UNKNOWN"
    found = [problem.critical for problem in problems(observed)]
    return "OK" if not found else "CRITICAL" if any(found) else "WARNING"


def one_line(observed: Sequence[Observed]) -> str:
    """``TIDELOG OK - 2 groups, 3 sites, rpo 0.4s``, or the problems in place of the numbers, critical ones first."""
    word, found = verdict(observed), sorted(problems(observed), key=lambda problem: not problem.critical)
    if found:
        return _plain(f"TIDELOG {word} - {'; '.join(problem.text for problem in found)}")
    if not observed:
        return f"TIDELOG {word} - no group yet"
    sites = len({site.site for group in observed for site in group.configured_sites})
    ages = (group.exposures[site.site].rpo for group in observed for site in group.configured_sites)
    known = [age for age in ages if age is not None]
    rpo = f", rpo {max(known):.1f}s" if known else ""
    return f"TIDELOG {word} - {count_text(len(observed), 'group')}, {count_text(sites, 'site')}{rpo}"


def perfdata(observed: Sequence[Observed]) -> Iterator[str]:
    """``bank/tokyo/rpo=0.4s;5;5;0`` and the lag in events, of every group at every site; ``U`` where it is unknown. No
    name has a slash, and any may have what else stands in one: so no two labels are the same."""
    for group in observed:
        for site in group.configured_sites:
            exposed, label = group.exposures[site.site], f"{site.group}/{site.site}"
            limit = "" if exposed.objective is None else f"{exposed.objective:g}"
            rpo = "U" if exposed.rpo is None else f"{exposed.rpo:.1f}s"
            yield f"{label}/rpo={rpo};{limit};{limit};0"
            yield f"{label}/lag={'U' if site.lag_events is None else site.lag_events};;;0"


def _plain(text: str) -> str:
    """One line without the bar that begins perfdata."""
    return re.sub(r"\s+", " ", text.replace("|", "/"))
