"""Several regions' control topics as one catalogue."""

from tidelog.consumers.catalogue import Answer, catalogue
from tidelog.recovery.regions import merged
from tidelog.schemas.control import CopyFormed, CopyOrdered, GroupCreated, SiteStatus
from tidelog.schemas.control_record import ControlRecord
from tidelog.schemas.reports import StoreBegan

HEAD = {"state": "STREAMING", "seal": bytes(16), "epoch": 1, "timestamp_us": 5, "events_applied": 1, "redelivered": 0}


def status(site: str, sequence: int, reported_us: int, group: str = "bank") -> SiteStatus:
    return SiteStatus(
        site=site,
        group=group,
        sequence=sequence,
        offset=9,
        end_offset=10,
        void=0,
        reported_us=reported_us,
        worker="w:1",
        **HEAD,
    )


def receipt(site: str, digest: bytes, formed_us: int, seal: bytes = bytes(16)) -> CopyFormed:
    return CopyFormed(
        site=site,
        group="bank",
        sequence=7,
        seal=seal,
        name="noon",
        timestamp_us=3,
        digest=digest,
        blocks_changed=1,
        formed_us=formed_us,
    )


def group(created_us: int) -> GroupCreated:
    return GroupCreated(group="bank", group_id="id", topic="tidelog.bank", keyed=False, created_us=created_us)


def view(*records: ControlRecord) -> dict[str, ControlRecord]:
    return {record.key: record for record in records}


ORDER = CopyOrdered(name="late", groups="bank", at_us=1, ordered_us=1, ordered_by="x")


def test_of_two_words_of_one_site_the_newer() -> None:
    """It has moved from one region to the other; the order of the topics does not matter."""
    old, new = view(group(1), status("london", 7, 100)), view(group(2), status("london", 9, 200))
    for views in ([old, new], [new, old]):
        found = merged(views, "bank")
        assert found["status/bank/london"] == status("london", 9, 200)
        assert found["group/bank"] == views[0]["group/bank"], "the group is the first topic's own"


def test_what_is_one_topics_own_or_another_groups_stays_out() -> None:
    """Commands are obeyed by the workers of one topic alone."""
    found = merged(
        [view(group(1), ORDER), view(status("osaka", 1, 5, "orders"), receipt("osaka", bytes(16), 1))], "bank"
    )
    assert found.keys() == {"group/bank", "copy/bank/7/noon/osaka"}


def test_a_site_of_another_region_that_began_behind_a_copy_is_not_waited_for() -> None:
    """By what it says on its own region's topic; of two words the newer."""
    ours = view(group(1), receipt("tokyo", b"a" * 16, 5), status("tokyo", 8, 9))
    began = StoreBegan(site="london", group="bank", sequence=8, timestamp_us=4, reported_us=9)
    elder = began.model_copy(update={"sequence": 0, "reported_us": 3})
    for views in (
        [ours, view(status("london", 8, 9), began), view(elder)],
        [ours, view(elder, status("london", 8, 9)), view(began)],
    ):
        (standing,) = catalogue(merged(views, "bank"), ["tokyo", "london"], now_us=10, status_interval=1)
        assert standing.copies[0].answers["london"] is Answer.BEGINS_LATER and standing.copies[0].equal


def test_regions_that_differ_are_an_alarm() -> None:
    """By digest, and by history."""
    ours = view(group(1), receipt("tokyo", b"a" * 16, 5), status("tokyo", 8, 9))
    for theirs, said in (
        (receipt("osaka", b"b" * 16, 5), "differs"),
        (receipt("osaka", b"a" * 16, 5, seal=b"s" * 16), "has two seals"),
    ):
        both = merged([ours, view(theirs, status("osaka", 8, 9))], "bank")
        (standing,) = catalogue(both, ["tokyo", "osaka"], now_us=10, status_interval=1)
        assert [alarm for alarm in standing.alarms if said in alarm]
    both = merged([ours, view(receipt("osaka", b"a" * 16, 5), status("osaka", 8, 9))], "bank")
    (standing,) = catalogue(both, ["tokyo", "osaka"], now_us=10, status_interval=1)
    assert standing.alarms == () and standing.copies[0].equal
