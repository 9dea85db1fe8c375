"""Membership by a Kafka consumer group: the groups are shared among the workers of a site, and taken over."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
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
        try:
            found = [member.owned(groups) for member in members]
        except Unavailable as error:  # a coordinator that is only being elected: a worker waits that out, too
            assert time.monotonic() < deadline, f"not within {DEADLINE:g} s: {error}"
            continue
        if wanted(found):
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

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("tidelog.bank", 0)}

    def commit_async(self, _offsets: Any) -> None:
        raise FencedInstanceIdError("another member has this instance id")


def test_a_refused_commit_is_of_no_consequence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The offsets at Kafka are for lag tools only: a fenced member does not end its worker by reporting them."""
    monkeypatch.setattr(kafka_membership, "open_consumer", lambda *_arguments, **_settings: FencedConsumer())
    KafkaMembership(Config(), "osaka").commit({"tidelog.bank": 7})
