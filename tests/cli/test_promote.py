"""`tidelog site promote`, and which site is the primary in `status`, `group show` and `group list`; in memory."""

import json

import pytest

from tidelog.errors import Fenced


def primary_of(cli):
    (group,) = json.loads(cli("status", "--json").out)["groups"]
    return group["primary"]


def test_planned_and_back(bank, sites):
    """A dry run changes nothing; then the writer ends, and the one that opens next reads at the new primary."""
    assert primary_of(bank) == {
        "site": "tokyo",
        "chosen": False,
        "since": None,
        "epoch": None,
        "sequence": None,
        "before": None,
        "forced": None,
        "by": None,
    }
    application = sites.group("bank")
    application.volume("ledger").write(0, b"accepted")
    promote = ("site", "promote", "osaka", "--group", "bank")
    plan = json.loads(bank(*promote, "--dry-run", "--json").out)["plan"]
    assert not plan["done"] and plan["writer"]["epoch"] == application.session.epoch
    dry = bank(*promote, "--dry-run")
    assert dry.code == 0 and "is asked to flush and end" in dry.text and "tokyo (configured)" in dry.text
    assert not application.session.ended
    done = bank(*promote)
    assert done.code == 0 and "osaka for group bank; before: tokyo" in done.text, done.err
    assert "is asked to end" in done.err and "all in the log, up to sequence" in done.text
    with pytest.raises(Fenced, match="promoted to site osaka"):
        application.flush()
    found = primary_of(bank)
    assert (found["site"], found["chosen"], found["before"], found["forced"]) == ("osaka", True, "tokyo", False)
    assert f"primary osaka since {found['since']}" in bank("status").text
    assert json.loads(bank("group", "show", "bank", "--json").out)["primary"] == found
    assert f"osaka since {found['since']}" in bank("group", "show", "bank").text
    assert json.loads(bank("group", "list", "--json").out)["groups"][0]["primary"] == found
    assert f"osaka since {found['since']}" in bank("group", "list").text
    assert sites.group("bank").read_side.site == "osaka"
    back = json.loads(bank("site", "promote", "tokyo", "--group", "bank", "--json").out)["report"]
    assert back["before"] == "osaka" and [last["state"] for last in back["stopped"]] == ["CLOSED"]
    assert primary_of(bank)["site"] == "tokyo"


def test_the_primary_already(bank):
    promote = ("site", "promote", "osaka", "--group", "bank")
    assert bank(*promote).code == 0
    before = json.loads(bank("log", "show", "bank", "--json").out.splitlines()[-1])
    again = bank(*promote)
    assert again.code == 0 and "osaka is the primary of group bank already" in again.text
    assert "already" in bank(*promote, "--dry-run").text
    assert json.loads(bank(*promote, "--json").out)["report"] is None
    assert json.loads(bank("log", "show", "bank", "--json").out.splitlines()[-1]) == before


def test_forced(bank, sites):
    """Nobody is asked; the command says what that means, and one that writes need not wait for heartbeats then."""
    application = sites.group("bank")
    dry = bank("site", "promote", "osaka", "--group", "bank", "--force", "--dry-run")
    assert "is not asked" in dry.text
    done = bank("site", "promote", "osaka", "--group", "bank", "--force")
    assert done.code == 0 and "not asked" in done.text
    with pytest.raises(Fenced, match="promotion to osaka"):
        application.mark("late")
    assert bank("pitc", "create", "after", "-g", "bank").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nowhere", "-g", "bank"), 2, "no site 'nowhere' is configured"),
        (("osaka", "-g", "nothing"), 2, "there is no group nothing"),
        (("osaka",), 2, "--group"),
        (("osaka", "-g", "bank", "--timeout", "soon"), 2, "is no duration"),
    ],
)
def test_bad_input(bank, arguments, code, says):
    refused = bank("site", "promote", *arguments)
    assert refused.code == code and says in refused.err, refused


def test_a_site_that_has_never_run(cli, sites):
    assert cli("group", "create", "bank").code == 0
    sites.wait_for_store("tokyo", "bank")
    refused = cli("site", "promote", "osaka", "-g", "bank")
    assert refused.code == 2 and "no worker of site osaka" in refused.err
    assert "tidelog site run osaka" in refused.err
