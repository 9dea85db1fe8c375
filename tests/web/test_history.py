"""The last hour in memory: rates by sequence numbers, the worst of everything else, bounded, and honest about gaps."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.scenes import SITES, config_of, eventually, scene
from tidelog.gateways.standing.observer import Observed, Observer
from tidelog.gateways.web.history import BUCKET_SECONDS, BUCKETS, RATE_SECONDS, GroupHistory, History, Rate
from tidelog.schemas.control import SiteStatus

SECOND = 1_000_000
START = 1_795_000_000 * SECOND


@pytest.fixture(scope="module")
def seen() -> Iterator[Observed]:
    """A real look at a real group, to be varied."""
    with scene(config_of()) as made, Observer(made.deployment) as observer:
        made.bank()

        def look() -> Observed | None:
            (group,) = observer.observe()
            return group if all(site.status is not None for site in group.standing.sites) else None

        yield eventually(look, "every site has reported")


def look(seen: Observed, second: int, sequence: int, not_applied: float | None = 0.0) -> Observed:
    """The same at a time, with every site at a sequence number."""
    at_us = START + second * SECOND
    sites = []
    for site in seen.standing.sites:
        assert isinstance(site.status, SiteStatus)
        status = site.status.model_copy(update={"reported_us": at_us, "sequence": sequence})
        sites.append(replace(site, status=status, lag_events=0))
    exposures = {name: replace(found, not_applied=not_applied) for name, found in seen.exposures.items()}
    standing = replace(seen.standing, sites=tuple(sites))
    return replace(seen, standing=standing, exposures=exposures, observed_us=at_us)


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
        bucket = history.add(look(seen, second, 100 * second, not_applied))
    assert len(history.buckets) == 1 and bucket.begins_s == START // SECOND
    for site in SITES:
        assert bucket.sites[site][0] == 100 and bucket.sites[site][3] == 7.0
    history.add(look(seen, BUCKET_SECONDS, 1000, None))
    assert [one.sites["osaka"][3] for one in history.buckets] == [7.0, None]


def test_an_hour_and_no_more(seen: Observed) -> None:
    """However long it runs; a gap, in which Kafka was away, stays a gap."""
    history = GroupHistory(Clock(BUCKET_SECONDS))
    for number in range(BUCKETS + 50):
        history.add(look(seen, number * BUCKET_SECONDS, number))
    assert len(history.buckets) == BUCKETS
    last = history.buckets[-1].begins_s
    history.add(look(seen, (BUCKETS + 200) * BUCKET_SECONDS, BUCKETS + 60))
    assert history.buckets[-1].begins_s - last == 151 * BUCKET_SECONDS and len(history.buckets) == BUCKETS
    assert history.buckets[-1].sites["osaka"][0] is None


@pytest.mark.parametrize("stepped_s", [-3600, -12, 3600])
def test_a_clock_that_is_put_right(seen: Observed, stepped_s: int) -> None:
    """This machine's, back or forward: what lies in the future is dropped, the rest stays, and buckets and rates go on;
    the log's without a gap, a site's (by the site's clock, put back, too) with its second report."""
    history, step_s = GroupHistory(Clock()), 2 * BUCKET_SECONDS
    for second in range(step_s):
        history.add(look(seen, second, 7 * second))
    for second in range(step_s, 2 * step_s):
        bucket = history.add(look(seen, second + stepped_s, 7 * second))
        assert bucket.events_per_second == 0, "not None: by the monotonic clock no time is missing"
        assert bucket.sites["osaka"][0] == (7 if second > step_s else None)
        begins = [one.begins_s for one in history.buckets]
        assert begins == sorted(set(begins)) and begins[-1] == bucket.begins_s
        assert bucket.begins_s == (START // SECOND + second + stepped_s) // BUCKET_SECONDS * BUCKET_SECONDS


def test_a_site_whose_reports_have_ended(seen: Observed) -> None:
    """Its rate ends, too, whatever this machine's clock says of the last one."""
    history = GroupHistory(Clock())
    for second in range(3):
        history.add(look(seen, second, 7 * second))
    last = look(seen, 3, 21)
    rates = [history.add(replace(last, observed_us=START - 3600 * SECOND)).sites["osaka"][0] for _ in range(30)]
    assert rates[0] == 7 and rates[-1] is None


def test_a_group_that_goes_is_forgotten(seen: Observed) -> None:
    """And one that comes is there with its first look."""
    history = History()
    assert history.groups == {}
    assert list(history.add([look(seen, 0, 1)])) == ["bank"]
    found = history.json("bank")
    assert found is not None and list(found["groups"]) == ["bank"]
    assert history.add([]) == {} and history.groups == {} and history.json("bank") is None
