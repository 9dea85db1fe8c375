"""`tidelog metrics`, and what a worker exposes: every metric of the list, true, and defined when idle."""

import subprocess
import sys
import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import SITES, TOML
from tests.tools import tool
from tidelog.consumers.access import open_group
from tidelog.consumers.counts import RUN_SECONDS
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.worker import SiteWorker
from tidelog.errors import ConfigError, LogUnavailable, StoreUnavailable
from tidelog.gateways.metrics import exposition
from tidelog.gateways.metrics.listed import METRICS, Kind, Place
from tidelog.gateways.metrics.serving import WorkerMetrics
from tidelog.schemas.control import CopyFormed, copy_key
from tidelog.testing.readiness import wait_until

INFINITY = float("inf")
OBJECTIVES = '\n[groups.bank]\nrpo = "20s"\n'


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / "tidelog.toml"
    path.write_text(TOML + OBJECTIVES)
    return path


def samples(text):
    """By name, then by the values of the labels in order of the list."""
    labels = {metric.name: metric.labels for metric in METRICS}
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            order = labels.get(sample.name, sorted(sample.labels))
            found.setdefault(sample.name, {})[tuple(sample.labels[label] for label in order)] = sample.value
    return found


def metrics(cli):
    done = cli("metrics")
    assert done.code == 0, done.err
    return samples(done.text)


def states(found, name, *where):
    return [labels[-1] for labels, value in found[name].items() if value == 1 and labels[:-1] == where]


def lint(text):
    """`promtool check metrics`, which reads what a scraper would, and knows the conventions."""
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_every_metric_is_there_and_an_idle_group_is_well(bank):
    """0 rather than absent, and what is not configured is above all that is."""
    found = {}

    def streaming():
        found.update(metrics(bank))  # of one look: in the next one a busy machine's worker may be late
        there = all(found["tidelog_site_rpo_seconds"]["bank", site] == 0 for site in SITES)
        return there and all(states(found, "tidelog_site_state", "bank", site) == ["STREAMING"] for site in SITES)

    assert wait_until(streaming, timeout_s=60), found
    assert set(found) == {metric.name for metric in METRICS if metric.place is not Place.WORKER}
    for site in SITES:
        where = ("bank", site)
        assert found["tidelog_site_rpo_seconds"][where] == found["tidelog_site_not_logged_seconds"][where] == 0
        assert found["tidelog_site_rpo_objective_seconds"][where] == 20
        assert found["tidelog_site_copy_rpo_objective_seconds"][where] == INFINITY
        assert found["tidelog_site_lag_events"][where] == found["tidelog_site_catch_up_seconds"][where] == 0
        assert found["tidelog_site_copies"][where] == found["tidelog_site_last_copy_timestamp_seconds"][where] == 0
        assert found["tidelog_site_sequence"][where] == 2
    assert states(found, "tidelog_writer_state", "bank") == ["closed"]
    assert found["tidelog_writer_silent_seconds"]["bank",] == found["tidelog_group_alarms"]["bank",] == 0
    assert found["tidelog_observer_up"][()] == 1
    lint(bank("metrics").out)


def test_copies_are_counted_by_site_and_by_whether_they_agree(bank, deployment):
    """One that is equal; one of which a site has other bytes; two that a site has not answered for."""
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"x" * 5000)
        copies = [group.mark(name) for name in ("one", "two", "three", "four")]
        for copy in copies:
            copy.wait(timeout=60)
    _, two, three, four = copies
    control = deployment.cluster.control
    view = control.snapshot()
    receipt = view[copy_key("bank", two.sequence, "two", "osaka")]
    assert isinstance(receipt, CopyFormed)
    control.publish(receipt.model_copy(update={"digest": bytes(16)}))
    for copy in (three, four):
        control.retract(copy_key("bank", copy.sequence, copy.name, "london"))
    found = metrics(bank)
    assert found["tidelog_group_copies"]["bank",] == 4
    assert [found[f"tidelog_group_copies_{what}"]["bank",] for what in ("equal", "differing", "waiting")] == [1, 1, 2]
    assert [found["tidelog_site_copies"]["bank", site] for site in SITES] == [4, 4, 2]
    assert [found["tidelog_site_copies_missing"]["bank", site] for site in SITES] == [0, 0, 2]
    assert found["tidelog_group_alarms"]["bank",] == 1
    newest = found["tidelog_site_last_copy_timestamp_seconds"]
    assert newest["bank", "tokyo"] == pytest.approx(four.timestamp_us / 1_000_000)
    assert newest["bank", "london"] == pytest.approx(two.timestamp_us / 1_000_000)
    assert wait_until(lambda: metrics(bank)["tidelog_site_bytes_applied_total"]["bank", "tokyo"] == 5000, timeout_s=60)
    lint(bank("metrics").out)


def test_what_is_not_known_is_never_0(cli, sites, deployment):
    """A site that has halted, one that was stopped, and one that never ran."""
    cli("group", "create", "bank")
    for site in SITES[:2]:
        sites.wait_for_store(site, "bank")
    assert cli("volume", "create", "ledger", "-g", "bank", "--size", "1MiB").code == 0
    sites.stop_site("osaka")
    deployment.cluster.log(deployment.cluster.find_group("bank")).appender().send(b"no event", lambda *_: None)
    assert wait_until(lambda: states(metrics(cli), "tidelog_site_state", "bank", "tokyo") == ["HALTED"], timeout_s=60)
    found = metrics(cli)
    assert states(found, "tidelog_site_state", "bank", "osaka") == ["STOPPED"]
    assert states(found, "tidelog_site_state", "bank", "london") == ["UNKNOWN"]
    ages = ("rpo_seconds", "not_applied_seconds", "not_copied_seconds", "silent_seconds")
    for name in (*ages, "lag_events", "sequence", "applied_timestamp_seconds"):
        assert found[f"tidelog_site_{name}"]["bank", "london"] == INFINITY
    for site in ("tokyo", "london"):
        assert found["tidelog_site_catch_up_seconds"]["bank", site] == INFINITY
    assert found["tidelog_group_objectives_missed"]["bank",] >= 1
    assert cli("metrics", "--group", "nowhere").code == 2


def test_without_kafka_nothing_is_said_of_groups():
    """But that it was asked, and when it answered last."""
    text, media_type = exposition(None, 5_000_000)
    found = samples(text.decode())
    assert found["tidelog_observer_up"][()] == 0 and found["tidelog_observer_look_timestamp_seconds"][()] == 5
    assert set(found) == {"tidelog_observer_up", "tidelog_observer_look_timestamp_seconds", "tidelog_build_info"}
    assert media_type.startswith("text/plain; version=")
    lint(text)


def test_the_command_says_that_kafka_does_not_answer(bank, deployment, monkeypatch):
    """So that a textfile has it, as a scraped observer does; and the exit code is that of Kafka."""

    def away(*_):
        raise LogUnavailable("Kafka does not answer", hint="is it up?")

    monkeypatch.setattr(deployment.cluster.control, "snapshot", away)
    done = bank("metrics")
    assert done.code == 11 and "hint: is it up?" in done.err
    found = samples(done.text)
    assert found["tidelog_observer_up"][()] == 0 == found["tidelog_observer_look_timestamp_seconds"][()]
    assert set(found) == {"tidelog_observer_up", "tidelog_observer_look_timestamp_seconds", "tidelog_build_info"}
    lint(done.out)


@pytest.fixture
def worker(deployment):
    """A worker of tokyo, on a thread, which answers a scraper."""
    made = SiteWorker(deployment, "tokyo", SoleWorker)
    thread = threading.Thread(target=made.run, daemon=True)
    endpoint = WorkerMetrics(made, "127.0.0.1", 0)
    thread.start()
    yield endpoint
    endpoint.close()
    made.stop()
    thread.join(60)


def scrape(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def test_a_worker_answers_with_what_it_has_done(cli, worker, deployment):
    """Of every metric that is its own, with 0 for what has not happened; and the process's own beside them."""
    cli("group", "create", "bank")
    cli("volume", "create", "ledger", "-g", "bank", "--size", "1MiB")
    with open_group("bank", deployment=deployment) as group:
        group.volume("ledger").write(0, b"x" * 5000)
        copy = group.mark("one")
        copy.wait(sites=["tokyo"], timeout=60)
    where = ("bank", "tokyo")
    assert wait_until(
        lambda: samples(scrape(worker.url).decode()).get("tidelog_worker_receipts_total", {}).get(where) == 1, 60
    )
    text = scrape(worker.url)
    found = samples(text.decode())
    series = {
        f"{metric.name}_{part}"
        for metric in METRICS
        if metric.kind is Kind.HISTOGRAM
        for part in ("bucket", "count", "sum")
    }
    own = {
        metric.name for metric in METRICS if metric.place is not Place.OBSERVER and metric.kind is not Kind.HISTOGRAM
    }
    assert own | series == {name for name in found if name.startswith("tidelog_")}
    applied = found["tidelog_worker_events_applied_total"]
    assert (applied[*where, "VolumeCreated"], applied[*where, "WriteBatch"], applied[*where, "Marker"]) == (1, 1, 1)
    assert applied[*where, "VolumeDeleted"] == 0 == found["tidelog_worker_halts_total"][*where, "LogGap"]
    assert found["tidelog_worker_bytes_applied_total"][where] == 5000
    assert found["tidelog_worker_copies"][where] == 1
    assert found["tidelog_worker_last_copy_timestamp_seconds"][where] == pytest.approx(copy.timestamp_us / 1_000_000)
    assert found["tidelog_worker_apply_duration_seconds_count"][where] >= 1
    buckets = list(found["tidelog_worker_apply_duration_seconds_bucket"].values())
    assert buckets == sorted(buckets) and buckets[-1] == found["tidelog_worker_apply_duration_seconds_count"][where]
    assert len(buckets) == len(RUN_SECONDS) + 1
    assert found["tidelog_worker_transactions_total"][where] >= 1 == found["tidelog_worker_kafka_up"][()]
    assert found["process_resident_memory_bytes"][()] > 0
    lint(b"".join(line for line in text.splitlines(True) if b"python_gc" not in line and b"python_info" not in line))


def test_an_address_that_is_taken_is_said(worker, deployment):
    """With what to do about it."""
    port = int(worker.url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(ConfigError, match="cannot be listened on") as refused:
        WorkerMetrics(SiteWorker(deployment, "osaka", SoleWorker), "127.0.0.1", port)
    assert "TIDELOG_METRICS__LISTEN" in refused.value.hint


def test_without_the_package_it_is_said_what_to_install(cli, monkeypatch):
    """By the command, and by a worker that is to listen."""
    for name in [name for name in sys.modules if name.startswith("tidelog.gateways.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == "prometheus_client"]:
        monkeypatch.setitem(sys.modules, name, None)
    refused = cli("metrics")
    assert refused.code == 10 and "pip install 'tidelog[metrics]'" in refused.err
    monkeypatch.setenv("TIDELOG_METRICS__LISTEN", "127.0.0.1:0")
    refused = cli("site", "run", "tokyo", "--sole")
    assert refused.code == 10 and "pip install 'tidelog[metrics]'" in refused.err


def test_a_worker_that_has_not_seen_its_store_does_not_say_that_it_is_empty(cli, deployment, monkeypatch):
    """Its Redis is away since it began: how many copies are there is not known; a counter is 0."""

    def down(*_):
        raise StoreUnavailable("Redis does not answer")

    cli("group", "create", "bank")
    monkeypatch.setattr(deployment, "keyspace", down)
    made = SiteWorker(deployment, "tokyo", SoleWorker)
    thread = threading.Thread(target=made.run, daemon=True)
    endpoint = WorkerMetrics(made, "127.0.0.1", 0)
    thread.start()
    try:
        where = ("bank", "tokyo")
        assert wait_until(
            lambda: where in samples(scrape(endpoint.url).decode())["tidelog_worker_copies"], timeout_s=60
        )
        found = samples(scrape(endpoint.url).decode())
        for name in ("copies", "last_copy_timestamp_seconds", "uncopied_timestamp_seconds"):
            assert found[f"tidelog_worker_{name}"][where] == INFINITY
        assert found["tidelog_worker_records_applied_total"][where] == 0
        assert states(found, "tidelog_worker_state", *where) == ["WAITING"]  # the word of `tidelog status`
    finally:
        endpoint.close()
        made.stop()
        thread.join(60)
