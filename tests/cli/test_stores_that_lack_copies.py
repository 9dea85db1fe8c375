"""What is said of copies that a site lacks for its store: it began behind them, is gone, or is being rebuilt."""

import json

import pytest

from tidelog.clock import iso, wall_us
from tidelog.consumers.deployment import open_store
from tidelog.consumers.receipts import Receipts
from tidelog.recovery.rebuild import Rebuild
from tidelog.recovery.rebuild_bases import Wanted
from tidelog.recovery.rebuild_plan import plan_rebuild
from tidelog.recovery.rebuild_report import Phase
from tidelog.recovery.rebuild_survey import survey
from tidelog.schemas.control import status_key
from tidelog.testing.readiness import wait_until

SITES = ("tokyo", "osaka", "london")


@pytest.fixture
def copied(bank):
    """By marker `one` and `two` at all sites, between them by time `noon`, and writes behind them."""
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"one" * 9000).code == 0
    assert bank("pitc", "create", "one", "-g", "bank", "--wait").code == 0
    at_us = wall_us() + 1
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"two" * 9000).code == 0
    assert bank("pitc", "create", "two", "-g", "bank", "--wait").code == 0
    assert bank("pitc", "create", "noon", "-g", "bank", "--at", iso(at_us), "--wait").code == 0
    assert bank("volume", "write", "ledger", "-g", "bank", stdin=b"behind").code == 0
    assert wait_until(lambda: set(equal(bank).values()) == {True}, timeout_s=10)
    return bank


def listed(cli):
    done = cli("pitc", "list", "-g", "bank", "--json")
    return done.code, {copy["name"]: copy for copy in json.loads(done.out)["copies"]}


def equal(cli):
    return {name: copy["equal"] for name, copy in listed(cli)[1].items()}


def answers(cli, name, site="london"):
    return listed(cli)[1][name]["sites"][site]["answer"]


def ordered(cli):
    done = cli("pitc", "orders", "--json")
    (order,) = json.loads(done.out)["orders"]
    return done.code, order


@pytest.mark.parametrize("worker_runs", [True, False])
def test_a_site_that_began_from_a_newer_copy_is_not_waited_for(copied, sites, worker_runs):
    """Neither is it called complete: the copy is at the others."""
    if not worker_runs:
        sites.stop_site("london")
    assert copied("site", "rebuild", "london", "-g", "bank", "--from", "tokyo", "--copy", "two", "--yes").code == 0
    wanted = {"one": "begins_later", "noon": "begins_later", "two": "formed"}
    assert wait_until(lambda: {name: answers(copied, name) for name in wanted} == wanted, timeout_s=30)
    code, copies = listed(copied)
    assert code == 0 and {name: copy["equal"] for name, copy in copies.items()} == dict.fromkeys(wanted, True)
    shown = copied("pitc", "list", "-g", "bank").text
    assert shown.count("begins later") == 2 and "missing" not in shown and "waiting" not in shown
    assert copied("pitc", "verify", "one", "-g", "bank").code == 0
    code, order = ordered(copied)
    assert (code, order["complete"], order["settled"]) == (0, False, True)
    assert order["sites"]["london"] == order["sites"]["london"] | {
        "complete": False,
        "groups": {"bank": "begins_later"},
        "reasons": {},
    }
    shown = copied("pitc", "orders")
    assert "complete at tokyo, osaka" in shown.text and "COMPLETE" not in shown.text
    assert "out of window" not in shown.err
    new = copied("pitc", "create", "later", "-g", "bank", "--at", order["time"], "--wait", "--timeout", "30s")
    assert new.code == 3 and "copy later is not made at london" in new.err
    assert copied("pitc", "orders").code == 0


def test_a_rebuild_without_a_worker_takes_back_what_was_told_before(copied, sites, monkeypatch):
    """Also where its replica is stopped before that has come to it, which nobody may make good for long."""
    sites.stop_site("london")
    monkeypatch.setattr(Receipts, "_round", lambda *_: None)
    assert copied("site", "rebuild", "london", "-g", "bank", "--from", "tokyo", "--copy", "two", "--yes").code == 0
    wanted = {"one": "begins_later", "noon": "begins_later", "two": "formed"}
    assert {name: answers(copied, name) for name in wanted} == wanted


def test_one_that_is_rebuilt_from_the_log_has_them_again(copied):
    assert copied("site", "rebuild", "london", "-g", "bank", "--from", "tokyo", "--yes").code == 0
    assert answers(copied, "one") == "begins_later"
    assert copied("site", "rebuild", "london", "-g", "bank", "--from", "log", "--yes").code == 0
    assert wait_until(lambda: set(equal(copied).values()) == {True}, timeout_s=10)
    assert wait_until(lambda: answers(copied, "one") == answers(copied, "noon") == "formed", timeout_s=10)
    assert ordered(copied)[1]["complete"]


def test_the_receipts_of_a_store_that_is_gone_are_no_copies(copied, sites):
    """Seen by the list itself while no worker runs; then the worker says so, as often as it is started again."""
    sites.stop_site("london")
    sites.deployment.keyspace("london", "bank").data.clear()
    shown = copied("pitc", "list", "-g", "bank").text
    assert shown.count("emptied") == 3 and "equal" not in shown and shown.count("waiting") == 3
    assert "emptied" in copied("pitc", "show", "one", "-g", "bank").text
    for _ in range(3):
        sites.site("london")
        assert wait_until(lambda: copied("site", "status", "london").code == 4, timeout_s=10)
        sites.stop_site("london")
    document = json.loads(copied("site", "status", "london", "--json").out)["sites"][0]
    assert (document["state"], document["sequence"]) == ("NEEDS_REBUILD", 0)
    assert ordered(copied)[1]["sites"]["london"]["groups"] == {"bank": "emptied"}
    assert not ordered(copied)[1]["complete"]
    assert set(equal(copied).values()) == {None}
    done = copied("site", "rebuild", "london", "-g", "bank", "--from", "log", "--yes")
    assert done.code == 0 and "no worker of the site is alive" in done.err and "tidelog site run london" in done.err
    document = json.loads(copied("site", "status", "london", "--json").out)["sites"][0]
    assert (document["state"], document["lag_events"], document["reason"]) == ("STOPPED", 0, "")
    assert document["sequence"] == open_store(sites.deployment, "london", "bank").position().head.sequence
    sites.site("london")
    assert wait_until(lambda: set(equal(copied).values()) == {True}, timeout_s=10)


def test_a_store_that_goes_under_its_worker(copied, sites):
    """The worker says so by itself: the site has applied nothing any more, and `status` waits for it."""
    sites.deployment.keyspace("london", "bank").data.clear()
    assert wait_until(lambda: copied("site", "status", "london").code == 4, timeout_s=10)
    document = json.loads(copied("status", "--json").out)["groups"][0]
    (london,) = [site for site in document["sites"] if site["site"] == "london"]
    assert (london["state"], london["sequence"]) == ("NEEDS_REBUILD", 0) and london["lag_events"] > 0
    newest = document["newest_copy"]
    assert newest["equal"] is None and newest["sites"]["london"] == newest["sites"]["london"] | {
        "answer": "emptied",
        "digest": None,
    }
    assert "no answer from london" in copied("status").text


def test_a_site_that_is_being_rebuilt_has_nothing_to_show(copied, sites):
    sites.stop_site("london")
    plan = plan_rebuild(survey(sites.deployment, "london", "bank", Wanted("tokyo")))
    for progress in iter(Rebuild(sites.deployment, plan)):
        if progress.phase is Phase.LOADING:
            break
    shown = copied("pitc", "list", "-g", "bank").text
    assert shown.count("rebuilding") == 3 and "equal" not in shown


def test_a_worker_whose_redis_is_late_says_where_the_site_stood(copied, sites, monkeypatch):
    """Not at sequence 0; and a store that then comes up empty is not begun anew, whatever was said meanwhile."""
    from tidelog.errors import StoreUnavailable

    deployment = sites.deployment
    sites.stop_site("london")
    before = deployment.cluster.control.snapshot()[status_key("bank", "london")]
    real = deployment.keyspace

    def down(site, group):
        if site == "london":
            raise StoreUnavailable("Redis does not answer")
        return real(site, group)

    monkeypatch.setattr(deployment, "keyspace", down)
    sites.site("london")

    def status():
        return json.loads(copied("site", "status", "london", "--json").out)["sites"][0]

    assert wait_until(lambda: "does not answer" in status()["reason"], timeout_s=10)
    assert (status()["state"], status()["sequence"]) == ("WAITING", before.sequence)
    real("london", "bank").data.clear()
    monkeypatch.setattr(deployment, "keyspace", real)
    assert wait_until(lambda: status()["state"] == "NEEDS_REBUILD", timeout_s=20)
    with pytest.raises(LookupError):
        open_store(deployment, "london", "bank")
