"""Membership by a Kafka consumer group: the groups are shared among the workers of a site, and taken over."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import FencedInstanceIdError

from tidelog.config import Config
from tidelog.consumers import kafka_membership
from tidelog.consumers.kafka_membership import KafkaMembership
from tidelog.errors import Unavailable
from tidelog.testing.running import RunningDeployment

DEADLINE = 150.0


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    """Closes what a test opens."""
    with ExitStack() as stack:
        yield stack


def shares(
    members: list[KafkaMembership], groups: dict[str, str], wanted: Callable[[list[set[str]]], bool]
) -> list[set[str]]:
    """What the members own once that is as ``wanted``; all of them are asked in turn, as their workers would."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found: list[set[str]] = []
        with suppress(Unavailable):  # a coordinator that is only being elected: a worker waits that out, too
            found = [member.owned(groups) for member in members]
        if found and wanted(found):
            return found
        assert time.monotonic() < deadline, f"not within {DEADLINE:g} s: {found}"


@pytest.mark.servers
@pytest.mark.timeout(400)
def test_workers_share_the_groups(tidelog_deployment: RunningDeployment, closing: ExitStack) -> None:
    """Three members own two of six groups each; when one leaves, the others own three each."""
    deployment = tidelog_deployment.deployment
    records = [deployment.cluster.create_group(f"bank{number}") for number in range(6)]
    groups = {record.group: record.topic for record in records}
    members = [KafkaMembership(deployment.config, "osaka") for _ in range(3)]
    for member in members:
        closing.callback(member.close)

    def shared(found: list[set[str]]) -> bool:
        each = len(groups) // len(found)
        return sorted(chain(*found)) == sorted(groups) and all(len(one) == each for one in found)

    shares(members, groups, shared)
    members.pop(0).close()
    shares(members, groups, shared)


class FencedConsumer:
    """A consumer whose place was taken by another with its instance id."""

    def __init__(self) -> None:
        self.refused = threading.Event()

    def subscribe(self, topics: list[str]) -> None:
        """Takes any."""

    def pause(self, *_partitions: TopicPartition) -> None:
        """Fetches nothing anyway."""

    def poll(self, timeout_ms: int) -> None:
        """Nothing comes."""

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("tidelog.bank", 0)}

    def commit_async(self, _offsets: Any) -> None:
        self.refused.set()
        raise FencedInstanceIdError("another member has this instance id")


def test_a_refused_commit_is_of_no_consequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The offsets at Kafka are for lag tools only: a fenced member does not end its worker by reporting them."""
    consumer = FencedConsumer()
    monkeypatch.setattr(kafka_membership, "open_consumer", lambda *_arguments, **_settings: consumer)
    monkeypatch.setattr(kafka_membership, "close_quietly", lambda _consumer: None)
    member = KafkaMembership(Config(), "osaka")
    member.owned({"bank": "tidelog.bank"})
    member.commit({"tidelog.bank": 7})
    assert consumer.refused.wait(DEADLINE)
    assert member.owned({"bank": "tidelog.bank"}) == {"bank"}
    member.close()


@pytest.mark.servers
@pytest.mark.timeout(400)
def test_groups_made_one_by_one_are_all_served(tidelog_deployment: RunningDeployment, closing: ExitStack) -> None:
    """A member that is asked once a second, as a worker does, gets each group that is made while it runs."""
    deployment = tidelog_deployment.deployment
    member = KafkaMembership(deployment.config, "osaka")
    closing.callback(member.close)
    groups: dict[str, str] = {}
    for number in range(5):
        record = deployment.cluster.create_group(f"bank{number}")
        groups[record.group] = record.topic
        deadline = time.monotonic() + DEADLINE
        while member.owned(groups) != set(groups):
            assert time.monotonic() < deadline, f"{member.owned(groups)} of {sorted(groups)}"
            time.sleep(1.0)  # a worker's interval: how often it asks is what this is about
