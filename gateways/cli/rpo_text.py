"""A group's writer and what each site would lose, for people."""

from rich.text import Text

from tidelog.clock import iso
from tidelog.gateways.cli.output import seconds_text
from tidelog.gateways.cli.primary_text import source_text
from tidelog.recovery.rpo import Exposure, WriterStanding, WriterState
from tidelog.schemas.events import Event
from tidelog.schemas.mirrors import LogMirrored

RPO_COLUMNS = ("not in log", "not applied", "in no copy", "RPO")


def rpo_cells(site: Exposure) -> tuple[str | Text, ...]:
    """Under `RPO_COLUMNS`. An objective that is missed is red."""
    missed = site.objective is not None and (site.rpo is None or site.rpo > site.objective)
    copy_missed = site.copy_objective is not None and (site.copy_rpo is None or site.copy_rpo > site.copy_objective)
    return (
        seconds_text(site.not_logged),
        seconds_text(site.not_applied),
        Text(seconds_text(site.not_copied), style="bold red" if copy_missed else ""),
        Text(seconds_text(site.rpo), style="bold red" if missed else ""),
    )


def writer_text(writer: WriterStanding, newest: Event | None, observed_us: int) -> Text:
    """Whether somebody writes, idle or busy, has ended, or is silent."""
    if writer.state is WriterState.UNKNOWN:
        return Text("NOT SEEN: its log cannot be read", style="bold red")
    if newest is None:
        return Text("no writer yet", style="yellow")
    what = f"(epoch {newest.epoch}), newest event {_age_text(newest, observed_us)} old"
    if writer.state is WriterState.ALIVE:
        waiting = f", {seconds_text(writer.not_logged_seconds)} not yet in the log" if writer.not_logged_seconds else ""
        return Text(f"writer alive {what}{waiting}", style="green" if not waiting else "yellow")
    if writer.state is WriterState.CLOSED:
        return Text(f"no writer: closed in good order {what}", style="yellow")
    if writer.state is WriterState.ENDED and writer.report is not None:
        return Text(f"no writer: ended {what}: {writer.report.reason}", style="red")
    return Text(
        f"NO WORD FROM THE WRITER for {seconds_text(writer.silent_seconds)} {what}: killed, or cut off;"
        " what it had accepted since is unknown",
        style="bold red",
    )


def mirrored_text(mirror: LogMirrored, newest: Event | None, observed_us: int) -> Text:
    """In a writer's place, where the log is a mirror: what its writer does is known in its own region alone."""
    age = "no event yet"
    if newest is not None:
        age = f"newest event (epoch {newest.epoch}) {_age_text(newest, observed_us)} old"
    return Text(f"a mirror of {source_text(mirror)}: {age}; whether its writer lives is known there", style="yellow")


def _age_text(event: Event, observed_us: int) -> str:
    return seconds_text(max(0.0, (observed_us - event.timestamp_us) / 1_000_000))


def pacing_text(writer: WriterStanding) -> Text | None:
    """What the session does about sites that are too far behind, or has done; None if that is nothing."""
    report = writer.report
    if report is None or not report.paced_count:
        return None
    if not report.paced_since_us or writer.state is not WriterState.ALIVE:
        times = "once" if report.paced_count == 1 else f"{report.paced_count} times"
        return Text(f"pacing ({report.policy}) has fired {times} in this session; the last time, {report.paced_for}")
    doing = {
        "warn": "writes go on",
        "pace": f"each write is delayed by {report.delay_us / 1000:.1f} ms",
        "block": "writes are held",
    }.get(report.policy, report.policy)
    return Text(f"PACING since {iso(report.paced_since_us)}: {report.paced_for}; {doing}", style="bold yellow")
