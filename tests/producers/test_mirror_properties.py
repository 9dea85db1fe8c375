"""What a configuration of MirrorMaker must say; the ready one says it."""

from pathlib import Path

import pytest

from tidelog.producers.mirror_properties import read_properties, wrong_properties

READY = (Path(__file__).parents[2] / "infra" / "mirror-maker.properties").read_text()
TOPIC = "tidelog.bank"


def wrong(text: str, topic: str = TOPIC) -> list[str]:
    return wrong_properties(read_properties(text), topic)


def test_the_ready_file_is_right() -> None:
    """And reads as Java reads it: comments, spaces, both separators, lines that go on."""
    assert wrong(READY) == []
    assert read_properties("# a\n! b\nx=1\ny : 2\n z  =  3, \\\n   4\n\nempty=\nalone") == {
        "x": "1",
        "y": "2",
        "z": "3, 4",
        "empty": "",
        "alone": "",
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("replication.policy.class = org.apache.kafka.connect.mirror.DefaultReplicationPolicy", "keeps its name"),
        ("a->b.enabled = false", "no flow"),
        ("a->b.topics = tidelog.other, orders", "no flow"),
        ("b.producer.acks = 1", "acks"),
        ("producer.acks = 0", "acks"),
        ("a->b.producer.override.acks = 1", "acks"),
        ("b.producer.enable.idempotence = false", "in.flight"),
        ("b.producer.max.in.flight.requests.per.connection = 6", "in.flight"),
        ("b.producer.max.in.flight.requests.per.connection = many", "in.flight"),
        ("b.producer.max.request.size = 1048576", "max.request.size"),
        ("b.producer.delivery.timeout.ms = 120000", "tries for ever"),
        ("b.producer.retries = 3", "tries for ever"),
        ("errors.tolerance = all", "left out"),
        ("a->b.errors.tolerance = all", "left out"),
        ("a.consumer.auto.offset.reset = latest", "beginning"),
        ("a->b.consumer.auto.offset.reset = none", "beginning"),
        ("a->b.transforms = drop", "as it is"),
    ],
)
def test_each_rule(line: str, said: str) -> None:
    """One line of the ready file made wrong, or added: one sentence that names it."""
    found = wrong(f"{READY}{line}\n")  # the later of two lines counts
    assert len(found) == 1 and said in found[0], found


@pytest.mark.parametrize("topics", ["tidelog.bank", ".*", "orders, tidelog\\..*", "tidelog.bank,x"])
def test_topics_are_patterns(topics: str) -> None:
    """Separated by commas, each for the whole name."""
    assert wrong(f"{READY}a->b.topics = {topics}\n") == []
    assert wrong(f"{READY}a->b.topics = tidelog.ban\n") != []


def test_connects_own_producer_keeps_the_order() -> None:
    """Without a word of it: one request under way, all replicas; the size of a request is what it lacks."""
    text = "\n".join(line for line in READY.splitlines() if not line.startswith("b.producer."))
    assert [said.split()[0] for said in wrong(text)] == ["b.producer.max.request.size"]
    assert wrong(f"{text}\nb.producer.max.request.size = 8388608\n") == []


def test_the_producer_is_that_of_the_cluster_that_the_flow_goes_to() -> None:
    """A flow that is turned round alone leaves the other cluster's producer as Kafka Connect has it."""
    turned = READY.replace("a->b.", "x->y.").replace("b->a.enabled = false", "").replace("x->y.", "b->a.")
    assert [said.split()[0] for said in wrong(turned)] == ["a.producer.max.request.size"]
    assert wrong(turned.replace("b.producer.", "a.producer.")) == []
    assert wrong(turned.replace("b.producer.", "producer.")) == []
    assert wrong(turned.replace("b.producer.", "b->a.producer.override.")) == []


def test_a_topic_goes_one_way() -> None:
    """Said first; the way back lacks its producer besides."""
    found = wrong(f"{READY}b->a.enabled = true\n")
    assert "both ways" in found[0] and found[1].startswith("a.producer.") and len(found) == 2


def test_nothing_at_all() -> None:
    """An empty file: what it lacks, and no error."""
    assert len(wrong("")) == 3
