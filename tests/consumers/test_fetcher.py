"""The reading half of a replica: what is judged is queued in order, in bounded memory, and then the error."""

import threading
import tracemalloc
from itertools import chain
from statistics import median

import pytest

from tests.consumers.conftest import KIB, Lab, until, written
from tests.producers.author import following, put
from tidelog.consumers.fetcher import Fetcher, decoded_bytes
from tidelog.errors import CorruptEvent, LogDiverged, LogUnavailable
from tidelog.producers.follower import Follower
from tidelog.schemas.chain import origin
from tidelog.schemas.events import Heartbeat


def fetcher_of(lab: Lab, queue_bytes: int = 1 << 20) -> Fetcher:
    """A fetcher from the log's beginning."""
    follower = Follower(lab.log, lab.codec, origin(lab.record.group_id))
    return Fetcher(lab.log.reader(0), follower, queue_bytes, 0.02)


def taken(fetcher: Fetcher) -> list[int]:
    """The offsets of all events up to a pause."""
    runs = iter(lambda: fetcher.take(0.3), None)
    return [offset for _, offset in chain.from_iterable(run.events for run in runs)]


def test_memory_does_not_grow_with_the_backlog(lab: Lab) -> None:
    """With nobody taking, it holds about its bytes, however much is in the log; nothing is lost or turned round."""
    group = lab.group()
    volume = group.create_volume("v", 64 * KIB)
    for _ in range(60):
        volume.write(0, b"x" * 64 * KIB)
        group.flush()
    lab.log._fetch_bytes = 256 * KIB
    fetcher = fetcher_of(lab, 512 * KIB)
    until(lambda: fetcher._size >= 512 * KIB, "a full queue")
    assert fetcher._size < 512 * KIB + 2 * (128 + 65) * KIB
    assert taken(fetcher) == list(range(62))
    assert fetcher.empty and fetcher._size == 0
    fetcher.close()


def test_a_stop_wakes_who_waits(lab: Lab) -> None:
    """With nothing to take: neither that wait nor the log's goes on to its end, one after the other."""
    fetcher = fetcher_of(lab)
    taken_runs: list[object] = []
    waiting = threading.Thread(target=lambda: taken_runs.append(fetcher.take(600)), daemon=True)
    waiting.start()
    fetcher.ask_to_stop()
    waiting.join(20)
    assert taken_runs == [None]
    until(lambda: not fetcher._thread.is_alive(), "the end of the fetching")
    fetcher.close()


@pytest.mark.parametrize("size", [16, 128, 4 * KIB])
def test_the_queue_counts_what_events_take_in_memory(lab: Lab, size: int) -> None:
    """Decoded, small writes take several times their bytes in the log."""
    group = lab.group()
    volume = group.create_volume("v", 64 * KIB)
    for index in range(128 * KIB // size):
        volume.write(index * size % (64 * KIB), b"x" * size)
    group.flush()
    record = max(lab.log._records, key=lambda record: len(record.value))
    events, tried = [], []
    tracemalloc.start()
    try:
        for _ in range(15):  # other threads of this process take and give back, too
            before, _ = tracemalloc.get_traced_memory()
            events.append(lab.codec.decode(record.value))
            tried.append(tracemalloc.get_traced_memory()[0] - before)
    finally:
        tracemalloc.stop()
    taken_bytes, event = median(tried), events[0]
    counted = decoded_bytes(event, len(record.value))
    assert taken_bytes <= counted
    if size <= 128:
        assert taken_bytes > 1.3 * len(record.value)
    everything = sum(decoded_bytes(lab.codec.decode(found.value), len(found.value)) for found in lab.log._records)
    fetcher, total = fetcher_of(lab), 0
    while total < everything:
        run = fetcher.take(1.0)
        assert run is not None
        total += run.size
    assert total == everything
    fetcher.close()


def test_a_full_queue_does_not_hold_up_the_end(lab: Lab) -> None:
    """Closing ends the thread that waits for room."""
    group = lab.group()
    volume = group.create_volume("v", 64 * KIB)
    for _ in range(8):
        volume.write(0, b"x" * 64 * KIB)
        group.flush()
    fetcher = fetcher_of(lab, 64 * KIB)
    until(lambda: fetcher._size, "a full queue")
    fetcher.close()
    assert not fetcher._thread.is_alive()


def test_what_is_before_an_error_comes_first(lab: Lab) -> None:
    """Then the error, each time that somebody asks."""
    written(lab.group())
    count = len(lab.log._records)
    lab.log.put(b"poison")
    fetcher = fetcher_of(lab)
    offsets = []
    with pytest.raises(CorruptEvent) as told:  # noqa: PT012
        while True:
            run = fetcher.take(1.0)
            offsets += [offset for _, offset in run.events] if run else []
    assert offsets == list(range(count)) and told.value.offset == count
    with pytest.raises(CorruptEvent):
        fetcher.take(0)
    fetcher.close()


@pytest.mark.parametrize("error", [LogUnavailable, LogDiverged])
def test_the_log_ends_it(lab: Lab, error: type[Exception]) -> None:
    """A log that goes away, or that loses what was read, is told to who takes."""
    written(lab.group())
    fetcher = fetcher_of(lab)
    assert taken(fetcher)
    lab.log.cut_off() if error is LogUnavailable else lab.log.truncate(2)
    until(lambda: fetcher._error is not None, "the end")
    with pytest.raises(error):
        fetcher.take(1.0)
    fetcher.close()


def test_how_far_it_has_judged(lab: Lab) -> None:
    """Records that count for nothing are behind it too: that is how a site knows that it is at the log's end."""
    group = written(lab.group())
    fetcher = fetcher_of(lab)
    taken(fetcher)
    assert fetcher.judged == lab.log.bounds().end
    lab.log.put(lab.log._records[0].value)
    until(lambda: fetcher.judged == lab.log.bounds().end, "the redelivered record judged")
    assert fetcher.empty
    put(lab.log, following(Heartbeat, group.session.confirmed), lab.codec)
    until(lambda: fetcher.judged == lab.log.bounds().end, "the heartbeat judged")
    assert not fetcher.empty
    fetcher.close()


def test_a_new_leader_that_lost_nothing(lab: Lab) -> None:
    """It reads again from its head: each event comes once."""
    group = written(lab.group())
    fetcher = fetcher_of(lab)
    before = taken(fetcher)
    lab.log.bump_leader_epoch()
    lab.log.put(lab.log._records[3].value)
    written(group)
    after = taken(fetcher)
    assert before + after == sorted(set(before + after))
    assert len(before + after) == len(lab.reference().counted)
    fetcher.close()


def test_two_who_take(lab: Lab) -> None:
    """Taking is safe from several threads: each run goes to one of them."""
    group = lab.group()
    for _ in range(5):
        written(group)
    fetcher = fetcher_of(lab)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.extend(taken(fetcher))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(len(lab.log._records)))
    fetcher.close()
