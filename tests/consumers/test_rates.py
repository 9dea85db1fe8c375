"""How fast a site applies: over a window of its worker's clock, 0 when idle, right when a worker starts again."""

from collections.abc import Mapping

import pytest

from tests.consumers.conftest import Lab, until
from tidelog.clock import wall_us
from tidelog.consumers import rates as rates_module
from tidelog.consumers.counts import RUN_SECONDS, Counts
from tidelog.consumers.membership import SoleWorker
from tidelog.consumers.rates import WINDOW, Rates, RateWindow, rates_of, same_rates
from tidelog.consumers.site_standing import SiteStanding, standing_of
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.events import Discard, Heartbeat, WriteBatch
from tidelog.schemas.reports import SiteRates, rates_key

HEAD = {"epoch": 1, "writer": b"w" * 16, "timestamp_us": 9, "previous": bytes(16)}


def status(state="REPLAYING", offset=-1, end=0, worker="a:1", reported_us=None) -> SiteStatus:
    return SiteStatus(
        site="osaka",
        group="bank",
        state=state,
        sequence=max(0, offset),
        seal=bytes(16),
        epoch=1,
        timestamp_us=1,
        offset=offset,
        end_offset=end,
        events_applied=0,
        redelivered=0,
        void=0,
        reported_us=wall_us() if reported_us is None else reported_us,
        worker=worker,
    )


class Clock:
    """Seconds, as told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def writes(count: int, size: int = 100) -> WriteBatch:
    return WriteBatch(
        **HEAD,
        sequence=1,
        volumes=[1] * count,
        offsets=[0] * count,
        lengths=[size] * count,
        timestamps_us=[9] * count,
        data=bytes(count * size),
    )


def standing(told: SiteStatus) -> SiteStanding:
    view = {told.key: told}
    return standing_of(view, "bank", "osaka", configured=True, now_us=wall_us(), status_interval=1)


def read(told: SiteStatus, rates: SiteRates | None) -> Rates:
    view = {told.key: told} | ({rates.key: rates} if rates is not None else {})
    return rates_of(view, standing(told))


def test_counts_are_of_writes_and_bytes():
    """A batch is as many events as it has writes, a heartbeat is no change; a run falls into one bucket."""
    counts = Counts()
    counts.took([(writes(4), 0), (Discard(**HEAD, sequence=5, volume=1, offset=0, length=9), 1)], 0.002, 1)
    counts.took([(Heartbeat(**HEAD, sequence=6), 2)], 99.0, 2)
    assert (counts.events["WriteBatch"], counts.events["Discard"], counts.events["Heartbeat"]) == (4, 1, 1)
    assert (counts.changes, counts.records, counts.bytes, counts.transactions) == (5, 3, 400, 3)
    assert counts.runs[RUN_SECONDS.index(0.0025)] == 1 == counts.runs[-1] and sum(counts.runs) == 2
    assert counts.run_seconds == pytest.approx(99.002)


def test_a_halt_is_counted_by_kind():
    """Of a class that is none of ours, as other."""
    counts = Counts()
    for kind in ("LogGap", "LogGap", "TidelogError"):
        counts.halted(kind)
    assert counts.halts["LogGap"] == 2 and counts.halts["other"] == 1 and counts.halts["CorruptEvent"] == 0


def test_rates_are_over_the_window():
    """What was before it does not count; at first there is none."""
    clock, counts = Clock(), Counts()
    window = RateWindow(clock)
    first = window.rates(status(), counts)
    assert (first.window_us, first.events, first.bytes, first.closing) == (0, 0, 0, 0)
    assert read(status(), first) == Rates(0.0, 0.0, 0.0, 0.0, first)
    for _ in range(30):
        clock.now += 1
        counts.took([(writes(10), 0)], 0.001, 1)
        told = window.rates(status(), counts)
    assert told.window_us == WINDOW * 1_000_000
    assert read(status(), told) == Rates(10.0, 10.0, 1000.0, 0.0, told)
    for _ in range(11):
        clock.now += 1
        told = window.rates(status("STREAMING"), counts)
    found = read(status("STREAMING"), told)
    assert (found.events, found.bytes, found.eta) == (0.0, 0.0, 0.0)
    assert told.events_applied == 300 and told.bytes_applied == 30_000


def test_the_time_to_go_is_by_the_net_rate():
    """What is written meanwhile counts against what is applied; who falls behind never arrives."""
    clock, counts = Clock(), Counts()
    window = RateWindow(clock)
    window.rates(status(offset=99, end=1100), counts)
    clock.now += 10
    now = status(offset=599, end=1300)  # 500 applied, 200 more to apply: 300 fewer behind, in 10 s
    told = window.rates(now, counts)
    assert told.closing == 300
    assert read(now, told).eta == pytest.approx(700 / 30)
    clock.now += 10
    worse = status(offset=699, end=1600)
    assert window.rates(worse, counts).closing == -200
    assert read(worse, window.rates(worse, counts)).eta is None


def test_a_site_that_moves_in_no_log_has_no_time_to_go():
    """While its store is not open its position is that of before."""
    clock, counts = Clock(), Counts()
    window = RateWindow(clock)
    window.rates(status("STARTING", offset=-1, end=1000), counts)
    clock.now += 5
    told = window.rates(status(offset=500, end=1000), counts)
    assert told.closing == 0 and read(status(offset=500, end=1000), told).eta is None
    halted = status("HALTED", offset=500, end=1000)
    assert read(halted, told.model_copy(update={"closing": 50})).eta is None


def test_nothing_is_known_of_who_is_silent_or_has_begun_anew():
    """A worker that was killed at full speed applies nothing, and what it told is not of its successor."""
    told = SiteRates(
        site="osaka",
        group="bank",
        window_us=10_000_000,
        events=1000,
        bytes=1,
        closing=9,
        events_applied=5,
        bytes_applied=6,
        reported_us=1,
        worker="a:1",
    )
    assert read(status(), told).events == 100.0
    assert read(status(reported_us=wall_us() - 60_000_000), told).events is None
    assert read(status(worker="b:2"), told).events is None
    assert read(status(), None) == Rates()
    stopped = read(status("STOPPED", reported_us=1), told)
    assert (stopped.events, stopped.bytes) == (0.0, 0.0) and stopped.total is told


def test_a_worker_tells_its_rates_and_falls_silent_when_idle(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    """By its own word on the control topic; an idle group costs no more records once its window is empty."""
    monkeypatch.setattr(rates_module, "WINDOW", 0.5)
    worker, thread = lab.worker()
    group = lab.group()
    ledger = group.create_volume("ledger", size=1 << 20)
    ledger.write(0, b"x" * 5000)
    group.flush()
    lab.caught_up()

    def told() -> SiteRates | None:
        found = lab.control.snapshot().get(rates_key("bank", "osaka"))
        return found if isinstance(found, SiteRates) else None

    until(lambda: (now := told()) is not None and now.bytes_applied == 5000 and now.events_applied >= 3, "its count")
    counts = worker.reports.counts_of("bank")
    assert counts.bytes == 5000 and counts.transactions > 0 and counts.events["VolumeCreated"] == 1
    until(lambda: (now := lab.status()) is not None and now.state == "STREAMING", "the end of the log")
    until(lambda: (now := told()) is not None and now.events == 0, "an empty window")
    published = []
    publish = lab.control.publish
    lab.control.publish = lambda record, timeout=30.0: published.append(record.kind) or publish(record, timeout)  # type: ignore[method-assign]
    until(lambda: published.count("SiteStatus") >= 5, "five more reports")
    assert published.count("SiteRates") <= 1  # the last one may have been on its way
    worker.stop()
    thread.join(20)


def test_a_worker_that_starts_again_counts_from_0(lab: Lab):
    """Under its own name: a reader sees a counter that was reset, not a rate below 0."""
    group = lab.group()
    group.create_volume("ledger", size=1 << 20).write(0, b"x" * 5000)
    group.flush()
    worker, thread = lab.worker()
    lab.caught_up()
    worker.stop()
    thread.join(20)
    again, _ = lab.worker()
    until(lambda: "bank" in again.statuses and again.statuses["bank"].state == "STREAMING", "the second worker")

    def told() -> SiteRates:
        found = lab.control.snapshot()[rates_key("bank", "osaka")]
        assert isinstance(found, SiteRates)
        return found

    rates = until(lambda: (now := told()).events_applied == 0 and now, "its count")
    assert (rates.bytes_applied, rates.events, rates.bytes) == (0, 0, 0)
    assert same_rates(rates, rates) and not same_rates(None, rates)
    assert same_rates(rates, rates.model_copy(update={"window_us": rates.window_us + 1}))


def test_the_rate_of_a_burst_falls_as_its_window_grows() -> None:
    """A worker that starts, applies a burst and is idle then says so again and again, until the burst is over for
    `WINDOW` seconds."""
    clock = Clock()
    window, counts = RateWindow(clock), Counts()
    told: list[SiteRates] = []
    for second in range(int(WINDOW) + 5):
        clock.now = float(second)
        counts.events[WriteBatch.kind] = 20_000 if second else 0
        now = window.rates(status("STREAMING"), counts)
        if not same_rates(told[-1] if told else None, now):
            told.append(now)
    a_second = [rates.events / (rates.window_us / 1_000_000) for rates in told if rates.window_us]
    assert a_second[:3] == [20_000, 10_000, 20_000 / 3] and a_second[-1] == 0 and len(told) <= WINDOW + 2


class Switched(SoleWorker):
    """Owns every group while ``on``."""

    def __init__(self) -> None:
        self.on = True

    def owned(self, wanted: Mapping[str, str]) -> set[str]:
        return super().owned(wanted) if self.on else set()


def test_a_group_that_comes_back_is_counted_from_0(lab: Lab):
    """Another worker has had it meanwhile and has told less: a count that went on would look like events applied."""
    group = lab.group()
    volume = group.create_volume("ledger", size=1 << 20)
    volume.write(0, b"x" * 5000)
    group.flush()
    memberships = Switched(), Switched()
    memberships[1].on = False
    workers = [lab.worker(membership=lambda one=one: one)[0] for one in memberships]

    def told() -> int:
        found = lab.control.snapshot().get(rates_key("bank", "osaka"))
        return found.bytes_applied if isinstance(found, SiteRates) else -1

    until(lambda: told() == 5000, "the first worker's count")
    memberships[0].on = False
    until(lambda: "bank" not in workers[0].replicas, "its loss")
    memberships[1].on = True
    volume.write(0, b"y" * 700)
    group.flush()
    until(lambda: told() == 700, "the second worker's count")
    memberships[1].on = False
    until(lambda: "bank" not in workers[1].replicas, "its loss")
    memberships[0].on = True
    until(lambda: told() == 0, "the first worker's count, anew")
    volume.write(0, b"z" * 90)
    group.flush()
    until(lambda: told() == 90, "what it has applied since")
    assert workers[0].reports.counts_of("bank").bytes == 90


def test_a_halt_is_counted_once_however_often_it_is_reported(lab: Lab):
    """And again when it is another."""
    worker, _ = lab.worker()
    lab.group().create_volume("ledger", size=1 << 20)
    lab.caught_up()
    lab.log.appender().send(b"this is no event", lambda *_: None)
    until(lambda: (now := lab.status()) is not None and now.state == "HALTED", "the halt")
    reported = lab.status().reported_us
    until(lambda: lab.status().reported_us > reported, "another report")
    assert worker.reports.counts_of("bank").halts["CorruptEvent"] == 1
    assert sum(worker.reports.counts_of("bank").halts.values()) == 1
