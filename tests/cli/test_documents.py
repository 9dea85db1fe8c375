"""docs/cli.md lists exactly the commands and exit codes that there are."""

import re
from pathlib import Path

import typer

from tidelog import errors
from tidelog.gateways.cli import exit_codes
from tidelog.gateways.cli.application import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def commands(command, path=("tidelog",)):
    below = getattr(command, "commands", None)
    if below is None:
        return {" ".join(path)}
    return {name for key, one in below.items() for name in commands(one, (*path, key))}


def all_errors():
    found, waiting = [], [errors.TidelogError]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += one.__subclasses__()
    return found


def test_every_command_is_documented_and_no_other():
    documented = set(re.findall(r"^### `(.*)`$", PAGE, re.MULTILINE))
    assert documented == commands(typer.main.get_command(app))


def test_every_exit_code_is_documented_and_no_other():
    table = PAGE.split("## Exit codes", 1)[1].split("\n## ", 1)[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert documented == set(exit_codes.EXIT_CODES)
    assert {error.exit_code for error in all_errors()} <= documented


def test_help_has_the_exit_codes(cli):
    shown = " ".join(cli("--help").text.split())
    for code, meaning in exit_codes.EXIT_CODES.items():
        assert f"{code} {meaning}" in shown


def test_every_command_has_help(cli):
    for command in commands(typer.main.get_command(app)):
        shown = cli(*command.split()[1:], "--help")
        assert shown.code == 0 and "Usage:" in shown.text


def test_the_version(cli):
    import tidelog

    assert cli("--version").text == f"tidelog {tidelog.__version__}\n"
