"""`tidelog check`: one line and the exit codes, its own and Nagios', in every state."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import SITES, TOML, killed_writer
from tidelog.consumers.access import open_group
from tidelog.errors import LogUnavailable
from tidelog.gateways.standing.observer import Observer
from tidelog.gateways.web.documents import help_json
from tidelog.schemas.control import CopyFormed, SiteStatus, copy_key, status_key
from tidelog.schemas.reports import writer_key
from tidelog.testing.readiness import wait_until

ROOT = Path(__file__).parents[2]
PERFDATA = re.compile(r"[a-z0-9._/-]+=(U|[\d.]+s?);[\d.]*;[\d.]*;0")


@pytest.fixture
def config_file(tmp_path, request):
    """The objective is 30 s, unless a test gives another one, or "" for none."""
    path, rpo = tmp_path / "tidelog.toml", getattr(request, "param", "30s")
    path.write_text(TOML + (f'[groups.bank]\nrpo = "{rpo}"\n' if rpo else ""))
    return path


def nagios(cli, *arguments):
    """Exit code, text and perfdata of the one line; the line is as Nagios wants it."""
    done = cli("check", "--nagios", *arguments)
    assert done.text.count("\n") == 1 and done.text.endswith("\n") and done.text.count("|") <= 1
    text, _, data = done.text.strip().partition(" | ")
    word = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}[done.code]
    assert text.startswith(f"TIDELOG {word} - ")
    assert all(PERFDATA.fullmatch(each) for each in data.split())
    return done.code, text, data.split()


def comes_to(cli, code):
    """Waits for that verdict; its text and perfdata, of the same look."""
    found = []

    def there():
        found[:] = nagios(cli)
        return found[0] == code

    assert wait_until(there, timeout_s=60), found
    return found[1:]


def streaming(cli):
    assert wait_until(lambda: cli("status").text.count("STREAMING") == 3, timeout_s=60)


def test_all_is_well(bank):
    streaming(bank)
    text, data = comes_to(bank, 0)
    assert re.fullmatch(r"TIDELOG OK - 1 group, 3 sites, rpo \d+\.\ds", text)
    assert {each.partition("=")[0] for each in data} == {
        f"bank/{site}/{what}" for site in SITES for what in ("rpo", "lag")
    }
    assert all(re.search(r"/rpo=[\d.]+s;30;30;0$", each) for each in data if "/rpo=" in each)
    plain = []
    assert wait_until(lambda: plain.append(bank("check")) or plain[-1].code == 0, timeout_s=60)
    assert "|" not in plain[-1].text and plain[-1].text.startswith("TIDELOG OK - 1 group, 3 sites")


@pytest.mark.parametrize("config_file", [""], indirect=True)
def test_a_site_of_several_groups_is_one_site(bank):
    """The perfdata are of each."""
    assert bank("group", "create", "orders").code == 0
    found = []
    assert wait_until(lambda: found.append(nagios(bank)) or found[-1][0] == 0, timeout_s=60), found[-1]
    assert found[-1][1].startswith("TIDELOG OK - 2 groups, 3 sites") and len(found[-1][2]) == 12


def test_a_halted_site_is_critical(bank, deployment):
    log = deployment.cluster.log(deployment.cluster.find_group("bank"))
    log.appender().send(b"this is no event", lambda *_: None)
    text, _ = comes_to(bank, 2)
    assert "is HALTED (CorruptEvent: " in text
    assert bank("check").code == 4


@pytest.mark.parametrize("config_file", ["1s"], indirect=True)
def test_a_missed_objective_is_critical(bank, sites, deployment):
    """Its site has stopped besides, which alone would be a warning."""
    sites.stop_site("osaka")
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"x")
        group.flush()
    missed = "the RPO of group bank at osaka is "
    assert wait_until(lambda: missed in nagios(bank)[1], timeout_s=60), nagios(bank)
    code, text, data = nagios(bank)
    assert code == 2 and "in the log and not applied" in text and "group bank at osaka is STOPPED" in text
    assert text.index(missed) < text.index("is STOPPED")
    assert any(re.fullmatch(r"bank/osaka/rpo=[\d.]+s;1;1;0", each) for each in data)
    assert bank("check").code == 5


def test_a_silent_site_is_a_warning(bank, sites, deployment):
    streaming(bank)
    sites.stop_site("osaka")
    text, _ = comes_to(bank, 1)
    assert "group bank at osaka is STOPPED" in text
    control = deployment.cluster.control
    last = control.snapshot()[status_key("bank", "osaka")]
    assert isinstance(last, SiteStatus)
    control.publish(last.model_copy(update={"state": "STREAMING", "reported_us": last.reported_us - 10_000_000}))
    assert "group bank at osaka is SILENT" in comes_to(bank, 1)[0]
    assert bank("check").code == 3


def test_copies_that_differ_are_critical(bank, deployment):
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"x" * 5000)
        copy = group.mark("one")
        copy.wait(timeout=60)
    control = deployment.cluster.control
    receipt = control.snapshot()[copy_key("bank", copy.sequence, "one", "osaka")]
    assert isinstance(receipt, CopyFormed)
    control.publish(receipt.model_copy(update={"digest": bytes(16)}))
    text, _ = comes_to(bank, 2)
    assert "copy one of group bank" in text and "differs" in text
    assert bank("check").code == 3


def test_a_silent_writer_is_a_warning(bank, deployment):
    """The objective has not been missed yet."""
    streaming(bank)
    killed_writer(deployment)
    assert wait_until(lambda: "no word from the writer of group bank for" in nagios(bank)[1], timeout_s=60)
    assert nagios(bank)[0] in (1, 2)  # the latter once it has been silent for longer than the objective


@pytest.mark.parametrize("config_file", [""], indirect=True)
def test_a_writer_that_is_gone_is_told_by_every_exit_code_and_the_page(bank, deployment):
    """Without an objective nothing else is wrong. One that has closed in good order is no trouble."""
    streaming(bank)
    report = killed_writer(deployment)
    cause = "NetworkDown: the switch"
    for gone, said in (
        (report, "no word from the writer of group bank for"),
        (report.model_copy(update={"state": "ENDED", "reason": cause}), f"the writer of group bank has ended: {cause}"),
    ):
        deployment.cluster.control.publish(gone)
        assert comes_to(bank, 1)[0].startswith(f"TIDELOG WARNING - {said}")
        assert bank("status").code == bank("check").code == 3
        with Observer(deployment) as observer:
            (helped,) = help_json(observer.observe())
        assert (helped["site"], helped["group"]) == (None, "bank")
        assert f"  hint: {helped['hint']}\n" in bank("status").text
        assert bank("check").err == f"hint: {helped['hint']}\n" and not bank("check", "--nagios").err
        assert (ROOT / "docs" / "runbooks" / "rpo-alarm.md").is_file() and "runbooks/rpo-alarm.md" in helped["hint"]
    (command,) = helped["commands"]
    assert bank(*command.split()[1:]).code == 0
    comes_to(bank, 0)
    assert "hint:" not in bank("status").text and not bank("check").err
    closed = deployment.cluster.control.snapshot()[writer_key("bank")]
    assert (closed.state, closed.epoch) == ("CLOSED", report.epoch + 1)
    assert bank("status").code == bank("check").code == 0


def test_kafka_away_is_unknown(bank, deployment, monkeypatch):
    """A plugin that cannot look has found nothing wrong. Without --nagios it is the error that it always is."""

    def away(*_):
        raise LogUnavailable("Kafka at | does not answer", hint="is it up?")

    monkeypatch.setattr(deployment.cluster.control, "snapshot", away)
    code, text, data = nagios(bank)
    assert (code, data) == (3, []) and text == "TIDELOG UNKNOWN - Kafka at / does not answer"
    done = bank("check")
    assert (done.code, done.out) == (11, b"") and "hint: is it up?" in done.err


def test_what_is_not_there_cannot_be_judged(cli, config_file):
    """No group, none of that name, and no configuration that can be read."""
    assert nagios(cli)[:2] == (3, "TIDELOG UNKNOWN - no group yet")
    cli("group", "create", "bank")
    code, text, _ = nagios(cli, "--group", "nowhere")
    assert code == 3 and "nowhere" in text
    code, text, data = nagios(cli, "--group", "bank")
    assert code == 2 and "is unknown; its objective is 30 s" in text and "bank/osaka/rpo=U;30;30;0" in data
    assert nagios(cli, "--grup", "bank")[0] == 3  # else it would be CRITICAL
    assert cli("check", "--grup", "bank").code == 2
    config_file.write_text("[nothing]\n")
    assert cli("check", "--nagios").code == 3


def test_a_group_that_cannot_be_looked_at_is_critical_and_hides_no_other(bank, deployment):
    """Its topic was deleted: every command says so, and goes on with the other groups. By its name it is the error."""
    streaming(bank)
    assert bank("group", "create", "gone").code == 0
    deployment.cluster._logs.pop(deployment.cluster.find_group("gone").topic)
    code, text, data = nagios(bank)
    assert code == 2 and "group gone cannot be looked at: there is no topic" in text
    assert any(re.match(r"bank/osaka/rpo=[\d.]+s", each) for each in data) and "gone/osaka/lag=U;;;0" in data
    assert bank("check").code == bank("status").code == 3
    told = bank("site", "status", "osaka")
    assert told.code == 3 and "ALARM: group gone cannot be looked at" in told.text
    shown = bank("status").text
    assert "ALARM: group gone cannot be looked at" in shown and "NOT SEEN" in shown and shown.count("STREAMING") == 3
    found = json.loads(bank("status", "--json").out)
    assert [(group["group"], bool(group["problem"])) for group in found["groups"]] == [("bank", False), ("gone", True)]
    lines = bank("metrics").text.splitlines()
    assert 'tidelog_group_seen{group="bank"} 1.0' in lines and 'tidelog_group_seen{group="gone"} 0.0' in lines
    assert 'tidelog_group_sequence{group="gone"} +Inf' in lines and 'tidelog_group_alarms{group="gone"} 1.0' in lines
    assert bank("status", "--group", "gone").code == bank("check", "--group", "gone").code == 2


def test_what_helps_is_said_of_a_group_that_cannot_be_looked_at(bank, deployment):
    """In every form: here its key is missing on this machine."""
    streaming(bank)
    assert bank("group", "create", "sealed").code == 0
    record = deployment.cluster.find_group("sealed")
    deployment.cluster.control.publish(record.model_copy(update={"keyed": True}))
    found = json.loads(bank("status", "--json").out)["groups"][1]
    assert "there is no key for it" in found["problem"] and "groups.sealed" in found["hint"]
    for command in (("status",), ("site", "status")):
        shown = " ".join(bank(*command).text.split())
        assert shown.count("cannot be looked at") == 1
        assert found["hint"] in shown  # more than once where workers have halted on it and say so, too
    with Observer(deployment) as observer:
        helped = next(one for one in help_json(observer.observe()) if one["what"] == "group")
    assert (helped["group"], helped["reason"], helped["hint"]) == ("sealed", found["problem"], found["hint"])
    assert helped["commands"] == ["tidelog group show sealed"]


def test_a_site_that_was_retired_is_shown_and_judged_no_more(bank, sites, deployment):
    """Its last word would be SILENT, a missed objective and a copy that is missing, for ever."""
    sites.stop_site("london")
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"x" * 5000)
        group.mark("one").wait(sites=SITES[:2], timeout=60)
    control = deployment.cluster.control
    last = control.snapshot()[status_key("bank", "london")]
    control.publish(last.model_copy(update={"state": "HALTED", "reason": "LogGap: gone", "reported_us": 1_000_000}))
    assert comes_to(bank, 2)[0].count("london") >= 1
    there = deployment.config.sites
    deployment.config = deployment.config.model_copy(update={"sites": {site: there[site] for site in SITES[:2]}})
    text, data = comes_to(bank, 0)
    assert "1 group, 2 sites" in text and not any("london" in each for each in data)
    assert wait_until(lambda: bank("status").code == bank("check").code == 0, timeout_s=60)
    assert "london (not configured)" in bank("status").text
    (shown,) = json.loads(bank("status", "--json").out)["groups"]
    assert shown["newest_copy"]["equal"] is True and shown["objectives_missed"] == []
    london = next(site for site in shown["sites"] if site["site"] == "london")
    assert (london["configured"], london["state"], london["rpo_objective_seconds"]) == (False, "HALTED", None)
    lines = bank("metrics").text.splitlines()
    assert not any('site="london"' in line for line in lines)
    assert 'tidelog_group_copies_waiting{group="bank"} 0.0' in lines


def test_labels_of_perfdata_are_apart(cli, deployment, config_file):
    """Names may have each other's ends: group a_b at c, and group a at b_c."""
    config_file.write_text("")
    deployment.config = deployment.config.model_copy(
        update={"sites": dict.fromkeys(("c", "b_c"), deployment.config.sites["tokyo"])}
    )
    for name in ("a_b", "a"):
        assert cli("group", "create", name).code == 0
    labels = [each.partition("=")[0] for each in nagios(cli)[2]]
    assert len(set(labels)) == len(labels) == 8
