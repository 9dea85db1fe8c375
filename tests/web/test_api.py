"""The status page's API over real sockets: the documents, the events, and what it says while Kafka is away."""

import json
from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec

import pytest

from tests.web.scenes import PATIENCE_S, SITES, Client, Scene, config_of, eventually, scene
from tidelog.clock import wall_us
from tidelog.errors import LogUnavailable, StoreUnavailable
from tidelog.gateways.cli import main
from tidelog.gateways.standing.observer import Observer
from tidelog.gateways.web import protection
from tidelog.gateways.web.history import BUCKETS
from tidelog.gateways.web.server import HttpServer
from tidelog.gateways.web.serving import serving


@pytest.fixture
def bank() -> Iterator[Scene]:
    with scene(config_of(groups={"bank": {"rpo": "1h"}})) as made:
        made.bank()
        yield made


@pytest.fixture
def client(server: HttpServer) -> Client:
    return Client(server)


def test_the_status_is_that_of_the_command_line(
    client: Client, bank: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same keys at every depth, and what does not move is equal."""
    found = client.json("/api/v1/status")
    assert main(["status", "--json"], lambda _: bank.deployment) in (0, 3)  # a worker may have been slow to report
    printed = json.loads(capsys.readouterr().out)

    def shape(value: object) -> object:
        if isinstance(value, dict):
            return {key: shape(part) for key, part in value.items()}
        return [shape(part) for part in value] if isinstance(value, list) else None

    assert shape(found) == shape(printed)
    for key in ("group", "group_id", "copies", "newest_copy", "primary"):
        assert found["groups"][0][key] == printed["groups"][0][key]
    assert found["version"] == printed["version"] == 1


def test_the_copies_have_digests_locks_and_a_revision(client: Client, bank: Scene) -> None:
    """Newest first, each site's answer; another revision once another copy is there."""
    before = client.json("/api/v1/copies?group=bank")
    (copy,) = before["copies"]
    assert copy["name"] == "monday" and copy["equal"] is True and before["sites"] == list(SITES)
    assert len({site["digest"] for site in copy["sites"].values()}) == 1
    assert before["protection_unknown"] is None and copy["kept"] is False and copy["locked_until"] is None
    with bank.running.group("bank") as group:
        group.keep_copy("monday")
        group.lock_copy("monday", timedelta(days=1))
        group.mark("tuesday").wait(SITES, timeout=PATIENCE_S)
    after = eventually(
        lambda: (found := client.json("/api/v1/copies?group=bank"))["revision"] != before["revision"] and found,
        "another revision",
    )
    assert [copy["name"] for copy in after["copies"]] == ["tuesday", "monday"]
    kept = eventually(
        lambda: (found := client.json("/api/v1/copies?group=bank")["copies"][-1])["kept"] and found, "a kept copy"
    )
    assert kept["locked_until"] > kept["time"]
    assert client.status("/api/v1/copies?group=nowhere") == 404 and client.status("/api/v1/copies") == 400


def test_locks_are_known_without_kafka(client: Client, bank: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store has them; where that does not answer, this is what is said, of the site that it is."""
    monkeypatch.setattr(protection, "FRESH_SECONDS", 0.0)
    bank.control.cut_off()
    found = client.json("/api/v1/copies?group=bank")
    assert found["protection_unknown"] is None and found["copies"][0]["kept"] is False

    def down(*_: object) -> None:
        raise StoreUnavailable("Redis does not answer in time")

    monkeypatch.setattr(bank.deployment, "keyspace", down)
    found = client.json("/api/v1/copies?group=bank")
    assert found["protection_unknown"] == "site tokyo: Redis does not answer in time"
    assert found["copies"][0]["kept"] is None


def test_the_history_has_every_site(client: Client) -> None:
    """Numbers by the columns that it names, newest bucket last."""
    found = client.json("/api/v1/history?group=bank")
    buckets = found["groups"]["bank"]
    assert 1 <= len(buckets) <= BUCKETS == found["buckets"]
    assert set(buckets[-1]["sites"]) == set(SITES)
    assert all(len(numbers) == len(found["columns"]) for numbers in buckets[-1]["sites"].values())
    assert client.status("/api/v1/history?group=nowhere") == 404
    for path in ("/api/v1/history", "/api/v1/history?group="):
        answer, body = client(path)
        assert answer.status == 400 and "?group=NAME" in json.loads(body)["error"], "all at once may be megabytes"


def test_what_only_shows_has_no_other_method(client: Client) -> None:
    """GET and HEAD; everything else is 405, of paths that are there and of those that are not."""
    paths = ("/", "/api/v1/status", "/api/v1/events", "/healthz", "/login", "/logout", "/nowhere")
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        for path in paths:
            answer, _ = client(path, method)
            assert (answer.status, answer.getheader("allow")) == (405, "GET, HEAD"), (method, path)
    for path in ("/", "/api/v1/status", "/api/v1/copies?group=bank", "/api/v1/events", "/healthz", "/style.css"):
        answer, body = client(path, "HEAD")
        assert (answer.status, body) == (200, b""), path
    assert client.status("/nowhere") == 404


def test_an_event_comes_when_something_changes(client: Client, bank: Scene) -> None:
    """Without asking again; a site that halts is told with its reason and the commands that help."""
    stream = client.stream()
    assert stream.answer.getheader("content-type", "").startswith("text/event-stream")
    first = stream.until(lambda look: look["look"]["answers"])
    assert first["status"]["groups"][0]["group"] == "bank" and first["help"] == []
    assert first["newest"]["bank"]["sites"].keys() == set(SITES)
    bank.halt()
    told = stream.until(lambda look: len([one for one in look["help"] if one["stuck"]]) == len(SITES))
    osaka = next(one for one in told["help"] if one["site"] == "osaka")
    assert osaka["state"] == "HALTED" and "CorruptEvent" in osaka["reason"] and osaka["commands"]
    stream.close()


def test_what_is_gone_needs_a_hand(client: Client, bank: Scene) -> None:
    """A worker that has ended and a writer that was killed each have a card, with what helps."""
    stream = client.stream()
    stream.until(lambda look: look["look"]["answers"])
    bank.lose_writer()
    bank.running.stop_site("london")
    told = stream.until(lambda look: {one["site"] for one in look["help"]} == {None, "london"})
    london = next(one for one in told["help"] if one["site"] == "london")
    assert london["commands"] == ["tidelog site run london"] and not london["stuck"] and london["reason"]
    (writer,) = (one for one in told["help"] if one["site"] is None)
    assert writer["state"] == "SILENT" and "docs/runbooks/rpo-alarm.md" in writer["hint"]
    assert writer["commands"] == ["tidelog pitc create after-the-alarm --group bank --wait"]
    stream.close()


def test_while_kafka_is_away(client: Client, server: HttpServer, bank: Scene) -> None:
    """No old document for a program, the reason instead; pages keep the last picture, and all comes back by itself."""
    server.board.patience = 1.0
    assert client("/readyz")[1] == b"ready\n"
    stream = client.stream()
    bank.control.cut_off()
    told = stream.until(lambda look: not look["look"]["answers"])
    assert (
        told["look"]["kafka_away"]
        and "does not answer" in told["look"]["reason"]
        and told["status"]["groups"]
        and told["look"]["since"]
    )
    eventually(lambda: client.status("/readyz") == 503, "not ready")
    answer, body = client("/api/v1/status")
    assert answer.status == 503 and "does not answer" in json.loads(body)["error"]
    assert "the last answer was at" in json.loads(body)["error"]
    assert client.status("/healthz") == 200
    assert client.json("/api/v1/copies?group=bank")["copies"], "the last known"
    bank.control.restore()
    stream.until(lambda look: look["look"]["answers"])
    assert client.status("/readyz") == client.status("/api/v1/status") == 200
    stream.close()


def test_a_look_that_hangs_is_said_to_be_late(client: Client, server: HttpServer, bank: Scene) -> None:
    """Kafka's own timeout may be long: pages are told before that."""
    server.board.patience = 2.0
    stream = client.stream()
    stream.until(lambda look: look["look"]["answers"])
    real = bank.deployment.cluster.list_groups
    hangs = [True]

    def hang() -> object:
        eventually(lambda: not hangs[0], "the end of the hanging")
        return real()

    bank.deployment.cluster.list_groups = hang  # type: ignore[method-assign,assignment]
    told = stream.until(lambda look: not look["look"]["answers"])
    assert "has not answered for" in told["look"]["reason"]
    hangs[0] = False
    stream.until(lambda look: look["look"]["answers"])
    stream.close()


def test_a_look_that_takes_long_is_not_kafkas_silence(client: Client, server: HttpServer, bank: Scene) -> None:
    """It answers now and then: the server stays ready, and pages are told; until it is silent."""
    server.board.patience = 2.0
    stream = client.stream()
    stream.until(lambda look: look["look"]["answers"] and not look["look"]["late"])
    answers, goes_on = bank.look_long(server)
    told = stream.until(lambda look: look["look"]["late"])
    assert told["look"]["answers"] and not told["look"]["kafka_away"] and told["look"]["reason"] == ""
    looked_us = server.board.looked_us
    eventually(lambda: wall_us() - looked_us > 2 * server.board.patience * 1_000_000, "twice the patience")
    assert client.status("/readyz") == client.status("/api/v1/status") == 200 and server.board.looked_us == looked_us
    answers.clear()
    told = stream.until(lambda look: not look["look"]["answers"])
    assert told["look"]["kafka_away"] and "has not answered for" in told["look"]["reason"]
    eventually(lambda: client.status("/readyz") == 503, "not ready")
    answers.set()
    stream.until(lambda look: look["look"]["answers"] and look["look"]["late"])
    assert client.status("/readyz") == 200
    goes_on.set()
    stream.until(lambda look: not look["look"]["late"] and look["look"]["answers"])
    stream.close()


def test_every_group_of_a_look_is_an_answer(bank: Scene) -> None:
    """The observer tells of each, and of none where the first question fails."""
    answers: list[int] = []
    with Observer(bank.deployment, answered=lambda: answers.append(1)) as observer:
        observer.observe()
        of_one = len(answers)
        bank.deployment.cluster.create_group("other")
        observer.observe()
        assert len(answers) >= 2 * of_one + 2
        answers.clear()
        bank.control.cut_off()
        with pytest.raises(LogUnavailable):
            observer.observe()
        assert len(answers) <= 1


def test_a_bug_is_said_on_both_sides(
    client: Client, server: HttpServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its kind to who asks, its words to who runs the server; and the next request is answered."""
    monkeypatch.setattr(server.board, "history", None)
    answer, body = client("/api/v1/history?group=bank")
    assert answer.status == 500 and b"AttributeError" in body and b"'json'" not in body
    assert answer.getheader("x-content-type-options") == "nosniff"
    assert "unexpected AttributeError at /api/v1/history" in capfd.readouterr().err
    assert client.status("/healthz") == 200


def test_a_group_that_is_not_there() -> None:
    """Asked for by name: what is wrong is said, and it is not Kafka."""
    with scene(config_of()) as made, HttpServer(made.deployment, serving(made.config.http), "bank") as server:
        stream = Client(server).stream()
        told = stream.until(lambda look: bool(look["look"]["reason"]))
        assert "bank" in told["look"]["reason"] and not told["look"]["kafka_away"]
        made.deployment.cluster.create_group("bank")
        stream.until(lambda look: look["look"]["answers"])
        stream.close()


def test_metrics_are_there_or_a_word(client: Client, server: HttpServer, bank: Scene) -> None:
    """By the module that makes them, where that is installed; of no group while Kafka does not answer."""
    answer, body = client("/metrics")
    if find_spec("tidelog.gateways.metrics") is None:
        assert (answer.status, body) == (404, b"no metrics here: pip install 'tidelog[metrics]'\n")
        return
    assert answer.status == 200 and b"tidelog_observer_up 1" in body and b'group="bank"' in body
    assert answer.getheader("content-type", "").startswith("text/plain; version=")
    server.board.patience = 0.5
    bank.control.cut_off()
    eventually(lambda: b"tidelog_observer_up 0" in client("/metrics")[1], "Kafka is said to be away")
    assert b'group="bank"' not in client("/metrics")[1]


def test_a_file_is_loaded_once(client: Client) -> None:
    """It has a tag, and who shows that is told that nothing has changed; nothing comes from elsewhere."""
    for path, kind in (("/style.css", "text/css"), ("/app.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
        answer, body = client(path)
        assert answer.getheader("content-type", "").startswith(kind)
        assert b"https://" not in body
        again, nothing = client(path, if_none_match=str(answer.getheader("etag")))
        assert (again.status, nothing) == (304, b"")
    assert client.status("/index.html") == client.status("/login.html") == client.status("/../config.py") == 404
