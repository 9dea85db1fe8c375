"""What can be done to a log in memory, and what its users then see."""

import pytest

from tidelog.errors import LogDiverged, LogUnavailable
from tidelog.producers.log import UNKNOWN_OFFSET, Bounds
from tidelog.producers.memory_log import MemoryLog, Outcome


@pytest.fixture
def log():
    return MemoryLog()


def values(log, offset=0):
    return [record.value for record in log.reader(offset).poll(0)]


def test_outcomes_come_in_the_order_of_the_plan(log, acks):
    appender = log.appender()
    log.plan(Outcome.DELIVERED, Outcome.DEDUPLICATED, Outcome.TWICE)
    for value in (b"a", b"b", b"c", b"d"):
        appender.send(value, acks)
    assert acks.results == [(0, None), (UNKNOWN_OFFSET, None), (2, None), (4, None)]
    assert values(log) == [b"a", b"b", b"c", b"c", b"d"]


@pytest.mark.parametrize(("outcome", "there"), [(Outcome.LOST, []), (Outcome.UNKNOWN, [b"a"])])
def test_a_failed_send_ends_its_appender_whatever_became_of_it(log, acks, outcome, there):
    appender = log.appender()
    log.plan(outcome)
    appender.send(b"a", acks)
    ((offset, error),) = acks.results
    assert offset == UNKNOWN_OFFSET
    assert isinstance(error, LogUnavailable)
    with pytest.raises(LogUnavailable):
        appender.send(b"b", acks)
    assert values(log) == there


def test_held_sends_wait_and_are_delivered_in_order(log, acks):
    appender = log.appender()
    log.hold()
    for value in (b"a", b"b", b"c"):
        appender.send(value, acks)
    assert (acks.results, log.bounds()) == ([], Bounds(0, 0))
    assert log.deliver(1) == 1
    assert acks.offsets == [0]
    log.release()
    assert acks.offsets == [0, 1, 2]
    appender.send(b"d", acks)
    assert values(log) == [b"a", b"b", b"c", b"d"]


def test_a_send_can_land_before_it_is_acknowledged_and_again_after(log, acks):
    log.hold()
    log.appender().send(b"a", acks)
    (send,) = log.pending
    send.land()
    assert (values(log), acks.results) == ([b"a"], [])
    log.put(b"stranger")
    send.acknowledge()
    send.land()
    assert acks.results == [(0, None)]
    assert values(log) == [b"a", b"stranger", b"a"]


def test_abandon_fails_what_waits_and_only_what_is_on_the_wire_may_still_land(log, acks):
    appender = log.appender()
    log.hold()
    appender.send(b"a", acks)
    appender.send(b"b", acks)
    on_wire = log.pending[0]
    on_wire.on_wire = True
    appender.abandon()
    assert [type(error) for error in acks.errors] == [LogUnavailable, LogUnavailable]
    assert log.pending == [on_wire]
    on_wire.land()
    assert values(log) == [b"a"]
    assert len(acks.results) == 2


def test_truncation_is_noticed_by_readers_beyond_it_and_by_no_others(log):
    for value in (b"a", b"b", b"c"):
        log.put(value)
    beyond, before = log.reader(0), log.reader(0)
    assert len(beyond.poll(0)) == 3
    log.truncate(1)
    log.put(b"B")
    log.put(b"C")
    with pytest.raises(LogDiverged, match="truncated to offset 1"):
        beyond.poll(0)
    assert [(record.value, record.leader_epoch) for record in before.poll(0)] == [(b"a", 0), (b"B", 1), (b"C", 1)]


def test_a_truncation_that_old_brokers_do_not_tell_shows_in_the_leader_epoch(log):
    log.put(b"a")
    log.put(b"b")
    reader = log.reader(0)
    reader.poll(0)
    log.truncate(1, noticed=False)
    with pytest.raises(LogDiverged, match="ends at offset 1"):
        reader.poll(0)
    log.put(b"B")
    log.put(b"C")
    assert [(record.value, record.leader_epoch) for record in reader.poll(0)] == [(b"C", 1)]


def test_a_log_made_anew_is_another_one(log):
    log.put(b"a")
    reader = log.reader(1)
    log.recreate()
    with pytest.raises(LogDiverged):
        reader.poll(0)
    assert log.bounds() == Bounds(0, 0)


def test_gaps_in_offsets_are_passed(log):
    log.put(b"a")
    log.skip_offsets(3)
    reader = log.reader(0)
    assert [record.offset for record in reader.records(4, 1)] == [0]
    assert reader.next_offset == 4
    assert log.record_at(2) is None
    assert log.put(b"b") == 4


def test_a_log_that_is_cut_off_answers_nothing_and_sends_wait(log, acks):
    appender, reader = log.appender(), log.reader(0)
    log.cut_off()
    for ask in (log.check, log.bounds, log.appender, lambda: log.record_at(0), lambda: reader.poll(0)):
        with pytest.raises(LogUnavailable):
            ask()
    appender.send(b"a", acks)
    assert acks.results == []
    log.restore()
    assert acks.results == [(0, None)]
    assert len(reader.poll(0)) == 1


def test_closing_waits_for_what_was_sent_and_then_gives_up(log, acks):
    appender = log.appender()
    log.hold()
    appender.send(b"a", acks)
    appender.close(0.05)
    assert len(acks.errors) == 1
    assert log.bounds().end == 0
