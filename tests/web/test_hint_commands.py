"""The commands beside a site that has halted are those that its hint names, whole, and exist."""

import shlex

import pytest
import typer

from tests.cli.test_hints import hints
from tidelog.errors import REBUILD, ROLLBACK
from tidelog.gateways.cli.application import app
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.web.documents import commands_in


@pytest.mark.parametrize(
    ("hint", "commands"),
    [
        (f"rebuild it: {REBUILD}", [REBUILD]),
        (f"wait for it, or run it again: {ROLLBACK}. If it cannot end: {REBUILD} --from-scratch", [
            ROLLBACK, f"{REBUILD} --from-scratch",
        ]),
        (for_operators(f"with: {REBUILD}"), [REBUILD]),
        ("tidelog pitc list shows those that there are", ["tidelog pitc list"]),
        ("`tidelog group create` makes one; upgrade tidelog", ["tidelog group create"]),
        ("see tidelog status, and again tidelog status", ["tidelog status"]),
        ("this is a bug in tidelog", []),
        ("tidelog needs Kafka 2.5 or later", []),
        ("tidelog clone drop v1.2 --group bank --site osaka", ["tidelog clone drop v1.2 --group bank --site osaka"]),
    ],
)  # fmt: skip
def test_commands_in(hint: str, commands: list[str]) -> None:
    """Up to the end of the clause."""
    assert commands_in(hint) == commands


def test_every_hint_of_ours_gives_commands_that_are_there() -> None:
    """Whatever the hints of the sources are."""
    tree, seen = typer.main.get_command(app), 0
    for hint in hints().values():
        for command in commands_in(for_operators(hint)):
            words = shlex.split(command)[1:]
            below = tree.commands[words[0]]  # type: ignore[attr-defined]
            assert not hasattr(below, "commands") or len(words) == 1 or words[1] in below.commands, (command, hint)
            seen += 1
    assert seen > 30
