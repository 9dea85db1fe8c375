"""A hint at the command line can be typed: no library call, and no group left open where it is known."""

import ast
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import typer

from tidelog.errors import UsageError
from tidelog.gateways.cli.application import app
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.exports.place import place_of
from tidelog.gateways.extras import Extra, installation
from tidelog.testing.readiness import wait_until

ROOT = Path(__file__).parents[2]
FOLDERS = ("schemas", "stores", "producers", "consumers", "recovery", "gateways")
CALL = re.compile(r"\b(group|volume|session|copy|site|open_group)\.\w+\(|\b(group\.mark|writer session makes)\b")

PROSE = ("writer", "never", "needs")  # what follows the name where a sentence is about tidelog


def hints() -> dict[str, str]:
    """Every hint that stands in the source, by place; what is filled in is left out. Twins in memory have no command
    line."""
    found = {}
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            if path.name.startswith("memory"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "hint":
                    parts = (part for part in ast.walk(node.value) if isinstance(part, ast.Constant))
                    text = "".join(str(part.value) for part in parts if isinstance(part.value, str))
                    found[f"{path.relative_to(ROOT)}:{node.value.lineno}"] = text
    return found


def test_no_hint_names_a_call():
    """As the library says it some do; as the command line says it none does."""
    found = hints()
    assert len(found) > 100
    assert any(CALL.search(hint) for hint in found.values())
    assert {place: hint for place, hint in found.items() if CALL.search(for_operators(hint))} == {}


def test_the_commands_that_hints_name_are_there():
    """`tidelog volume resize`, and every other."""
    tree = typer.main.get_command(app)
    for place, hint in hints().items():
        for first, second in re.findall(r"tidelog ([a-z]+)(?: ([a-z]+))?", for_operators(hint)):
            command = tree.commands.get(first)
            if command is None and first in PROSE:
                continue
            assert command is not None, (place, hint)
            below = getattr(command, "commands", None)
            assert below is None or second in below, (place, hint)


def test_what_an_operator_is_told(bank):
    """Too small a volume: the command that grows it, with the group filled in, and it works."""
    beyond = bank("volume", "write", "ledger", "-g", "bank", "--offset", "1MiB", stdin=b"x")
    exists = bank("volume", "create", "ledger", "-g", "bank", "--size", "2MiB")
    for refused in (beyond, exists):
        assert refused.code == 2
        assert (
            "tidelog volume resize NAME --group bank --size SIZE" in refused.err and "volume.resize" not in refused.err
        )
    assert bank("volume", "resize", "ledger", "--group", "bank", "--size", "2MiB").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", "--offset", "1MiB", stdin=b"x").code == 0


def test_a_hint_that_names_a_command_which_asks_says_so(bank, sites):
    """And where nobody is there to be asked, the hint is the command to copy; it does what it says."""
    sites.stop_site("osaka")
    sites.deployment.keyspace("osaka", "bank").data.clear()
    sites.site("osaka")
    assert wait_until(lambda: bank("status").code == 4, timeout_s=10)
    for command in (("status",), ("site", "status", "osaka")):
        shown = " ".join(bank(*command).text.split())
        assert "tidelog site rebuild osaka --group bank (it asks before it changes anything" in shown
    refused = bank("site", "rebuild", "osaka", "--group", "bank")
    assert refused.code == 2
    (line,) = re.findall(r"to go on unasked: tidelog (.*?);", " ".join(refused.err.split()))
    assert line.endswith("site rebuild osaka --group bank --yes")
    (plan,) = re.findall(r"what would be done: tidelog (.*)", refused.err)
    config = ("--config", shlex.split(line)[1])
    for again in (plan, line):
        assert tuple(shlex.split(again)[:2]) == config
        assert bank(*shlex.split(again)[2:]).code == 0
    assert wait_until(lambda: bank("status").code == 0, timeout_s=10)


def test_hints_name_extras_as_the_package_has_them():
    """In one place, for all that tell how one is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {*get_args(Extra), "dev"} == project["optional-dependencies"].keys()
    assert installation("web") == f"pip install '{project['name']}[web]'"
    sources = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    assert [path.name for path in sources if "tidelog[" in path.read_text()] == ["extras.py"]


def test_a_place_that_needs_an_extra_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as where it is not installed
    with pytest.raises(UsageError, match="s3://") as raised:
        place_of("s3://bucket/folder")
    assert raised.value.hint == "pip install 'tidelog[s3]'"
