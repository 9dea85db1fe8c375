"""Arguments and options that several commands share."""

from typing import Annotated

import typer

Group = Annotated[str, typer.Option("--group", "-g", help="The consistency group.")]
AtSite = Annotated[str | None, typer.Option("--site", "-s", help="Read at this site. Default: the primary.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout, versioned.")]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Fence a writer that is alive: its unflushed writes may be lost.")
]
Offset = Annotated[str, typer.Option("--offset", help="Where to begin, such as 4096 or 1MiB.")]
Length = Annotated[str | None, typer.Option("--length", help="How much, such as 512 or 64KiB. Default: to the end.")]
