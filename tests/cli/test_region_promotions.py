"""Promotion and return at the command line where something is in the way."""

import json

import pytest

from tests.cli.test_regions import at, bank, mirrored, nara_has_it, regions, running  # noqa: F401
from tests.producers.author import following, put
from tidelog.consumers.access import open_group
from tidelog.errors import LogUnavailable
from tidelog.producers.mirrors import mirror_here
from tidelog.recovery.promote import Promotion
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Heartbeat
from tidelog.schemas.reports import CLOSED, WriterStatus, writer_key

PROMOTE = ("site", "promote", "nara", "--group", "bank", "--force")


@pytest.fixture
def there(bank, regions, running):  # noqa: F811
    """Region b has all of a, and its sites have applied it."""
    assert mirrored(bank, regions).code == 0
    regions.send()
    nara_has_it(regions, running)
    return bank


def is_mirror(regions) -> bool:  # noqa: F811
    control = regions.deployments["b"].cluster.control
    return mirror_here(control.snapshot(), "bank", "cluster-b") is not None


def test_the_lost_kafka_does_not_answer(there, regions) -> None:  # noqa: F811
    """`--with` asks it if it answers: the promotion is done and told all the same."""
    regions.log("a").cut_off()
    try:
        assert there("b", *PROMOTE, "--with", str(regions.files["a"]), "--dry-run").code == 0 and is_mirror(regions)
        done = there("b", *PROMOTE, "--with", str(regions.files["a"]))
    finally:
        regions.log("a").restore()
    assert done.code == 0 and "opened at sequence 5" in done.text and "how much that is" in done.text
    assert "does not answer" in done.err and not is_mirror(regions)


def test_another_configuration_is_refused_before_anything_is_changed(there, regions, tmp_path) -> None:  # noqa: F811
    """A file that is not there, and one of a region that the mirror does not come from."""
    for other, code in ((tmp_path / "none.toml", 10), (regions.files["b"], 2)):
        refused = there("b", *PROMOTE, "--with", str(other))
        assert refused.code == code and is_mirror(regions), refused.err


def test_it_says_where_the_other_history_is_sealed(there) -> None:
    """To programs, too."""
    report = json.loads(there("b", *PROMOTE, "--json").text)["report"]
    assert report["sealed"]["sequence"] == 4 and report["sealed"]["log"] == "cluster-a"


def test_what_a_promotion_has_left_is_tidied_by_the_same_command(there, regions, monkeypatch) -> None:  # noqa: F811
    """Cut short behind the last word but one: nobody writes in the epoch, which is told by the next try."""

    def cut_short(*_: object) -> None:
        raise LogUnavailable("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(Promotion, "_close", cut_short)
        assert there("b", *PROMOTE).code == 11
    assert "is the primary of group bank already" in there("b", *PROMOTE).text
    told = regions.deployments["b"].cluster.control.snapshot().get(writer_key("bank"))
    assert isinstance(told, WriterStatus) and told.state == CLOSED


def test_nothing_is_lost_but_heartbeats(there, regions) -> None:  # noqa: F811
    """A site that has applied them halts like any other: the command says that it is to be rolled back."""
    with open_group("bank", deployment=regions.deployments["a"]) as group:
        regions.send()
        group.flush()
        head = group.session.confirmed
    put(regions.log("a"), following(Heartbeat, head), Codec())
    assert there("b", *PROMOTE).code == 0
    back = there("a", "group", "mirror", "bank", "--from-config", str(regions.files["b"]))
    assert back.code == 0 and "nothing but heartbeats" in back.text and "tidelog site rollback" in back.err


def test_the_region_of_a_mirror_says_that_its_writer_is_elsewhere(there) -> None:
    """In place of a writer that is silent here, and of a primary that is none; after the promotion as anywhere."""
    shown, told = there("b", "status"), json.loads(there("b", "status", "--json").text)["groups"][0]
    assert shown.text.count("mirror of cluster cluster-a (kafka-a:9092)") == 2 and "NO WORD" not in shown.text
    assert told["mirror_of"] == "cluster-a" and told["primary"] is None
    assert "in another region" in there("b", "group", "show", "bank").text
    planned = there("b", *PROMOTE, "--dry-run").text
    assert "NOT fenced" in planned and "is fenced" not in planned
    assert there("b", *PROMOTE).code == 0
    told = json.loads(there("b", "status", "--json").text)["groups"][0]
    assert told["mirror_of"] is None and told["primary"]["site"] == "nara"
    assert "mirror of" not in there("b", "status").text


def test_a_region_that_writes_on_behind_its_seal_is_an_alarm(there, regions) -> None:  # noqa: F811
    """Whichever region asks."""
    a, b = (str(regions.files[name]) for name in ("a", "b"))
    assert there("b", *PROMOTE).code == 0
    assert there("b", "group", "regions", "bank", "--with", a).code == 0
    with open_group("bank", deployment=regions.deployments["a"]) as group:
        for _ in range(9):
            group.volume("ledger").write(0, b"lost")
            group.flush()
        last = group.session.confirmed.sequence
    for region, other in (("b", a), ("a", b)):
        found = there(region, "group", "regions", "bank", "--with", other)
        assert found.code == 3 and "was sealed at sequence 4" in found.text and f"goes on to {last}" in found.text
    told = json.loads(there("b", "group", "regions", "bank", "--with", a, "--json").text)
    assert len(told["alarms"]) == 1 and f"tidelog -c {a} group mirror bank" in told["alarms"][0]
