"""Before what comes back from nowhere is deleted: a name is typed, unless --yes was said."""

import shlex
import sys

import typer

from tidelog.errors import UsageError
from tidelog.gateways.cli.invocation import Invocation


def confirm(invocation: Invocation, question: str, answer: str) -> None:
    """Raises `UsageError` unless somebody types ``answer``."""
    require_somebody(invocation)
    if typer.prompt(question, err=True) != answer:
        raise UsageError("not confirmed; nothing was changed")


def require_somebody(invocation: Invocation, *, plan: bool = True) -> None:
    """Raises `UsageError` where nobody can be asked; the hint is this command as it was typed, with --yes, and with
    --dry-run if it has a ``plan`` to show."""
    if not somebody_is_there():
        line = shlex.join(["tidelog", *invocation.arguments])
        show = f"; to see what would be done: {line} --dry-run" if plan else ""
        raise UsageError("nobody is there to confirm", hint=f"to go on unasked: {line} --yes{show}")


def somebody_is_there() -> bool:
    """Whether a terminal is there to type at."""
    return sys.stdin.isatty()
