"""What a trim may delete, by a plan of facts alone: whoever needs a record holds it back, and is named."""

import random
from dataclasses import replace

import pytest

from tidelog.producers.group_state import KnownCopy
from tidelog.producers.log import Bounds
from tidelog.recovery.trim_plan import Base, TrimSurvey, plan_trim
from tidelog.schemas.control import CopyFormed, CopyOrdered, OrderAnswered, OrderProtected, SiteStatus

S = 1_000_000
NOW, MARGIN = 10_000_000 * S, 60 * S
SITES = ("tokyo", "osaka")


def seal(sequence):
    return sequence.to_bytes(16)


def receipt(site, sequence, age_s=3600, digest=b"d" * 16, name=None, at_us=None):
    return CopyFormed(
        site=site,
        group="bank",
        sequence=sequence,
        seal=seal(sequence),
        name=name or f"c{sequence}",
        timestamp_us=sequence * S if at_us is None else at_us,
        digest=digest,
        blocks_changed=1,
        formed_us=NOW - age_s * S,
    )


def status(site, sequence=1000, state="STREAMING"):
    return SiteStatus(
        site=site,
        group="bank",
        state=state,
        sequence=sequence,
        seal=seal(sequence),
        epoch=2,
        timestamp_us=sequence * S,
        offset=sequence,
        end_offset=1001,
        events_applied=1,
        redelivered=0,
        void=0,
        reported_us=NOW,
        worker="w",
    )


def order(at_s, ordered_age_s=3600, name="nightly", dropped_us=0):
    return CopyOrdered(
        name=name,
        groups="bank,other",
        at_us=at_s * S,
        ordered_us=NOW - ordered_age_s * S,
        ordered_by="me",
        dropped_us=dropped_us,
    )


def survey(records, copies=(10, 20, 30), locks=None, head_epoch=3, epochs=None, start=0, sites=SITES):
    known = [KnownCopy(n, seal(n), f"c{n}", n * S, (), locked_until_us=(locks or {}).get(n, 0)) for n in copies]
    bases = [Base(n, seal(n), f"c{n}", n * S, (epochs or {}).get(n, 2), n - 1) for n in copies]
    view = {record.key: record for record in records}
    return TrimSurvey("bank", sites, view, known, bases, Bounds(start, 1001), head_epoch, NOW, MARGIN)


def well(sequences=(10, 20, 30)):
    return [*map(status, SITES), *(receipt(site, n) for site in SITES for n in sequences)]


def first(plan):
    return plan.needs[0].who, plan.needs[0].sequence


def test_up_to_the_newest_copy_that_every_site_has_had_long_enough():
    plan = plan_trim(survey(well()))
    assert (plan.base.sequence, plan.offset, plan.records) == (30, 29, 29)


def test_its_own_record_stays_and_a_second_trim_finds_nothing():
    plan = plan_trim(survey(well(), start=29))
    assert plan.base is None and plan.records == 0 and plan.offset == 29


@pytest.mark.parametrize(
    ("changed", "to", "who"),
    [
        ([receipt("osaka", 30, age_s=59)], 20, "site osaka"),  # within the margin: its Redis may lose it
        ([receipt("osaka", 30, digest=b"x" * 16)], 20, None),  # no base that anybody could take
        ([status("osaka", sequence=25)], 20, "site osaka"),  # went back behind its receipts
        ([status("osaka", state="REBUILDING")], None, "site osaka"),
        ([status("osaka", state="NEEDS_REBUILD")], None, "site osaka"),
        ([status("osaka", state="HALTED")], None, "site osaka"),
        ([status("osaka", state="STOPPED")], 30, None),
        ([order(15)], 30, None),  # long past, heard of, and its own retention has dropped it
        ([order(15, ordered_age_s=30)], 10, "copy nightly by time"),  # it may be made late
        ([order(15), OrderAnswered(site="osaka", group="bank", name="nightly", at_us=15 * S, state="FORMING",
                                   reason="", answered_us=NOW)], 10, "copy nightly by time"),
        ([order(15, ordered_age_s=30),
          *(OrderAnswered(site=site, group="bank", name="nightly", at_us=15 * S, state="OUT_OF_WINDOW", reason="",
                          answered_us=NOW) for site in SITES)], 30, None),
        ([order(15, ordered_age_s=30, dropped_us=NOW)], 30, None),  # taken back
        ([order(5, ordered_age_s=30)], None, "copy nightly by time"),  # needs the log's beginning
        ([order(25), *(receipt(site, 24, name="nightly", at_us=25 * S, age_s=10) for site in SITES)], 20,
         "copy nightly by time"),  # formed a moment ago
        ([order(25), *(receipt(site, 24, name="nightly", at_us=25 * S) for site in SITES)], 30, None),
        ([order(2_000_000)], 30, None),  # to come
    ],
)  # fmt: skip
def test_who_holds_it_back(changed, to, who):
    plan = plan_trim(survey([*well(), *changed]))
    assert (plan.base.sequence if plan.base else None) == to
    if who is not None:
        assert plan.needs[0].who == who and plan.needs[0].why


def test_a_site_that_never_reported_and_one_without_copies():
    assert first(plan_trim(survey([status("tokyo"), receipt("tokyo", 10)]))) == ("site osaka", 0)
    plan = plan_trim(survey([*map(status, SITES), receipt("tokyo", 10)]))
    assert plan.base is None and first(plan) == ("site osaka", 0)


def test_a_lock_keeps_the_log_that_brings_the_copy_back():
    plan = plan_trim(survey(well(), locks={20: NOW + S}))
    assert plan.base.sequence == 20 and first(plan) == ("copy c20", 20)
    assert plan_trim(survey(well(), locks={20: NOW - 30 * S})).base.sequence == 20  # clocks differ
    assert plan_trim(survey(well(), locks={20: NOW - 61 * S})).base.sequence == 30


def test_a_locked_copy_by_time_keeps_the_log_behind_its_elder():
    """Though every site has had it for long: one that loses its store makes it again from there."""

    def plan(until_us):
        lock = OrderProtected(
            name="nightly", groups="bank", at_us=25 * S, locked_until_us=until_us, kept=False, protected_us=NOW
        )
        there = [receipt(site, 25, name="nightly") for site in SITES]
        return plan_trim(survey([*well(), order(25), lock, *there]))

    assert plan(NOW + S).base.sequence == 20
    assert "nightly" in " ".join(need.who for need in plan(NOW + S).needs)
    assert plan(0).base.sequence == 30


def test_a_store_is_believed_more_than_its_workers_last_report():
    """A rebuild without a worker reports nothing; a store that went back neither."""
    found = survey(well())
    assert plan_trim(found).base.sequence == 30
    emptied = plan_trim(replace(found, stores={"osaka": 0, "tokyo": 1000}))
    assert emptied.base is None and first(emptied) == ("site osaka", 0)
    assert plan_trim(replace(found, stores={"osaka": 25})).base.sequence == 20


def test_the_opening_of_the_heads_session_stays():
    plan = plan_trim(survey(well(), epochs={20: 3, 30: 3}))
    assert plan.base.sequence == 10 and ("the writer", 10) in [(need.who, need.sequence) for need in plan.needs]


def test_a_copy_by_time_at_the_same_place_is_no_base():
    """The receipts of one are no receipts of a marker's copy."""
    records = [*well((10, 20)), receipt("tokyo", 30), receipt("osaka", 30, name="nightly", at_us=30 * S)]
    assert plan_trim(survey(records)).base.sequence == 20


@pytest.mark.parametrize("seed", range(300))
def test_never_past_what_anybody_needs(seed):
    """Random facts: the place is a copy that every site has had for the margin, at or before each site's position, each
    lock, and the elder copy of each command that is not settled."""
    rng = random.Random(seed)
    copies = sorted(rng.sample(range(2, 900), 6))
    records, lasting = [], {site: set() for site in SITES}
    for site in SITES:
        for n in copies:
            if rng.random() < 0.85:
                age = rng.choice([5, 59, 61, 3600, 3600])
                records.append(receipt(site, n, age_s=age))
                if age > 60:
                    lasting[site].add(n)
        records.append(status(site, sequence=rng.choice([1000, 1000, rng.randrange(1, 1000)])))
    orders = [order(rng.randrange(1, 900), rng.choice([5, 3600]), f"o{index}") for index in range(2)]
    locks = {n: NOW + S for n in copies if rng.random() < 0.1}
    found = survey([*records, *orders], copies, locks, head_epoch=rng.choice([2, 3, 3, 3]))
    plan = plan_trim(found)
    if plan.base is None:
        return
    place = plan.base.sequence
    assert found.head_epoch == 3
    assert all(place in lasting[site] for site in SITES)
    assert all(record.sequence >= place for record in records if isinstance(record, SiteStatus))
    assert all(n >= place for n in locks)
    for one in orders:
        for site in SITES:
            settled = one.ordered_us < NOW - MARGIN and any(n * S > one.at_us for n in lasting[site])
            elders = [n for n in lasting[site] if n * S <= one.at_us]
            assert settled or (elders and place <= max(elders))
