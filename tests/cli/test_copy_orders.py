"""`tidelog pitc create --at | --in`, `orders`, `cancel`: copies by time, of one group or several."""

import json
import re

import pytest

from tidelog.clock import iso, wall_us
from tidelog.consumers.access import open_group
from tidelog.consumers.deployment import open_store
from tidelog.schemas.control import answer_key, status_key
from tidelog.schemas.reports import writer_key
from tidelog.testing.readiness import wait_until


@pytest.fixture
def beating(bank, deployment):  # noqa: ARG001 (makes the group)
    """The group `bank` with a writer that is alive: time passes in it."""
    with open_group("bank", deployment=deployment) as group:
        yield group


def test_one_time_over_two_groups(bank, sites, beating, deployment):
    assert bank("group", "create", "orders").code == 0
    for site in ("tokyo", "osaka", "london"):
        sites.wait_for_store(site, "orders")
    with open_group("orders", deployment=deployment):
        done = bank("pitc", "create", "noon", "--groups", "bank,orders", "--in", "1s", "--wait", "--json")
        assert done.code == 0, done.err
        document = json.loads(done.text)
        assert document["complete"] and document["groups"] == ["bank", "orders"]
        assert {site: found["groups"] for site, found in document["sites"].items()} == {
            site: {"bank": "formed", "orders": "formed"} for site in ("tokyo", "osaka", "london")
        }
        assert all(found["recoverable_us"] > 0 for found in document["sites"].values())
        shown = bank("pitc", "orders")
        assert shown.code == 0 and shown.text.count("COMPLETE") == 2 and "recoverable time of bank,orders" in shown.err
        (copy,) = json.loads(bank("pitc", "list", "-g", "bank", "--json").text)["copies"]
        assert (copy["name"], copy["equal"]) == ("noon", True)
        beating.create_volume("v", "64KiB")


def test_waiting_begins_before_the_command_is_read_back(bank, beating, deployment, monkeypatch):
    """On Kafka the view that is waited on may not have got to the command yet."""
    control, asked = deployment.cluster.control, []
    wait_for = control.wait_for

    def late(predicate, timeout):
        asked.append(predicate({}))
        return wait_for(predicate, timeout)

    monkeypatch.setattr(control, "wait_for", late)
    assert bank("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait").code == 0
    assert asked[0] is False and beating.name == "bank"


@pytest.mark.parametrize("within", ["500ms", "0s"])
def test_a_time_that_nobody_reaches(bank, within):
    """Without a writer the group's time stands still, also if the command is given after the time that it names: it
    says who has not answered, and 3."""
    done = bank("pitc", "create", "noon", "-g", "bank", "--in", within, "--wait", "--timeout", "300ms")
    assert done.code == 3 and "pending" in done.text
    said = done.err.splitlines()
    assert said[1] == "waiting for tokyo, osaka, london to have it, for at most 300ms from that time on"
    assert said[2] == "no writer of group bank is heard of here" and said[3].startswith("hint: ")
    assert done.err.count("hint: ") == done.err.count("goes on with its writer") == 1
    assert bank("pitc", "orders").code == 0  # nothing is missing yet


def test_a_site_whose_store_does_not_answer_is_what_is_in_the_way(bank, sites, beating, deployment):
    """And not the writer, which is alive: said at once, and once."""
    control = deployment.cluster.control
    assert control.wait_for(lambda view: writer_key("bank") in view and view[writer_key("bank")].state == "OPEN", 60)
    sites.stop_site("osaka")
    waits = {"state": "WAITING", "reason": "StoreUnavailable: nobody answers", "reported_us": wall_us() + 600_000_000}
    control.publish(control.snapshot()[status_key("bank", "osaka")].model_copy(update=waits))
    done = bank("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait", "--timeout", "3s")
    told = "bank at osaka is WAITING (StoreUnavailable: nobody answers); see: tidelog status"
    assert done.code == 3 and done.err.splitlines()[2] == told and done.err.count(told) == 1
    assert "pending: bank at osaka\n" in done.err and "hint: " not in done.err and beating.session.ready


def test_a_site_that_is_down(bank, sites, beating):
    """At the end of the waiting: 3, and of each site whether it has answered; the copy is there when it comes back."""
    sites.stop_site("osaka")
    ordered = ("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait", "--timeout")
    done = bank(*ordered, "3s")
    assert done.code == 3 and beating.session.ready
    head, row = (line.split() for line in done.text.splitlines() if "noon" in line or "time" in line)
    answers = dict(zip(head[-4:-1], row[-3:], strict=True))  # behind them, of the set: nothing yet
    assert answers == {"tokyo": "formed", "osaka": "pending", "london": "formed"}
    assert "pending: bank at osaka\n" in done.err and "COMPLETE" not in done.text
    assert "tidelog status" in done.err
    again = bank(*ordered[:2], "later", *ordered[3:], "3s", "--json")
    document = json.loads(again.text)
    assert again.code == 3 and not document["complete"]
    assert {site: found["groups"]["bank"] for site, found in document["sites"].items()} == answers
    sites.site("osaka")
    assert wait_until(lambda: bank("pitc", "orders").text.count("COMPLETE") == 2, timeout_s=20)


def test_a_time_that_is_past(bank, beating):
    """Sites are past it: they make the copy late, and it is as good as any."""
    beating.create_volume("v", "64KiB").write(0, b"before")
    beating.flush()
    at = iso(wall_us())
    beating.volume("v").write(0, b"behind")
    beating.mark("m").wait(["tokyo", "osaka", "london"])
    done = bank("pitc", "create", "noon", "-g", "bank", "--at", at, "--wait")
    assert done.code == 0 and "s ago" in done.err and "COMPLETE" in done.text, done.err
    shown = json.loads(bank("pitc", "orders", "--json").text)["orders"][0]
    assert shown["complete"] and shown["sites"]["osaka"]["reasons"] == {}
    assert bank("volume", "read", "v", "-g", "bank", "--pitc", "noon", "--length", "6").out == b"before"


def test_a_time_is_told_as_it_was_asked_for(bank):
    """One that lies in the future is never "ago", however long it takes to order it."""
    at = iso(wall_us() + 3_600_000_000)
    for name, asked, said in (
        ("at-once", ("--in", "0s"), r", 0 s after it was asked for$"),
        ("soon", ("--in", "1.5m"), r", 90 s after it was asked for$"),
        ("in-an-hour", ("--at", at), rf" at {at}, \d+\.\d s from now$"),
    ):
        done = bank("pitc", "create", name, "-g", "bank", *asked)
        assert done.code == 0 and re.search(said, done.err, re.MULTILINE), done.err


def test_a_time_that_nothing_reaches_back_to(bank, beating, deployment):
    """Said with the reason, at once, and 3."""
    beating.create_volume("v", "64KiB")
    at = iso(wall_us())
    beating.mark("m").wait(["tokyo", "osaka", "london"])
    log = deployment.cluster.log(deployment.cluster.find_group("bank"))
    log.trim(deployment.cluster.log(deployment.cluster.find_group("bank")).bounds().end - 1)
    done = bank("pitc", "create", "noon", "-g", "bank", "--at", at, "--wait", "--timeout", "60s")
    assert done.code == 3 and "out of window" in done.text and "the log begins at offset" in done.err
    assert bank("pitc", "orders").code == 3
    control = deployment.cluster.control  # the first site that cannot ends the waiting, others say so in their time
    key = answer_key("bank", "noon", "osaka")
    assert control.wait_for(lambda view: key in view and view[key].state == "OUT_OF_WINDOW", 20)
    answers = json.loads(bank("pitc", "orders", "--json").text)["orders"][0]["sites"]["osaka"]
    assert answers["groups"] == {"bank": "out_of_window"} and "log begins" in answers["reasons"]["bank"]


def test_taking_it_back(bank, beating):
    assert bank("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait").code == 0
    (order,) = json.loads(bank("pitc", "orders", "--json").text)["orders"]
    taken_back = bank("pitc", "cancel", "noon", "--json")
    told = {"version": 1} | {key: order[key] for key in ("name", "groups", "time", "at_us")} | {"cancelled": True}
    assert (taken_back.code, json.loads(taken_back.text)) == (0, told)
    assert json.loads(bank("pitc", "orders", "--json").text)["orders"] == []
    again = bank("pitc", "cancel", "noon")
    assert again.code == 2 and "no copy by time" in again.err
    assert beating.name == "bank"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--group", "bank", "--at", "yesterday"), "no time"),
        (("--group", "bank", "--at", "2001-01-01T00:00:00Z"), "before group bank began"),
        (("--group", "bank", "--at", "2999-01-01T00:00:00Z"), "days from now"),
        (("--group", "bank", "--in", "5s", "--at", "2999-01-01T00:00:00Z"), "exclude each other"),
        (("--groups", "bank,nobody", "--in", "5s"), "no group nobody"),
        (("--groups", "bank,", "--in", "5s"), "no group"),
        (("--groups", "bank"), "by time"),
        (("--groups", "bank", "--group", "bank", "--in", "5s"), "a --group, or"),
        ((), "a --group, or"),
        (("--group", "bank", "--in", "5s", "--take-over"), "by marker"),
    ],
)
def test_what_cannot_be(bank, arguments, says):
    refused = bank("pitc", "create", "noon", *arguments)
    assert refused.code == 2 and says in refused.err
    assert json.loads(bank("pitc", "orders", "--json").text)["orders"] == []


def test_a_time_may_have_an_offset(bank):
    """What people write: another zone, lower case, a fraction."""
    at = wall_us() + 3_600_000_000
    local = iso(at).replace("Z", "+00:00").lower()
    done = bank("pitc", "create", "noon", "-g", "bank", "--at", local, "--json")
    assert done.code == 0 and json.loads(done.text)["at_us"] == at


def test_a_sites_own_retention(bank, beating, config_file, deployment):
    """Explained, then applied, at that site alone; what went is shown as dropped, and is no alarm."""
    for name in ("one", "two"):
        assert bank("pitc", "create", name, "-g", "bank", "--in", "500ms", "--wait").code == 0
    refused = bank("pitc", "retention", "-g", "bank", "--site", "osaka")
    assert refused.code == 2 and "sites.osaka" in refused.err
    assert bank("pitc", "retention", "-g", "bank", "--site", "paris").code == 2
    config_file.write_text(config_file.read_text() + "[sites.osaka]\nkeep = {last = 1}\n")
    explained = bank("pitc", "retention", "-g", "bank", "--site", "osaka", "--dry-run")
    assert explained.code == 0 and "1 of 2 copies by time of group bank at site osaka would be dropped" in explained.err
    applied = json.loads(bank("pitc", "retention", "-g", "bank", "--site", "osaka", "--json").text)
    assert [(copy["name"], copy["decision"]) for copy in applied["copies"]] == [("one", "drop"), ("two", "keep")]
    assert (applied["site"], applied["dry_run"]) == ("osaka", False)
    assert wait_until(lambda: "dropped" in bank("pitc", "orders").text, timeout_s=10)
    shown = json.loads(bank("pitc", "orders", "--json").text)
    (one,) = [order for order in shown["orders"] if order["name"] == "one"]
    assert {site: found["groups"]["bank"] for site, found in one["sites"].items()} == {
        "tokyo": "formed",
        "osaka": "dropped",
        "london": "formed",
    }
    assert bank("pitc", "orders").code == 0
    listed = {copy["name"]: copy for copy in json.loads(bank("pitc", "list", "-g", "bank", "--json").text)["copies"]}
    assert listed["one"]["sites"]["osaka"]["answer"] == "dropped" and listed["one"]["equal"] is True
    assert open_store(deployment, "tokyo", "bank").copy("one") and beating.session.ready


def test_a_volume_is_restored_from_a_copy_by_time(bank, sites, beating):
    """No event names such a copy: its data go through the log, to every site."""
    ledger = beating.volume("ledger")
    ledger.write(0, b"before")
    beating.flush()
    assert bank("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait").code == 0
    ledger.write(0, b"behind")
    beating.close()
    done = bank("volume", "restore", "ledger", "-g", "bank", "--pitc", "noon", "--json")
    told = json.loads(done.text)
    assert (told["by"], told["blocks"], told["pitc"]) == ("data", 1, "noon")
    for site in ("tokyo", "osaka", "london"):
        assert sites.site(site).group("bank").wait_until(told["sequence"])
        assert bank("volume", "read", "ledger", "-g", "bank", "--site", site, "--length", "6").out == b"before"


def test_one_name_is_one_copy(bank, sites, beating):
    """A marker's name is refused for a copy by time before any site has answered, and the other way round."""
    for site in ("tokyo", "osaka", "london"):
        sites.stop_site(site)
    beating.mark("end")
    taken = bank("pitc", "create", "end", "-g", "bank", "--in", "5s")
    assert taken.code == 2 and "exists" in taken.err
    assert bank("pitc", "create", "noon", "-g", "bank", "--in", "60s").code == 0
    beating.close()
    taken = bank("pitc", "create", "noon", "-g", "bank")
    assert taken.code == 2 and "ordered already" in taken.err
    assert bank("pitc", "create", "auto-20261125t180000z", "-g", "bank", "--in", "5s").code == 2


def test_locked_kept_and_dropped_by_its_command(bank, beating, deployment):
    """`pitc lock`, `keep` and `cancel` are for copies by time too; `drop` says what is."""
    assert bank("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait").code == 0
    assert bank("pitc", "keep", "noon", "-g", "bank").code == 0
    done = bank("pitc", "lock", "noon", "-g", "bank", "--for", "1d", "--json")
    until = json.loads(done.text)["locked_until"]
    refused = bank("pitc", "cancel", "noon")
    assert refused.code == 2 and until in refused.err
    dropped = bank("pitc", "drop", "noon", "-g", "bank")
    assert dropped.code == 2 and "tidelog pitc cancel noon" in dropped.err
    store = open_store(deployment, "tokyo", "bank")
    assert wait_until(lambda: store.copy("noon").locked_until_us and store.copy("noon").kept, timeout_s=20)
    (shown,) = json.loads(bank("pitc", "orders", "--json").text)["orders"]
    assert (shown["locked_until"], shown["kept"], shown["exact_to_seconds"]) == (until, True, 1.0)
    assert f"locked until {until}, kept" in bank("pitc", "orders").err
    assert bank("pitc", "lock", "never", "-g", "bank", "--for", "1d", "--take-over").code == 2
    assert beating.name == "bank"


def test_a_copy_with_a_clone_is_not_taken_back(bank, beating):
    """As a marker's with a clone is not dropped."""
    assert bank("pitc", "create", "noon", "-g", "bank", "--in", "500ms", "--wait").code == 0
    assert bank("pitc", "clone", "noon", "drill", "-g", "bank", "--site", "osaka").code == 0
    refused = bank("pitc", "cancel", "noon")
    assert refused.code == 2 and "tidelog clone drop drill" in refused.err
    assert bank("clone", "drop", "drill", "-g", "bank", "--site", "osaka").code == 0
    assert bank("pitc", "cancel", "noon").code == 0
    assert beating.name == "bank"
