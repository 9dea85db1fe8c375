"""How things are shown: tables and words for people, versioned JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from tidelog.clock import iso
from tidelog.gateways.cli.invocation import Invocation
from tidelog.gateways.standing.documents import JSON_VERSION

NOTHING_CHANGED = "nothing was changed: this is what would be done"
SHORT_DIGEST = 12  # hexadecimal digits, for people
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")

STATE_STYLES = {
    "STREAMING": "green",
    "REPLAYING": "cyan",
    "STARTING": "cyan",
    "REBUILDING": "cyan",
    "STOPPED": "yellow",
    "WAITING": "yellow",
    "SILENT": "bold red",
    "UNKNOWN": "yellow",
    "HALTED": "bold red",
    "DIVERGED": "bold red",
    "NEEDS_REBUILD": "bold red",
}


def emit_json(invocation: Invocation, document: dict[str, Any]) -> None:
    """One document on stdout."""
    print(json.dumps({"version": JSON_VERSION} | document, indent=2), file=invocation.out.file)


def emit_json_line(invocation: Invocation, record: dict[str, Any]) -> None:
    """One line of a stream on stdout."""
    print(json.dumps({"version": JSON_VERSION} | record), file=invocation.out.file, flush=True)


def make_table(columns: Iterable[str], rows: Iterable[Sequence[str | Text]], right: Iterable[str] = ()) -> Table:
    """A table without lines; the columns named in ``right`` hold numbers."""
    numbers = set(right)
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for name in columns:
        made.add_column(Text(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return made


def emit_table(
    invocation: Invocation, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], right: Iterable[str] = ()
) -> None:
    """A table on stdout."""
    invocation.out.print(make_table(columns, rows, right))


def emit_facts(invocation: Invocation, facts: Iterable[tuple[str, str | Text]]) -> None:
    """Names and values, one a line, on stdout."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in facts:
        made.add_row(name, value if isinstance(value, Text) else Text(value))
    invocation.out.print(made)


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=STATE_STYLES.get(state, ""))


def equal_text(equal: bool | None) -> Text:
    """Whether sites agree: None means that not all have answered."""
    if equal is None:
        return Text("waiting", style="yellow")
    return Text("equal", style="green") if equal else Text("DIFFERS", style="bold white on red")


def short(value: bytes) -> str:
    """The first digits of a digest or seal."""
    return value.hex()[:SHORT_DIGEST]


def time_text(timestamp_us: int) -> str:
    """ISO 8601 in UTC with microseconds; ``-`` for never."""
    return iso(timestamp_us) if timestamp_us else "-"


def count_text(count: int, one: str, several: str = "") -> str:
    """``1 copy``, ``2 copies``; several are ``one`` with an s unless said."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def size_text(size: int) -> str:
    """``64 MiB``; exact where that is short, else with one decimal."""
    value, unit = float(size), "B"
    for larger in _UNITS:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"


def seconds_text(seconds: float | None) -> str:
    """``0.8 s``, ``12 s``, ``3 min``, ``5 h``, ``2 d``; ``-`` for unknown."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, divisor, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
