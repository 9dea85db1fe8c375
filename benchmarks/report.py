"""Rows as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.arithmetic import Row


def print_rows(console: Console, rows: Sequence[Row]) -> None:
    """The table, and under it what each row rests on."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("what", min_width=36)
    for heading in ("value", "limit", "unit", "ratio", "of pairs", "goal", "met"):
        table.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for row in rows:
        pairs = f"{min(row.ratios):.3g} - {max(row.ratios):.3g}" if len(row.ratios) > 1 else "one run"
        met = "[green]yes[/green]" if row.met else "[red]no[/red]"
        numbers = (_number(row.value), _number(row.limit), row.unit, f"{row.ratio:.3f}", pairs)
        table.add_row(row.name, *numbers, str(row.goal), met)
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"[dim]{row.name}: {row.note}[/dim]", highlight=False)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """A list of objects: name, value, unit, limit, ratio, spread, goal, met."""
    path.write_text(json.dumps([row.as_json() for row in rows], indent=2) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
