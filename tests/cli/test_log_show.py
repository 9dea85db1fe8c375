"""`tidelog log show`: every record with its verdict, behind a bad one too."""

import json
import re

import pytest

from tests.producers import author
from tidelog.consumers.access import open_group
from tidelog.producers.opening import open_session
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Heartbeat, Marker
from tidelog.testing.readiness import wait_until


@pytest.fixture
def log(bank, deployment):  # noqa: ARG001 (makes the group)
    handle = deployment.cluster.log(deployment.cluster.find_group("bank"))
    yield handle
    handle.close()


def put(log, value: bytes) -> None:
    log.appender().send(value, lambda *_: None)


def lines(cli, *options):
    result = cli("log", "show", "bank", "--json", *options)
    assert result.code == 0
    return [json.loads(line) for line in result.text.splitlines()]


def test_people_see_kind_name_and_size_but_no_data(bank):
    bank("volume", "write", "ledger", "-g", "bank", stdin=b"secret data")
    shown = bank("log", "show", "bank")
    assert "WriteBatch" in shown.text and "11 bytes, to ledger" in shown.text
    assert b"secret".hex() not in shown.text and "secret" not in shown.text
    assert b"secret data".hex() in bank("log", "show", "bank", "--data").text


def test_heartbeats_in_a_row_are_one_line_for_people(bank, deployment):
    with open_group("bank", deployment=deployment) as group:
        assert wait_until(lambda: group.session.confirmed.sequence >= 6, timeout_s=30)
        group.mark("after")
    folded = bank("log", "show", "bank").text.splitlines()
    (line,) = [line for line in folded if "Heartbeat" in line]
    assert "of them in" in line and "Marker" in folded[folded.index(line) + 1]
    each = [line for line in bank("log", "show", "bank", "--heartbeats").text.splitlines() if "Heartbeat" in line]
    assert len(each) == sum(found["kind"] == "Heartbeat" for found in lines(bank)) > 1


def idle(log, deployment, rounds):
    """Records: an opening, and then markers, each with so many heartbeats behind it."""
    record = deployment.cluster.find_group("bank")
    codec = deployment.cluster.codec(record)
    session = open_session(log, codec, record.group_id, deployment.config.writer)
    head = session.confirmed
    session.abandon()
    for number, heartbeats in enumerate(rounds):
        for kind, extra in [(Marker, {"name": f"m{number}"}), *[(Heartbeat, {})] * heartbeats]:
            head = author.put(log, author.following(kind, head, **extra), codec)


def shapes(text):
    """What each line is, and of how many."""
    found = [re.search(r"(Marker|Heartbeat)(?:  (\d+) of them)?", line) for line in text.splitlines()]
    return [(match[1], int(match[2] or 1)) for match in found if match]


def test_a_row_of_heartbeats_is_one_of_the_lines(bank, log, deployment):
    """For --limit, before and behind it; --offset may lie inside one."""
    begin = log.bounds().end + 1
    idle(log, deployment, (3, 2))
    folded = [("Marker", 1), ("Heartbeat", 3), ("Marker", 1), ("Heartbeat", 2)]
    for limit in range(1, 5):
        assert shapes(bank("log", "show", "bank", "--offset", str(begin), "-n", str(limit)).text) == folded[:limit]
    assert shapes(bank("log", "show", "bank", "--offset", str(begin + 2)).text) == [("Heartbeat", 2), *folded[2:]]
    shown = bank("log", "show", "bank", "--offset", str(begin), "-n", "3", "--heartbeats")
    assert shapes(shown.text) == [("Marker", 1), ("Heartbeat", 1), ("Heartbeat", 1)]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_following_holds_no_line_back(bank, log, deployment, limit):
    """A row at the log's end is shown although nothing ends it; a limit that is reached ends the command."""
    begin = log.bounds().end + 1
    idle(log, deployment, (0, 3))
    shown = bank("log", "show", "bank", "--offset", str(begin), "--follow", "--limit", str(limit))
    assert shown.code == 0
    assert shapes(shown.text) == [("Marker", 1), ("Marker", 1), ("Heartbeat", 3)][:limit]


def test_programs_see_every_field(bank):
    bank("volume", "write", "ledger", "-g", "bank", "--offset", "7", stdin=b"abc")
    found = lines(bank)
    assert {line["version"] for line in found} == {1} and {line["verdict"] for line in found} == {"counts"}
    (batch,) = [line for line in found if line["kind"] == "WriteBatch"]
    (write,) = batch["writes"]
    assert (write["name"], write["offset"], write["length"]) == ("ledger", 7, 3)
    assert "data" not in write
    assert [line["previous"] for line in found[1:]] == [line["seal"] for line in found[:-1]]


def test_from_offset_and_limit(bank):
    bank("pitc", "create", "one", "-g", "bank")
    assert [line["sequence"] for line in lines(bank, "--from", "3")][:2] == [3, 4]
    assert [line["offset"] for line in lines(bank, "--offset", "1", "--limit", "2")] == [1, 2]
    assert bank("log", "show", "bank", "--from", "1", "--offset", "1").code == 2


def test_a_bad_record_does_not_end_the_reading(bank, log, deployment):
    put(log, b"this is no event")
    record = deployment.cluster.find_group("bank")
    codec = deployment.cluster.codec(record)
    good = log.record_at(1)
    put(log, good.value[:-1] + bytes([good.value[-1] ^ 1]))
    put(log, good.value)
    found = [line for line in lines(bank) if line["verdict"] != "counts"]
    assert [line["verdict"] for line in found] == ["undecodable", "undecodable", "redelivered"]
    assert "seal" in found[1]["reason"]
    assert codec.decode(good.value).kind == found[2]["kind"]


def test_void_and_held_events_are_told_apart(bank, log, deployment):
    record = deployment.cluster.find_group("bank")
    codec = deployment.cluster.codec(record)
    old = codec.decode(log.record_at(1).value)
    session = open_session(log, codec, record.group_id, deployment.config.writer)
    head = session.confirmed
    session.close()
    void = Marker(
        epoch=old.epoch,
        writer=old.writer,
        sequence=head.sequence + 1,
        timestamp_us=head.timestamp_us + 1,
        previous=old.seal,
        name="late",
    )
    put(log, codec.encode(void)[0])
    held = Marker(
        epoch=head.epoch,
        writer=head.writer,
        sequence=head.sequence + 5,
        timestamp_us=head.timestamp_us + 2,
        previous=old.seal,
        name="gap",
    )
    put(log, codec.encode(held)[0])
    assert isinstance(head, Head)
    by_name = {line["name"]: line["verdict"] for line in lines(bank) if line["kind"] == "Marker"}
    assert by_name == {"late": "void", "gap": "held"}


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_nothing_to_show_is_said(bank, as_json):
    """Beyond the end, by sequence and by offset: on stderr, with where the log ends; it is no error."""
    end = bank("group", "show", "bank", "--json")
    last = json.loads(end.text)["log"]["end_offset"] - 1
    sequence = lines(bank)[-1]["sequence"]
    for option, value in (("--from", sequence + 1), ("--offset", last + 1)):
        shown = bank("log", "show", "bank", option, str(value), *as_json)
        assert (shown.code, shown.out) == (0, b"")
        assert shown.err == f"nothing to show: the log of group bank ends at sequence {sequence}, offset {last}\n"
    shown = bank("log", "show", "bank", "--from", str(sequence), *as_json)
    assert shown.out and not shown.err


def test_an_empty_log_is_said(cli):
    assert cli("group", "create", "new").code == 0
    shown = cli("log", "show", "new")
    assert (shown.code, shown.out, shown.err) == (0, b"", "nothing to show: the log of group new is empty\n")
