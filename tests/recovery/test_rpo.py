"""The RPO and its parts, from reports and a clock: nothing ages while nobody writes, and a dead writer is not idle."""

import pytest

from tidelog.config import Config
from tidelog.consumers.catalogue import standing_of
from tidelog.recovery.rpo import Exposure, WriterState, exposure, missed, writer_standing
from tidelog.schemas.control import SiteStatus
from tidelog.schemas.events import Heartbeat
from tidelog.schemas.reports import UncopiedSince, WriterStatus

S = 1_000_000
NOW = 1_000_000 * S
HEARTBEAT = 1.0


def newest(age_s=0.5, sequence=10, epoch=2):
    return Heartbeat(
        epoch=epoch, writer=b"w" * 16, sequence=sequence, timestamp_us=NOW - round(age_s * S), previous=b"p" * 16
    )


def writer(age_s=0.5, state="OPEN", unlogged_s=None, epoch=2, **more):
    return WriterStatus(
        group="bank",
        epoch=epoch,
        writer=b"w" * 16,
        state=state,
        sequence=10,
        timestamp_us=NOW - round(age_s * S),
        unlogged_us=0 if unlogged_s is None else NOW - round(unlogged_s * S),
        reported_us=NOW - round(age_s * S),
        process="app:1",
        **more,
    )


def site(sequence=10, applied_s=0.5, state="STREAMING", age_s=0.5):
    return SiteStatus(
        site="osaka",
        group="bank",
        state=state,
        sequence=sequence,
        seal=b"s" * 16,
        epoch=2,
        timestamp_us=NOW - round(applied_s * S),
        offset=9,
        end_offset=10,
        events_applied=1,
        redelivered=0,
        void=0,
        reported_us=NOW - round(age_s * S),
        worker="osaka:1",
    )


def uncopied(since_s=None):
    since_us = 0 if since_s is None else NOW - round(since_s * S)
    return UncopiedSince(site="osaka", group="bank", since_us=since_us, reported_us=NOW)


def config(group=None, of_site=None):
    osaka = {"redis": {"url": "redis://osaka"}, **(of_site or {})}
    return Config(sites={"osaka": osaka}, groups={"bank": group or {}})


def look(*records, event=None, oldest_s=0, now_us=NOW, settings=None):
    """The writer's standing and osaka's exposure. ``oldest_s``: the age of the first event that it has not applied."""
    view = {record.key: record for record in records}
    found = writer_standing(view, "bank", event, now_us, HEARTBEAT)
    standing = standing_of(view, "bank", "osaka", configured=True, now_us=now_us, status_interval=1)
    oldest_us = oldest_s if oldest_s in (0, None) else NOW - round(oldest_s * S)
    return found, exposure(view, settings or config(), standing, found, oldest_us, now_us)


def parts(exposed):
    return exposed.not_logged, exposed.not_applied, exposed.not_copied


def test_an_idle_primary_does_not_age():
    """Ten minutes after the last write, and ten days: heartbeats and reports go on, and nothing is outside."""
    for _ in (600, 864_000):
        found, exposed = look(writer(), site(), uncopied(), event=newest())
        assert found.state is WriterState.ALIVE
        assert parts(exposed) == (0.0, 0.0, 0.0) and exposed.rpo == exposed.copy_rpo == 0.0


def test_nor_does_a_group_whose_writer_was_closed():
    later = NOW + 86_400 * S
    found, exposed = look(writer(state="CLOSED"), site(), uncopied(), event=newest(), now_us=later)
    assert found.state is WriterState.CLOSED and parts(exposed) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("report", "bound_s"),
    [
        (writer(age_s=90), 90.0),  # it had nothing outside when it reported
        (writer(age_s=90, unlogged_s=95), 91.0),  # it had, and the log has come further since
        (writer(age_s=90, unlogged_s=90.5), 90.5),
        (writer(age_s=200, state="CLOSED", epoch=1), 91.0),  # of the session before
        (None, 91.0),
    ],
)
def test_a_dead_writer_is_not_an_idle_one(report, bound_s):
    """What it had accepted since its last sign of life is unknown, and that part of the RPO grows."""
    records = [record for record in (report, site(applied_s=91), uncopied()) if record is not None]
    found, exposed = look(*records, event=newest(age_s=91))
    assert found.state is WriterState.SILENT and found.silent_seconds in (90.0, 91.0)
    assert parts(exposed) == (bound_s, 0.0, 0.0) and exposed.rpo == bound_s


def test_what_a_writer_cannot_get_into_the_log():
    found, exposed = look(writer(unlogged_s=2.0), site(), uncopied(), event=newest(age_s=2.5))
    assert found.state is WriterState.ALIVE and exposed.not_logged == exposed.rpo == 2.0


def test_a_report_that_the_log_has_overtaken():
    """What was outside when it was written is in the log by now."""
    _, exposed = look(writer(age_s=0.9, unlogged_s=1.0), site(), uncopied(), event=newest(age_s=0.1))
    assert exposed.not_logged == 0.0


def test_a_session_that_ended_by_an_error_is_neither_alive_nor_closed():
    report = writer(state="ENDED", unlogged_s=7.0, reason="LogUnavailable")
    found, exposed = look(report, site(), uncopied(), event=newest(age_s=60))
    assert found.state is WriterState.ENDED and exposed.not_logged == 7.0


def test_a_log_without_events_and_a_site_that_never_reported():
    found, exposed = look()
    assert found.state is WriterState.NONE and parts(exposed) == (0.0, None, None)
    assert exposed.rpo is None and exposed.copy_rpo is None


def test_a_site_that_is_behind():
    """The age of the first event that it has not applied; of its position where that cannot be read."""
    _, exposed = look(writer(), site(sequence=4, applied_s=50), uncopied(), event=newest(), oldest_s=12)
    assert parts(exposed) == (0.0, 12.0, 0.0) and exposed.rpo == 12.0
    _, exposed = look(writer(), site(sequence=4, applied_s=50), uncopied(), event=newest(), oldest_s=None)
    assert exposed.not_applied == 50.0


@pytest.mark.parametrize("state", ["REBUILDING", "NEEDS_REBUILD"])
def test_what_is_not_whole_is_no_image(state):
    _, exposed = look(writer(), site(state=state), uncopied(), event=newest())
    assert exposed.not_applied is None and exposed.rpo is None


def test_the_worst_part_counts():
    _, exposed = look(writer(unlogged_s=1.0), site(), uncopied(since_s=40), event=newest(age_s=1.5), oldest_s=3)
    assert (exposed.rpo, exposed.copy_rpo) == (3.0, 40.0)


def test_objectives_of_group_and_site_the_stricter_counts():
    settings = config(group={"rpo": "30s", "copy_rpo": "1h"}, of_site={"rpo": "10s"})
    found, exposed = look(writer(), site(), uncopied(since_s=50), event=newest(), oldest_s=20, settings=settings)
    assert (exposed.objective, exposed.copy_objective) == (10.0, 3600.0)
    (said,) = missed("bank", [exposed], found)
    assert said.startswith("the RPO of group bank at osaka is 20.0 s, more than the 10 s") and "not applied" in said


@pytest.mark.parametrize(
    ("exposed", "said"),
    [
        (Exposure("osaka", 0.0, 30.0, 0.0, 30.0, None), None),
        (Exposure("osaka", 0.0, 30.1, 0.0, 30.0, None), "30.1 s in the log and not applied"),
        (Exposure("osaka", 31.0, 0.0, 0.0, 30.0, None), "31.0 s not yet in the log"),
        (Exposure("osaka", 0.0, None, None, 30.0, None), "unknown"),
        (Exposure("osaka", 0.0, 0.0, 90.0, 30.0, None), None),  # copies have an objective of their own
        (Exposure("osaka", 0.0, 0.0, 90.0, None, 60.0), "90.0 s applied and in no copy"),
        (Exposure("osaka", 999.0, 999.0, 999.0, None, None), None),
    ],
)
def test_a_missed_objective_says_which_part(exposed, said):
    found, _ = look(writer(), event=newest())
    alarms = missed("bank", [exposed], found)
    assert alarms == [] if said is None else len(alarms) == 1 and said in alarms[0]
