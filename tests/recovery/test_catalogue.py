"""The catalogue: facts from records, and nothing passed over."""

import pytest

from tidelog.consumers.catalogue import Answer, Newest, alarms_of, catalogue, copies_of
from tidelog.schemas.control import CopyArchived, CopyFormed, CopyOrdered, GroupCreated, SiteStatus
from tidelog.schemas.reports import StoreBegan

SITES = ("tokyo", "osaka", "london")
NOW = 1_000_000_000_000


def view(*records):
    group = GroupCreated(group="bank", group_id="id", topic="tidelog.bank", keyed=False, created_us=1)
    return {record.key: record for record in (group, *records)}


def receipt(site, sequence=5, seal=b"s" * 16, digest=b"d" * 16):
    return CopyFormed(
        site=site,
        group="bank",
        sequence=sequence,
        seal=seal,
        name=f"copy-{sequence}",
        timestamp_us=NOW - 10,
        digest=digest,
        blocks_changed=3,
        formed_us=NOW,
    )


def archive(site, sequence=5, seal=b"s" * 16, digest=b"d" * 16, group_id="id"):
    return CopyArchived(
        site=site,
        group="bank",
        group_id=group_id,
        sequence=sequence,
        seal=seal,
        name=f"copy-{sequence}",
        timestamp_us=NOW - 10,
        digest=digest,
        place="/archive/there",
        archived_us=NOW,
    )


def began(site, sequence):
    return StoreBegan(site=site, group="bank", sequence=sequence, timestamp_us=NOW - 20, reported_us=NOW)


def said(site, sequence=10, state="STREAMING", age_s=0.5, behind_s=1.0):
    return SiteStatus(
        site=site,
        group="bank",
        state=state,
        sequence=sequence,
        seal=b"s" * 16,
        epoch=1,
        timestamp_us=NOW - int(behind_s * 1e6),
        offset=sequence - 1,
        end_offset=sequence,
        events_applied=1,
        redelivered=0,
        void=0,
        reported_us=NOW - int(age_s * 1e6),
        worker="host:1",
    )


def standing(*records, **options):
    (group,) = catalogue(view(*records), SITES, now_us=NOW, status_interval=1.0, **options)
    return group


def test_equal_only_when_every_site_has_answered_alike():
    (copy,) = copies_of(view(receipt("tokyo"), receipt("osaka")), "bank", SITES)
    assert copy.equal is None and copy.missing == ("london",)
    (copy,) = copies_of(view(*map(receipt, SITES)), "bank", SITES)
    assert copy.equal is True and not copy.missing


def test_a_digest_that_differs_is_an_alarm_even_while_others_are_missing():
    (copy,) = copies_of(view(receipt("tokyo"), receipt("osaka", digest=b"x" * 16)), "bank", SITES)
    assert copy.equal is False and copy.differs
    (alarm,) = alarms_of([copy])
    assert "tokyo" in alarm and (b"x" * 16).hex() in alarm


def test_c14_two_histories_under_one_sequence_are_told_as_such_and_not_as_a_difference():
    other = receipt("osaka", seal=b"t" * 16, digest=b"x" * 16)
    copies = copies_of(view(receipt("tokyo"), other), "bank", SITES)
    assert len(copies) == 2 and not any(copy.differs for copy in copies)
    assert any("two seals" in alarm for alarm in alarms_of(copies))


def test_pending_and_missing_are_told_apart():
    (copy,) = copies_of(view(receipt("tokyo"), said("osaka", sequence=4), said("london", sequence=5)), "bank", SITES)
    assert copy.answers == {"tokyo": Answer.FORMED, "osaka": Answer.PENDING, "london": Answer.MISSING}


def test_a_site_that_began_behind_a_copy_is_not_waited_for():
    """Nor is one that lacks it for another reason let off."""
    records = [receipt("tokyo"), said("osaka"), began("osaka", 6), said("london"), began("london", 5)]
    (copy,) = copies_of(view(*records), "bank", SITES)
    assert copy.answers == {"tokyo": Answer.FORMED, "osaka": Answer.BEGINS_LATER, "london": Answer.MISSING}
    assert copy.missing == ("london",) and copy.equal is None
    (copy,) = copies_of(view(*records, receipt("london")), "bank", SITES)
    assert copy.equal is True and not copy.missing
    (copy,) = copies_of(view(*records, receipt("osaka"), receipt("london")), "bank", SITES)
    assert copy.answers["osaka"] is Answer.FORMED


@pytest.mark.parametrize(
    ("state", "sequence", "answer"),
    [
        ("REBUILDING", 9, Answer.REBUILDING),
        ("NEEDS_REBUILD", 0, Answer.EMPTIED),
        ("NEEDS_REBUILD", 9, Answer.FORMED),  # the log was trimmed past it: its copies are there
        ("HALTED", 9, Answer.FORMED),
        ("STARTING", 0, Answer.FORMED),
    ],
)
def test_a_receipt_of_a_store_that_serves_nothing_is_no_copy(state, sequence, answer):
    records = [*map(receipt, SITES), said("osaka", sequence=sequence, state=state)]
    (copy,) = copies_of(view(*records), "bank", SITES)
    assert copy.answers["osaka"] is answer
    assert copy.equal is (True if answer is Answer.FORMED else None)


def test_a_site_that_has_parted_from_the_log_is_no_measure_and_has_no_lag():
    group = standing(
        said("tokyo", sequence=7),
        said("osaka", sequence=99),
        newest={"bank": Newest(7, NOW)},
        parted={"bank": {"osaka": "why"}},
    )
    tokyo, osaka, _ = group.sites
    assert (tokyo.state, tokyo.lag_events) == ("STREAMING", 0)
    assert (osaka.state, osaka.lag_events, osaka.stuck, osaka.well) == ("DIVERGED", None, True, False)
    assert osaka.reason == "LogDiverged: why" and "site rollback osaka --group bank" in osaka.hint
    halted = said("osaka", sequence=99, state="HALTED").model_copy(update={"reason": "its own", "hint": "to do"})
    (_, osaka, _) = standing(halted, newest={"bank": Newest(7, NOW)}, parted={"bank": {"osaka": "why"}}).sites
    assert (osaka.state, osaka.reason, osaka.hint, osaka.lag_events) == ("HALTED", "its own", "to do", None)


def test_where_an_archived_copy_is():
    """In a store and the archive; in the archive alone, and dropped or still to come elsewhere."""
    (both,) = copies_of(view(receipt("tokyo"), archive("tokyo"), said("osaka")), "bank", SITES)
    assert both.answers == {"tokyo": Answer.FORMED, "osaka": Answer.MISSING, "london": Answer.PENDING}
    assert both.archives.keys() == {"tokyo"} and both.equal is None
    (away,) = copies_of(view(archive("tokyo"), said("osaka"), said("london")), "bank", SITES)
    assert away.answers == {"tokyo": Answer.ARCHIVED, "osaka": Answer.DROPPED, "london": Answer.DROPPED}
    assert away.equal is True and away.digests == {b"d" * 16} and away.timestamp_us == NOW - 10
    (behind,) = copies_of(view(archive("tokyo"), said("osaka", sequence=3)), "bank", SITES)
    assert behind.answers["osaka"] is Answer.PENDING and behind.equal is None


def test_an_archive_of_a_copy_by_time_says_nothing_of_other_sites():
    """Each drops its own; a marker's copy goes everywhere."""
    order = CopyOrdered(name="copy-5", groups="orders,bank", at_us=NOW - 10, ordered_us=NOW - 20, ordered_by="host:1")
    (copy,) = copies_of(view(order, archive("tokyo"), said("osaka")), "bank", SITES)
    assert copy.answers == {"tokyo": Answer.ARCHIVED, "osaka": Answer.MISSING, "london": Answer.PENDING}
    assert copy.equal is None
    for other in (order.model_copy(update={"name": "another"}), order.model_copy(update={"groups": "orders"})):
        (copy,) = copies_of(view(other, archive("tokyo"), said("osaka")), "bank", SITES)
        assert copy.answers["osaka"] is Answer.DROPPED


def test_an_archive_with_another_digest_is_an_alarm_and_one_of_another_history_or_group_is_not():
    copies = copies_of(view(receipt("tokyo"), archive("osaka", digest=b"x" * 16)), "bank", SITES)
    (alarm,) = alarms_of(copies)
    assert "the archive of osaka" in alarm and alarm.endswith("tidelog pitc verify copy-5 -g bank --full")
    assert alarms_of(copies_of(view(receipt("tokyo"), archive("osaka", seal=b"t" * 16)), "bank", SITES)) == []
    (copy,) = copies_of(view(receipt("tokyo"), archive("osaka", sequence=9, group_id="earlier")), "bank", SITES)
    assert copy.sequence == 5 and not copy.archives


def test_a_site_that_is_not_configured_is_shown_too():
    group = standing(said("paris"), receipt("paris"))
    assert [(site.site, site.configured) for site in group.sites][-1] == ("paris", False)


def test_nothing_is_waited_for_from_a_site_that_is_not_configured():
    """It was retired, and what it had told is still there and shown; that a copy differs is still an alarm."""
    records = [*map(receipt, SITES), said("paris", sequence=2, age_s=1e6)]
    (copy,) = copies_of(view(*records), "bank", SITES)
    assert copy.answers["paris"] is Answer.PENDING and (copy.missing, copy.equal) == ((), True)
    (copy,) = copies_of(view(*records), "bank", (*SITES, "paris"))
    assert (copy.missing, copy.equal) == (("paris",), None)
    (copy,) = copies_of(view(*records, receipt("paris", digest=b"x" * 16)), "bank", SITES)
    assert copy.equal is False


@pytest.mark.parametrize(
    ("age_s", "state", "shown", "well"),
    [
        (0.5, "STREAMING", "STREAMING", True),
        (4.9, "STREAMING", "STREAMING", True),
        (5.1, "STREAMING", "SILENT", False),
        (0.5, "HALTED", "HALTED", False),
        (500, "HALTED", "HALTED", False),
        (500, "STOPPED", "STOPPED", False),
        (0.5, "REBUILDING", "REBUILDING", False),
    ],
)
def test_states_and_their_age(age_s, state, shown, well):
    site = standing(said("tokyo", state=state, age_s=age_s)).sites[0]
    assert (site.state, site.well) == (shown, well)


def test_a_site_that_never_spoke_is_unknown():
    assert [site.state for site in standing().sites] == ["UNKNOWN"] * 3


def test_lag_counts_to_the_newest_event_that_anybody_knows():
    tokyo, osaka, _ = standing(said("tokyo", 10, behind_s=1), said("osaka", 7, behind_s=4)).sites
    assert (tokyo.lag_events, tokyo.lag_seconds) == (0, 0.0)
    assert (osaka.lag_events, osaka.lag_seconds, osaka.rpo_seconds) == (3, 3.0, 4.0)
    tokyo, *_ = standing(said("tokyo", 10), newest={"bank": Newest(12, NOW)}).sites
    assert (tokyo.lag_events, tokyo.lag_seconds) == (2, 1.0)


def test_a_site_that_has_applied_nothing_has_no_lag_in_seconds():
    tokyo, *_ = standing(said("tokyo", 0).model_copy(update={"timestamp_us": 0}), said("osaka", 7)).sites
    assert (tokyo.lag_events, tokyo.lag_seconds, tokyo.rpo_seconds) == (7, None, None)


def test_a_site_that_is_up_to_date_lags_nothing_however_long_nobody_wrote():
    tokyo, *_ = standing(said("tokyo", behind_s=3600)).sites
    assert (tokyo.lag_seconds, tokyo.rpo_seconds) == (0.0, 3600.0)
