"""The head is the last event that counts, not the last record."""

import pytest

from tests.recovery.conftest import status
from tidelog.consumers.deployment import open_store
from tidelog.recovery.head import find_head, first_event, newest_event, tail
from tidelog.schemas.events import Marker, WriterOpened


@pytest.fixture
def parts(deployment, group):  # noqa: ARG001 (makes the group)
    record = deployment.cluster.find_group("bank")
    return deployment.cluster.log(record), deployment.cluster.codec(record), record


def put_void(log, codec, group):
    """A record of a session before the current one."""
    head = group.session.confirmed
    late = Marker(
        epoch=0 + 1,
        writer=b"w" * 16,
        sequence=head.sequence + 7,
        timestamp_us=head.timestamp_us + 7,
        previous=b"p" * 16,
        name="late",
    )
    log.put(codec.encode(late)[0])


def test_from_the_beginning(parts, group):
    log, codec, record = parts
    assert find_head(log, codec, record, {}) == group.session.confirmed


def test_a_void_record_at_the_end_is_not_the_head(parts, group):
    log, codec, record = parts
    put_void(log, codec, group)
    assert log.bounds().end > group.session.confirmed.next_offset
    assert find_head(log, codec, record, {}) == group.session.confirmed


def test_a_reported_position_saves_the_fold(parts, group, deployment, replicate, monkeypatch):
    replicate()
    log, codec, record = parts
    offsets = []
    reader = log.reader
    monkeypatch.setattr(log, "reader", lambda offset: offsets.append(offset) or reader(offset))
    assert find_head(log, codec, record, deployment.cluster.control.snapshot()) == group.session.confirmed
    assert offsets == [group.session.confirmed.next_offset]


def test_a_report_of_another_history_is_not_believed(parts, group, deployment, replicate):
    replicate()
    log, codec, record = parts
    lie = status(open_store(deployment, "tokyo", "bank"), seal=b"x" * 16)
    assert find_head(log, codec, record, {lie.key: lie}) == group.session.confirmed


def test_the_tail_leaves_out_what_is_no_event(parts, group):
    log, codec, _ = parts
    log.put(b"no event")
    assert newest_event(log, codec).seal == group.session.confirmed.seal
    assert [event.kind for event in tail(log, codec, 2)] == ["Marker"]


def test_the_first_event(parts):
    log, codec, _ = parts
    first = first_event(log, codec)
    assert isinstance(first, WriterOpened) and first.sequence == 1
