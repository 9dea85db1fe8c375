"""One thing has one name: siblings among the commands take the same options, and say the same of them."""

import re
from functools import partial

import pytest
import typer

from tidelog.gateways.cli.application import app
from tidelog.testing.readiness import wait_until

# Commands about no group, or about all of them.
WITHOUT_A_GROUP = {
    "group create",
    "group list",
    "group mirror",
    "group schemas",
    "export verify",
    "config check",
    "config show",
}


def leaves(command, path=()):
    below = getattr(command, "commands", None)
    if below is None:
        return {" ".join(path): command}
    return {name: one for key, each in below.items() for name, one in leaves(each, (*path, key)).items()}


COMMANDS = leaves(typer.main.get_command(app))


def options(name):
    return {one for parameter in COMMANDS[name].params for one in (*parameter.opts, *parameter.secondary_opts)}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_short_and_long_names_go_together(name):
    """Wherever a command has an option, it is spelled as at every other one."""
    for long, short in (("--group", "-g"), ("--site", "-s"), ("--yes", "-y"), ("--input", "-i")):
        assert (long in options(name)) == (short in options(name)), (name, long)
    assert ("--group" in options(name)) == (name not in WITHOUT_A_GROUP)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_and_argument_says_what_it_is(name):
    for parameter in COMMANDS[name].params:
        assert (getattr(parameter, "help", None) or "").strip().endswith((".", ")")), (name, parameter.name)


def test_commands_that_took_a_group_by_its_place_take_it_by_its_option(bank):
    """And the other way round as before; once."""

    def alike(command):
        """But for times, and the widths of columns."""
        by_place, by_option = (
            re.sub(rb"\d[\d:.T-]*", b"", bank(*command, *group).out).split() for group in (["bank"], ["-g", "bank"])
        )
        return by_place == by_option

    for command in (
        ("group", "show"),
        ("log", "show"),
        ("log", "trim", "--dry-run"),
        ("sidefile", "drain"),
        ("sidefile", "keep"),
    ):
        assert bank(*command, "bank").code == bank(*command, "--group", "bank").code != 1
        # What is told of sites changes until they have reported.
        assert wait_until(partial(alike, command), timeout_s=20), command
        for wrong in ((*command,), (*command, "bank", "-g", "bank")):
            refused = bank(*wrong)
            assert refused.code == 2 and "say which group, once" in refused.err
    assert bank("group", "materialise", "clone", "-g", "bank", "--sequence", "2").code == 0
    assert bank("clone", "list", "-g", "bank").text.count("clone") >= 1
    assert bank("group", "materialise", "bank", "again", "--sequence", "2").code == 0
    assert bank("group", "materialise", "bank", "again", "-g", "bank", "--sequence", "2").code == 2
    assert bank("group", "materialise", "again", "--sequence", "2").code == 2


def test_lists_over_groups_can_be_of_one(bank):
    assert bank("group", "create", "orders").code == 0
    assert bank("pitc", "create", "both", "--groups", "bank,orders", "--in", "100ms").code == 0
    assert bank("pitc", "create", "one", "-g", "bank", "--in", "100ms").code == 0
    assert "both" in bank("pitc", "orders", "-g", "orders").text
    assert "one " not in bank("pitc", "orders", "-g", "orders").text
    assert bank("pitc", "orders", "-g", "nothing").code == 2
    assert "orders" not in bank("site", "status", "-g", "bank").text
    refused = bank("pitc", "cancel", "one", "-g", "orders")
    assert refused.code == 2 and "no copy by time was ordered under the name one" in refused.err
    assert bank("pitc", "cancel", "one", "-g", "bank").code == 0
