"""The last hour in memory: rates of changes, the worst of everything else, bounded, and honest about gaps."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.scenes import SITES, config_of, eventually, scene
from tidelog.gateways.metrics.observed import exposition
from tidelog.gateways.standing.documents import status_document
from tidelog.gateways.standing.observer import Observed, Observer
from tidelog.gateways.web.history import BUCKET_SECONDS, BUCKETS, RATE_SECONDS, Bucket, GroupHistory, History, Rate

SECOND = 1_000_000
START = 1_795_000_000 * SECOND
TOTAL = "tidelog_site_events_applied_total{"


@pytest.fixture(scope="module")
def seen() -> Iterator[Observed]:
    """A real look at a real group, to be varied."""
    with scene(config_of()) as made, Observer(made.deployment) as observer:
        made.bank()

        def look() -> Observed | None:
            (group,) = observer.observe()
            return group if all(site.status is not None for site in group.standing.sites) else None

        yield eventually(look, "every site has reported")


def look(
    seen: Observed, second: int, changes: int, not_applied: float | None = 0.0, rate: float | None = 7.0
) -> Observed:
    """The same at a time, with so many changes in the log, and a rate that every site tells."""
    sites = tuple(replace(site, lag_events=0) for site in seen.standing.sites)
    return replace(
        seen,
        standing=replace(seen.standing, sites=sites),
        exposures={name: replace(found, not_applied=not_applied) for name, found in seen.exposures.items()},
        rates={name: replace(found, events=rate) for name, found in seen.rates.items()},
        observed_us=START + second * SECOND,
        changes=changes,
    )


class Clock:
    """A monotonic clock that goes on by so many seconds with each look."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.now, self.seconds = 1000.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 1000)), min_size=2, max_size=60))
def test_a_rate_is_what_came_in_its_time(steps: list[tuple[int, int]]) -> None:
    """Between the slowest and the fastest of the steps in its window, whatever they are."""
    rate, at, sequence, recent = Rate(), START, 0, list[tuple[int, float]]()
    rate.see(at, sequence)
    for seconds, events in steps:
        at, sequence = at + seconds * SECOND, sequence + events
        rate.see(at, sequence)
        recent.append((at, events / seconds))
    within = [one for time, one in recent if at - time < (RATE_SECONDS + 5) * SECOND]
    value = rate.value(at)
    assert value is not None and min(within) - 1e-9 <= value <= max(within) + 1e-9


def test_a_rate_that_is_not_known() -> None:
    """Of one number, of an old one, and of a history that went back."""
    rate = Rate()
    assert rate.value(START) is None
    rate.see(START, 100)
    assert rate.value(START) is None
    rate.see(START + SECOND, 300)
    assert rate.value(START + SECOND) == 200
    assert rate.value(START + 60 * SECOND) is None
    rate.see(START + 2 * SECOND, 10)
    assert rate.value(START + 2 * SECOND) is None
    rate.see(START + 3 * SECOND, 15)
    assert rate.value(START + 3 * SECOND) == 5


def test_a_bucket_has_the_worst(seen: Observed) -> None:
    """Of the looks that fell into it; what is unknown in one of them does not hide what is known in another."""
    history = GroupHistory(Clock())
    for second, not_applied in enumerate((0.1, 7.0, None, 0.2)):
        bucket = history.add(look(seen, second, 100 * second, not_applied, 100.0 + second))
    assert len(history.buckets) == 1 and bucket.begins_s == START // SECOND and bucket.events_per_second == 100
    for site in SITES:
        assert bucket.sites[site][0] == 103 and bucket.sites[site][3] == 7.0
    history.add(look(seen, BUCKET_SECONDS, 1000, None))
    assert [one.sites["osaka"][3] for one in history.buckets] == [7.0, None]


def test_an_hour_and_no_more(seen: Observed) -> None:
    """However long it runs; a gap, in which Kafka was away, stays a gap."""
    clock = Clock(BUCKET_SECONDS)
    history = GroupHistory(clock)
    for number in range(BUCKETS + 50):
        history.add(look(seen, number * BUCKET_SECONDS, number))
    assert len(history.buckets) == BUCKETS
    last, clock.seconds = history.buckets[-1].begins_s, 151 * BUCKET_SECONDS
    history.add(look(seen, (BUCKETS + 200) * BUCKET_SECONDS, BUCKETS + 60))
    assert history.buckets[-1].begins_s - last == 151 * BUCKET_SECONDS and len(history.buckets) == BUCKETS
    assert history.buckets[-1].events_per_second is None


@pytest.mark.parametrize("stepped_s", [-3600, -12, 3600])
def test_a_clock_that_is_put_right(seen: Observed, stepped_s: int) -> None:
    """This machine's, back or forward: what lies in the future is dropped, the rest stays, and buckets and rates go on,
    without a gap."""
    history, step_s = GroupHistory(Clock()), 2 * BUCKET_SECONDS
    for second in range(step_s):
        history.add(look(seen, second, 7 * second))
    for second in range(step_s, 2 * step_s):
        bucket = history.add(look(seen, second + stepped_s, 7 * second))
        assert bucket.events_per_second == 7, "not None: by the monotonic clock no time is missing"
        begins = [one.begins_s for one in history.buckets]
        assert begins == sorted(set(begins)) and begins[-1] == bucket.begins_s
        assert bucket.begins_s == (START // SECOND + second + stepped_s) // BUCKET_SECONDS * BUCKET_SECONDS


def test_a_log_that_was_not_seen_for_long(seen: Observed) -> None:
    """Its rate ends, whatever this machine's clock says of the last look; what sites tell is theirs."""
    history = GroupHistory(Clock())
    for second in range(3):
        history.add(look(seen, second, 7 * second))
    unseen = replace(look(seen, 3, 21, rate=None), observed_us=START - 3600 * SECOND, changes=None)
    buckets = [history.add(unseen) for _ in range(30)]
    rates = [bucket.events_per_second for bucket in buckets]
    assert rates[-1] is None and buckets[-1].sites["osaka"][0] is None


def test_an_event_is_the_same_to_the_page_the_documents_and_the_metrics() -> None:
    """Heartbeats move the sequence and are no change, each write of a batch is one: in the log and at every site."""
    with scene(config_of()) as made, Observer(made.deployment) as observer:
        group, history = made.bank(), GroupHistory()

        def looked() -> tuple[Observed, Bucket]:
            (found,) = observer.observe()
            return found, history.add(found)

        def applied(found: Observed) -> set[int]:
            lines = exposition([found])[0].decode().splitlines()
            told = {int(float(line.split()[1])) for line in lines if line.startswith(TOTAL)}
            documents = status_document([found])["groups"][0]["sites"]
            return told | {document["events_applied"] for document in documents}

        def settled(least: int) -> Observed | None:
            found, _ = looked()
            there = all(site.lag_events == 0 for site in found.standing.sites) and len(applied(found)) == 1
            return found if there and found.changes is not None and found.changes >= least else None

        first = eventually(lambda: settled(0), "all of it at every site")
        begun, (before,) = first.newest.last_sequence, applied(first)
        idle = eventually(lambda: (found := settled(0)) and found.newest.last_sequence >= begun + 3 and found, "idle")
        assert idle.changes == first.changes and applied(idle) == {before}
        for number in range(40):
            group.volume("ledger").write(number, b"x")
        group.flush(applied_at=3)
        last = eventually(lambda: settled(first.changes + 40), "the writes")
        assert last.changes == first.changes + 40 and applied(last) == {before + 40}

        def quiet() -> bool:
            bucket = looked()[1]
            return {bucket.events_per_second, *(numbers[0] for numbers in bucket.sites.values())} == {0}

        eventually(quiet, "rates of 0, beside heartbeats")


def test_a_group_that_goes_is_forgotten(seen: Observed) -> None:
    """And one that comes is there with its first look."""
    history = History()
    assert history.groups == {}
    assert list(history.add([look(seen, 0, 1)])) == ["bank"]
    found = history.json("bank")
    assert found is not None and list(found["groups"]) == ["bank"]
    assert history.add([]) == {} and history.groups == {} and history.json("bank") is None
