"""`tidelog site rebuild --from`: what an operator types and sees."""

import json
import os
from pathlib import Path

import pytest

from tidelog.consumers.deployment import open_store
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_report import Phase
from tidelog.recovery.rebuild_survey import survey

COMMAND = ("site", "rebuild", "london", "-g", "bank")


@pytest.fixture
def copied(bank, sites):
    """Copies one and two at all sites, and writes behind them."""
    for name in ("one", "two"):
        assert bank("volume", "write", "ledger", "-g", "bank", stdin=name.encode() * 20_000).code == 0
        assert bank("pitc", "create", name, "-g", "bank", "--wait").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"behind").code == 0
    sequence = json.loads(bank("status", "--json").out)["groups"][0]["newest"]["sequence"]
    for site in ("tokyo", "osaka", "london"):
        assert sites.site(site).group("bank").wait_until(sequence)
    return bank


def text_of(result):
    return " ".join(result.text.split()), " ".join(result.err.split())


def test_the_plan_says_what_why_and_what_not(copied, deployment):
    before = open_store(deployment, "london", "bank").position()
    out, err = text_of(copied(*COMMAND, "--dry-run"))
    assert "from the log" in out and "brings every copy back" in out and "nothing was changed" in err
    assert "not from" in out and "copies one, two" in out
    done = copied(*COMMAND, "--from", "tokyo", "--dry-run")
    out, _ = text_of(done)
    assert done.code == 0 and "from copy two" in out and "at site tokyo" in out and "--from tokyo" in out
    assert "copies one do not come back" in out and "an estimate" in out and "loads" in out
    document = json.loads(copied(*COMMAND, "--from", "tokyo", "--copy", "one", "--dry-run", "--json").out)
    plan = document["plan"]
    assert (document["version"], document["changed"], plan["erase"]) == (1, False, True)
    assert (plan["from"]["kind"], plan["from"]["site"], plan["from"]["pitc"]) == ("site", "tokyo", "one")
    assert plan["copies_back"] == ["one", "two"] and plan["copies_lost"] == []
    assert plan["load_bytes"] > 0 and plan["seconds_estimated"] > 0 and plan["records"] > 0
    assert open_store(deployment, "london", "bank").position() == before


@pytest.mark.parametrize("worker_runs", [True, False])
def test_a_site_from_another(copied, sites, worker_runs):
    digests = [sites.site("london").group("bank").copy(name).digest() for name in ("one", "two")]
    if not worker_runs:
        sites.stop_site("london")
    done = copied(*COMMAND, "--from", "osaka", "--yes")
    _, err = text_of(done)
    assert done.code == 0 and "loaded from osaka and proved" in err and "copies one do not come back" in err
    with_store = open_store(sites.deployment, "london", "bank")
    assert with_store.rebuilding() is None
    assert [with_store.verify(copy) for copy in with_store.copies()] == digests[1:]
    shown = copied("volume", "read", "ledger", "-g", "bank", "-s", "london", "--offset", "0", "--length", "6")
    assert shown.out == b"behind"
    document = json.loads(copied(*COMMAND, "--from", "tokyo", "--copy", "one", "--yes", "--json").out)
    assert document["report"]["bytes_loaded"] > 0 and document["report"]["keys_erased"] > 0
    assert [(copy["name"], copy["equal"]) for copy in document["report"]["copies"]] == [("one", True), ("two", True)]


def test_it_goes_on_and_says_so(copied, deployment, sites):
    sites.stop_site("london")
    plan = plan_rebuild(survey(deployment, "london", "bank", Wanted("tokyo")))
    for progress in iter(Rebuild(deployment, plan)):
        if progress.phase is Phase.LOADING:
            break
    refused = copied("volume", "read", "ledger", "-g", "bank", "-s", "london")
    assert refused.code == 4 and "site rebuild london --group bank" in " ".join(refused.err.split())
    out, _ = text_of(copied(*COMMAND, "--dry-run"))
    assert "an earlier rebuild has loaded a part of it, and goes on" in out and "goes on behind block" in out
    done = copied(*COMMAND)  # nothing is erased any more, so nothing is asked
    assert done.code == 0 and "0 keys erased" in done.err


def test_from_an_export(copied, tmp_path: Path):
    place = str(tmp_path / "two")
    assert copied("pitc", "export", "two", "-g", "bank", "--to", place).code == 0
    done = copied(*COMMAND, "--from", place, "--yes")
    assert done.code == 0, done.err
    file = next((tmp_path / "two").glob("*.avro"))
    file.write_bytes(file.read_bytes()[:-1])
    damaged = copied(*COMMAND, "--from", place, "--yes")
    assert damaged.code == 3 and file.name in damaged.err
    assert copied("volume", "read", "ledger", "-g", "bank", "-s", "london", "--length", "6").out == b"behind"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--from", "paris"), 2, "no configured site"),
        (("--from", "london"), 2, "cannot be rebuilt from itself"),
        (("--from", "./nowhere"), 2, "there is no manifest.json"),
        (("--from", "log", "--copy", "one"), 2, "--from"),
        (("--copy", "one"), 2, "--from"),
        (("--from", "tokyo", "--copy", "nine"), 2, "no copy nine"),
        (("--from", "tokyo"), 2, "has no copy"),
    ],
)
def test_what_cannot_be(bank, deployment, arguments, code, said):
    """With copies nowhere."""
    before = open_store(deployment, "london", "bank").position().head.sequence
    done = bank(*COMMAND, *arguments, "--yes")
    assert done.code == code and said in " ".join(done.err.split()), done.err
    store = open_store(deployment, "london", "bank")
    assert store.position().head.sequence >= before and store.rebuilding() is None


def test_a_group_with_copies_nowhere_is_replayed(bank):
    document = json.loads(bank(*COMMAND, "--dry-run", "--json").out)["plan"]
    assert document["from"]["kind"] == "log" and "no other base" in document["why"]
    assert {one["what"] for one in document["not_from"]} == {"site tokyo", "site osaka"}


def test_the_question_names_what_does_not_come_back(copied, monkeypatch, deployment):
    """Typed wrong, nothing is changed."""
    asked = []
    monkeypatch.setattr("tidelog.gateways.cli.confirming.somebody_is_there", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda question, **_: asked.append(question) or "no")
    done = copied(*COMMAND, "--from", "tokyo")
    assert done.code == 2 and "not confirmed" in done.err
    assert "Copies one do not come back there" in asked[0]
    assert open_store(deployment, "london", "bank").rebuilding() is None


def test_a_process_that_runs_a_command_does_not_give_way_for_good(bank):
    """Only the command's own process does."""
    before = os.nice(0)
    assert bank("site", "rebuild", "osaka", "-g", "bank", "--yes").code == 0
    assert os.nice(0) == before
