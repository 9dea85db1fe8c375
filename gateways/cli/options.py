"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from tidelog.errors import UsageError

Group = Annotated[str, typer.Option("--group", "-g", help="The consistency group.")]
GroupHere = Annotated[str | None, typer.Argument(metavar="GROUP", help="The consistency group.")]
GroupOption = Annotated[str | None, typer.Option("--group", "-g", help="The same as GROUP.")]
OnlyGroup = Annotated[str | None, typer.Option("--group", "-g", help="Only this group. Default: all.")]
OrderName = Annotated[str, typer.Argument(help="The ordered copy's name.")]
OfGroup = Annotated[
    str | None, typer.Option("--group", "-g", help="A group that it is of, to be sure; it goes from all of its groups.")
]
AtSite = Annotated[str | None, typer.Option("--site", "-s", help="Read at this site. Default: the primary.")]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout, versioned.")]
TakeOver = Annotated[
    bool, typer.Option("--take-over", help="Fence a writer that is alive: its unflushed writes may be lost.")
]
Offset = Annotated[str, typer.Option("--offset", help="Where to begin, such as 4096 or 1MiB.")]
Length = Annotated[str | None, typer.Option("--length", help="How much, such as 512 or 64KiB. Default: to the end.")]


def one_group(argument: str | None, option: str | None) -> str:
    """The group, however it was given. Raises `UsageError` unless it was once."""
    if (argument is None) == (option is None):
        raise UsageError("say which group, once: GROUP, or --group GROUP")
    return argument if argument is not None else str(option)
