"""Openings that meet other writers: lost races, busy writers, several at once (L1 and L3 of the protocol notes)."""

import threading
from contextlib import suppress

import pytest

from tests.producers.author import opening, put
from tests.producers.conftest import GROUP_ID, Lab, until
from tidelog.errors import Fenced
from tidelog.producers import opening as opening_module
from tidelog.producers.follower import Follower, follow
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.events import Heartbeat

KIB = 1024


def test_l1_a_session_extends_the_head_not_the_last_record(lab: Lab) -> None:
    """L1: the last record is a lost race; who extended that would flush into nothing."""
    first = lab.session()
    put(lab.log, opening(origin(GROUP_ID)))
    session = lab.session()
    session.emit(Heartbeat)
    session.flush()
    assert session.epoch == 2
    assert lab.reference().at(session.confirmed.sequence).seal == session.confirmed.seal
    assert first.confirmed.sequence == 1


def test_l1_a_record_between_fold_and_opening_is_not_overlooked(lab: Lab) -> None:
    """L1: the writer before us appends after we have read; our opening is void there, and the next one counts."""
    busy = lab.group()
    busy.create_volume("v", KIB)
    real = lab.log.appender
    times = []

    def appender() -> object:
        if not times:
            times.append(1)
            busy.volume("v").write(0, b"in between")
            busy.flush()
        return real()

    lab.log.appender = appender  # type: ignore[method-assign,assignment]
    session = lab.session()
    session.emit(Heartbeat)
    session.flush()
    reference = lab.reference()
    assert reference.sequence == session.confirmed.sequence and reference.void_openings == [2]
    assert reference.volumes[2].data[:10] == b"in between"


def test_two_lost_races_at_most_against_a_busy_writer(lab: Lab) -> None:
    """A writer that appends between every read and every opening sees the first void one when it appends the next
    time, which costs the opener its second try; then it yields."""
    busy = lab.group()
    volume = busy.create_volume("v", KIB)
    real = lab.log.appender
    tries: list[int] = []

    def appender() -> object:
        tries.append(1)
        with suppress(Fenced):
            volume.write(0, b"x")
            busy.flush()
        if len(tries) > 1:
            until(lambda: busy.session._confirmations.error is not None, "stepping down")
        return real()

    lab.log.appender = appender  # type: ignore[method-assign,assignment]
    session = lab.session()
    assert len(tries) == 3 and session.epoch == 2
    with pytest.raises(Fenced):
        busy.flush()
    assert lab.reference().sequence == session.confirmed.sequence


def test_openings_that_always_lose(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else wins every time: `Fenced` after a bounded number of tries."""
    monkeypatch.setattr(opening_module, "MAX_ATTEMPTS", 4)
    head = origin(GROUP_ID)
    real = lab.log.appender

    def appender() -> object:
        nonlocal head
        head = put(lab.log, opening(head, timestamp_us=head.timestamp_us + 1))
        return real()

    lab.log.appender = appender  # type: ignore[method-assign,assignment]
    with pytest.raises(Fenced, match="4 openings in a row"):
        lab.session()


def test_many_open_at_once(lab: Lab) -> None:
    """Several processes open together: one is the writer in the end, and whoever could flush before it counts."""
    flushed: list[Head] = []
    lock = threading.Lock()

    def run() -> None:
        try:
            session = lab.session()
            for _ in range(20):
                session.emit(Heartbeat)
                head = session.flush()
                with lock:
                    flushed.append(head)
        except Fenced:
            pass

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = {event.seal for event in lab.reference().counted}
    assert flushed and all(head.seal in counted for head in flushed)


def test_a_writer_that_ignored_void_openings_would_starve_openers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule above has teeth: without stepping down, a busy writer wins as often as it is tried."""
    monkeypatch.setattr(opening_module, "MAX_ATTEMPTS", 6)
    real_skip = Follower._skip

    def skip(self: Follower, *arguments: object) -> None:
        real_skip(self, *arguments)  # type: ignore[arg-type]
        self.superseded_by = None

    monkeypatch.setattr(Follower, "_skip", skip)
    busy = lab.group()
    busy.create_volume("v", KIB)
    real = lab.log.appender

    def appender() -> object:
        busy.volume("v").write(0, b"x")
        busy.flush()
        return real()

    lab.log.appender = appender  # type: ignore[method-assign,assignment]
    with pytest.raises(Fenced, match="6 openings in a row"):
        lab.session()
    busy.flush()


def test_what_follows_reads_again_from_the_head_on_a_new_leader(lab: Lab) -> None:
    """The tail that was read is gone and another has come in its place: what counts is the log as it is now."""
    first = put(lab.log, opening(origin(GROUP_ID)))
    put(lab.log, opening(origin(GROUP_ID), timestamp_us=first.timestamp_us + 5))
    follower, reader = Follower(lab.log, lab.codec, origin(GROUP_ID)), lab.log.reader(0)
    heads = [first]
    counted = []
    for event, offset in follow(reader, 3, follower, 5):
        if not counted:  # the second record was fetched already
            lab.log.truncate(1, noticed=False)
            heads += [put(lab.log, opening(first))]
            heads += [put(lab.log, opening(heads[-1]))]
        counted.append((event.seal, offset))
    reader.close()
    assert counted == [(head.seal, head.offset) for head in heads] and follower.head == heads[-1]
