"""What every log does, in memory and on Kafka."""

import time
from itertools import islice

import pytest

from tidelog.errors import LogDiverged, LogUnavailable, NeedsRebuild
from tidelog.producers.log import Bounds


def read_all(reader, count):
    """The next ``count`` records."""
    records = []
    deadline = time.monotonic() + 10
    while len(records) < count and time.monotonic() < deadline:
        records += reader.poll(0.5)
    return records


def test_records_arrive_in_order_with_the_acknowledged_offsets(log, acks):
    appender = log.appender()
    values = [b"%d" % number for number in range(100)]
    for value in values:
        appender.send(value, acks)
    acks.wait(100)
    appender.close(5)
    assert acks.offsets == list(range(100))
    reader = log.reader(0)
    assert [(record.offset, record.value) for record in read_all(reader, 100)] == list(enumerate(values))
    assert reader.next_offset == 100
    reader.close()


def test_a_message_as_large_as_any_goes_through(log, fill):
    value = bytes(range(256)) * (4 * 1024 * 4)  # 4 MiB
    (offset,) = fill(value)
    assert log.record_at(offset).value == value


def test_bounds_tell_start_and_end(subject, fill):
    assert subject.log.bounds() == Bounds(0, 0)
    fill(b"a", b"b", b"c")
    assert subject.log.bounds() == Bounds(0, 3)
    subject.trim(2)
    assert subject.log.bounds() == Bounds(2, 3)


def test_record_at_gives_exactly_that_record_or_none(subject, fill):
    log = subject.log
    assert log.record_at(0) is None
    fill(b"a", b"b", b"c")
    assert [log.record_at(offset).value for offset in (1, 0, 1, 1, 2)] == [b"b", b"a", b"b", b"b", b"c"]
    assert log.record_at(3) is None
    assert log.record_at(1000) is None
    subject.trim(1)
    assert log.record_at(0) is None
    assert log.record_at(1).value == b"b"


def test_record_at_sees_what_came_after_it_looked_in_vain(log, fill):
    fill(b"a")
    assert log.record_at(1) is None
    fill(b"b")
    assert log.record_at(1).value == b"b"


def test_a_reader_at_the_end_waits_no_longer_than_it_is_told(log, fill):
    fill(b"a")
    reader = log.reader(1)
    started = time.monotonic()
    assert reader.poll(0.3) == []
    assert 0.2 < time.monotonic() - started < 2
    assert reader.next_offset == 1
    fill(b"b")
    assert [record.value for record in read_all(reader, 1)] == [b"b"]
    reader.close()


def test_a_reader_goes_where_it_is_sent(log, fill):
    fill(b"a", b"b", b"c")
    reader = log.reader(2)
    assert [record.value for record in read_all(reader, 1)] == [b"c"]
    for offset, expected in ((0, [b"a", b"b", b"c"]), (1, [b"b", b"c"]), (1, [b"b", b"c"])):
        reader.seek(offset)
        assert reader.next_offset == offset
        assert [record.value for record in read_all(reader, len(expected))] == expected
    reader.close()


def test_records_ends_before_its_bound_and_loses_nothing(log, fill):
    fill(*(b"%d" % number for number in range(6)))
    reader = log.reader(1)
    assert [record.offset for record in reader.records(4, 5)] == [1, 2, 3]
    assert reader.next_offset == 4
    assert [record.offset for record in read_all(reader, 2)] == [4, 5]
    reader.seek(0)
    assert [record.offset for record in islice(reader.records(6, 5), 2)] == [0, 1]
    assert reader.next_offset == 2
    assert [record.offset for record in read_all(reader, 4)] == [2, 3, 4, 5]
    reader.close()


def test_records_gives_up_where_no_record_comes(log, fill):
    fill(b"a")
    reader = log.reader(0)
    with pytest.raises(LogUnavailable, match="no record came"):
        list(reader.records(2, 0.3))
    assert reader.next_offset == 1
    reader.close()


def test_reading_below_the_start_asks_for_a_rebuild(subject, fill):
    fill(b"a", b"b", b"c")
    subject.trim(2)
    reader = subject.log.reader(1)
    with pytest.raises(NeedsRebuild) as raised:
        read_all(reader, 1)
    assert raised.value.offset == 1
    reader.seek(2)
    assert [record.value for record in read_all(reader, 1)] == [b"c"]
    reader.close()


def test_reading_beyond_the_end_means_another_history(log, fill):
    fill(b"a")
    reader = log.reader(5)
    with pytest.raises(LogDiverged) as raised:
        read_all(reader, 1)
    assert raised.value.offset == 5
    reader.close()


def test_a_closed_appender_takes_nothing(log, acks):
    appender = log.appender()
    appender.send(b"a", acks)
    appender.close(5)
    assert acks.results == [(0, None)]
    with pytest.raises(LogUnavailable):
        appender.send(b"b", acks)
    appender.close(1)
    appender.abandon()
    assert log.bounds().end == 1
    assert acks.results == [(0, None)]


def test_a_callback_may_abandon(log, acks):
    appender = log.appender()

    def acknowledged(offset, error):
        appender.abandon()
        acks(offset, error)

    appender.send(b"a", acknowledged)
    assert acks.wait(1) == [(0, None)]
    with pytest.raises(LogUnavailable):
        appender.send(b"b", acks)
    appender.abandon()
    assert log.bounds().end == 1


def test_two_appenders_share_the_log(log, acks):
    one, other = log.appender(), log.appender()
    for number in range(10):
        (one if number % 2 else other).send(b"%d" % number, acks)
        acks.wait(number + 1)
    one.close(5)
    other.close(5)
    assert acks.offsets == list(range(10))


def test_a_log_that_keeps_the_rules_is_well(log):
    log.check()
    assert log.cluster_id
    assert log.name
