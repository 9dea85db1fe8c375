"""Pacing: what fires when a site is too far behind, how long a write is held up at most, and that nothing hangs."""

import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.producers.conftest import DEADLINE, Lab, until
from tidelog.config import Config
from tidelog.config_tables import PacingConfig
from tidelog.errors import ConfigError, Fenced, SessionClosed, SiteBehind
from tidelog.producers import pacing
from tidelog.producers.group import Group
from tidelog.producers.pacing import PacedVolume, Pacing
from tidelog.producers.volume import Volume
from tidelog.producers.writer_reports import WriterReports
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.reports import PositionAsked, WriterStatus, ask_key, writer_key

SITES = ("tokyo", "osaka")


class Paced:
    """A group with pacing whose sites are where the test says, and its reports."""

    def __init__(self, lab: Lab, every: float = 0.02, **settings) -> None:
        self.lab = lab
        self.session = lab.session(heartbeat=0.05)
        self.config = PacingConfig(**settings)
        self.pacing = Pacing("bank", self.config, SITES, self.session.confirmed, timeout=1.0)
        self.every = every
        self.group = Group("bank", self.session, lab.site, lab.control, 64 * 1024, SITES, [], self.pacing)
        for site in SITES:
            self.stands(site, 10_000_000)
        self.volume = self.group.create_volume("v", 1 << 20)

    def start(self) -> "Paced":
        self.reports = WriterReports("bank", self.session, self.lab.control, self.every, self.pacing)
        self.group._closing = [self.reports.close]
        return self

    def stands(self, site: str, sequence: int, timestamp_us: int = 0) -> None:
        """The site's report: by default as far along as anybody asks, at the session's beginning."""
        self.lab.control.publish(
            SiteStatus(
                site=site,
                group="bank",
                state="STREAMING",
                sequence=sequence,
                seal=bytes(16),
                epoch=1,
                timestamp_us=timestamp_us,
                offset=0,
                end_offset=0,
                events_applied=0,
                redelivered=0,
                void=0,
                reported_us=1,
                worker="test",
            )
        )

    def falls_behind(self, site: str = "osaka") -> None:
        self.stands(site, 0)
        until(lambda: self.pacing.since_us, "the limit passed")

    def report(self) -> WriterStatus:
        found = self.lab.control.snapshot()[writer_key("bank")]
        assert isinstance(found, WriterStatus)
        return found


@pytest.fixture
def paced(lab: Lab) -> Iterator:
    made: list[Paced] = []

    def make(**settings) -> Paced:
        made.append(Paced(lab, **settings).start())
        return made[-1]

    yield make
    for one in made:
        one.group.abandon()


def test_a_group_without_pacing_has_plain_volumes(lab: Lab) -> None:
    """Nothing of it is on the way of a write."""
    group = lab.group()
    assert type(group.create_volume("v", 4096)) is type(group.volume("v")) is Volume
    assert {type(volume) for volume in group.volumes()} == {Volume}


def test_warn_says_so_and_delays_nothing(paced) -> None:
    one = paced(policy="warn", max_lag_events=5)
    one.falls_behind()
    one.volume.write(0, b"x")
    assert one.pacing.delayed < 0.01 and not one.pacing.delay and not one.pacing.blocked
    until(lambda: one.report().paced_since_us, "the report of it")
    assert one.report().policy == "warn" and "osaka is" in one.report().paced_for
    one.stands("osaka", 10_000_000)
    until(lambda: not one.report().paced_since_us, "the report of its end")
    assert one.report().paced_count == 1 and "osaka is" in one.report().paced_for


def test_pace_delays_each_write_by_no_more_than_the_bound(paced) -> None:
    one = paced(policy="pace", max_lag_events=5, max_delay=0.03)
    assert type(one.volume) is PacedVolume
    one.falls_behind()
    until(lambda: one.pacing.delay == 0.03, "the longest delay")
    for write in (lambda: one.volume.write(0, b"x"), lambda: one.volume.discard(0, 512)):
        begun = time.monotonic()
        write()
        assert 0.029 <= time.monotonic() - begun < 5
    assert one.pacing.delayed >= 0.059
    until(lambda: one.report().delay_us == 30_000, "the report of it")
    one.stands("osaka", 10_000_000)
    until(lambda: not one.pacing.delay and not one.pacing.since_us, "the end of it")
    before = one.pacing.delayed
    one.volume.write(0, b"x")
    assert one.pacing.delayed == before
    until(lambda: not one.report().delay_us, "the report of the end")
    assert one.report().delayed_us >= 59_000


def test_only_the_named_sites_count(paced) -> None:
    one = paced(policy="block", max_lag_events=5, sites=["tokyo"])
    one.stands("osaka", 0)
    looks = one.session.confirmed.sequence
    until(lambda: one.session.confirmed.sequence > looks + 10, "some heartbeats")
    assert not one.pacing.count
    one.falls_behind("tokyo")


def test_a_lag_in_time_counts_from_the_opening(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour in which nobody wrote is no lag; what a site has not applied of this session's time is."""
    one = Paced(lab, policy="warn", max_lag=30)
    opened = one.session.confirmed
    one.stands("osaka", 0, timestamp_us=opened.timestamp_us - 3_600_000_000)
    head = type(opened)(50, bytes(16), 1, bytes(16), opened.timestamp_us + 29_000_000, 9)
    assert one.pacing.look(lab.control.snapshot(), head) is False
    later = type(opened)(60, bytes(16), 1, bytes(16), opened.timestamp_us + 31_000_000, 9)
    assert one.pacing.look(lab.control.snapshot(), later) is True and not one.pacing.since_us
    monkeypatch.setattr(pacing, "ANSWER_WITHIN", 3600)
    assert one.pacing.look(lab.control.snapshot(), later) is False and not one.pacing.since_us
    monkeypatch.setattr(pacing, "ANSWER_WITHIN", 0)  # that time has passed
    assert one.pacing.look(lab.control.snapshot(), later) is True and one.pacing.since_us
    assert one.pacing.worst == "osaka is 31.0 s and 60 events behind"


def test_a_report_that_is_only_old_fires_nothing(lab: Lab) -> None:
    """A fresh one is asked for first, and it says that all is well."""
    one = Paced(lab, policy="block", max_lag_events=5)
    one.stands("osaka", 0)
    ended = threading.Event()

    def answer() -> None:
        while not ended.is_set():
            if lab.control.wait_for(lambda view: ask_key("bank") in view, 0.05):
                asked = lab.control.snapshot()[ask_key("bank")]
                assert isinstance(asked, PositionAsked)
                one.stands("osaka", asked.sequence)
            time.sleep(0.01)

    site = threading.Thread(target=answer)
    site.start()
    try:
        one.start()
        before = one.session.confirmed.sequence
        for _ in range(10):
            one.volume.write(0, b"x")
            one.group.flush()
        until(lambda: ask_key("bank") in lab.control.snapshot(), "the question")
        until(lambda: one.session.confirmed.sequence > before + 30, "a second of heartbeats")
        assert one.pacing.count == 0
    finally:
        ended.set()
        site.join(DEADLINE)
        one.group.abandon()


def blocked_write(one: Paced) -> tuple[threading.Thread, list[BaseException]]:
    """A thread that is inside a write that is held."""
    raised: list[BaseException] = []

    def write() -> None:
        try:
            one.volume.write(0, b"held")
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive(), "the write was not held"
    return thread, raised


def test_block_holds_writes_until_the_site_is_back(paced) -> None:
    one = paced(policy="block", max_lag_events=5)
    one.falls_behind()
    thread, raised = blocked_write(one)
    one.stands("osaka", 10_000_000)
    thread.join(DEADLINE)
    assert not thread.is_alive() and not raised
    one.group.flush()
    assert bytes(one.lab.reference().volumes[one.volume.id].data[:4]) == b"held"


def test_block_gives_up_after_the_write_timeout_and_the_session_goes_on(paced) -> None:
    one = paced(policy="block", max_lag_events=5)
    one.falls_behind()
    with pytest.raises(SiteBehind, match="writes are held, since osaka is"):
        one.volume.write(0, b"held")
    one.group.flush()
    assert bytes(one.lab.reference().volumes[one.volume.id].data[:4]) == bytes(4)
    one.group.mark("still-there")


def test_closing_ends_a_held_write(paced) -> None:
    one = paced(policy="block", max_lag_events=5)
    one.pacing.timeout = DEADLINE
    one.falls_behind()
    thread, raised = blocked_write(one)
    begun = time.monotonic()
    one.group.close()
    thread.join(DEADLINE)
    assert time.monotonic() - begun < 5 and isinstance(raised[0], SessionClosed)
    assert one.report().state == "CLOSED"


def test_a_fence_ends_a_held_write(paced, lab: Lab) -> None:
    one = paced(policy="block", max_lag_events=5)
    one.pacing.timeout = DEADLINE
    one.falls_behind()
    thread, raised = blocked_write(one)
    begun = time.monotonic()
    lab.session()
    thread.join(DEADLINE)
    assert time.monotonic() - begun < 5 and isinstance(raised[0], Fenced)


@pytest.mark.parametrize("settings", [{"policy": "block"}, {"policy": "pace", "max_delay": 10}])
def test_control_c_ends_a_held_write_and_nothing_of_it_is_written(paced, settings) -> None:
    one = paced(max_lag_events=5, **settings)
    one.pacing.timeout = DEADLINE
    one.falls_behind()
    until(lambda: one.pacing.blocked or one.pacing.delay > 5, "writes that are held")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    try:
        begun = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            one.volume.write(0, b"held")
        assert time.monotonic() - begun < 5
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    one.group.flush()
    assert bytes(one.lab.reference().volumes[one.volume.id].data[:4]) == bytes(4)


def test_others_are_not_held_up_by_a_held_write(paced) -> None:
    """The wait is before the order is decided: heartbeats, markers and flushes go on."""
    one = paced(policy="block", max_lag_events=5)
    one.pacing.timeout = DEADLINE
    one.falls_behind()
    thread, _ = blocked_write(one)
    before = one.session.confirmed.sequence
    one.group.mark("meanwhile")
    until(lambda: one.session.confirmed.sequence > before + 3, "heartbeats")
    assert thread.is_alive()


def test_pacing_goes_on_while_the_control_topic_is_away(paced, lab: Lab) -> None:
    one = paced(policy="pace", max_lag_events=5, max_delay=0.001)
    one.falls_behind()
    lab.control.cut_off()
    for _ in range(20):
        one.volume.write(0, b"x")
        one.group.flush()
    lab.control.restore()
    one.stands("osaka", 10_000_000)
    until(lambda: not one.pacing.since_us, "the end of it")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"policy": "pace"}, "max_lag"),
        ({"policy": "hurry", "max_lag": "5s"}, "policy"),
        ({"policy": "pace", "max_lag": "5s", "max_delay": "11s"}, "max_delay"),
        ({"policy": "pace", "max_lag": "5s", "sites": ["mars"]}, "names the site mars"),
    ],
)
def test_a_configuration_that_cannot_be(table, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config(sites={"tokyo": {"redis": {"url": "redis://tokyo"}}}, groups={"bank": {"pacing": table}})
