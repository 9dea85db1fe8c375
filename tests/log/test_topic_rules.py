"""A topic that breaks a rule of a log is refused, with the rule's name and the way to mend it."""

from contextlib import closing

import pytest

from tidelog.errors import ConfigError, NotFound
from tidelog.producers.kafka_clients import REQUEST_SIZE, open_admin
from tidelog.producers.kafka_log import KafkaLog
from tidelog.producers.kafka_topics import LOG_RULES, Topic, broken_rules, describe_topic, make_topic

GOOD = Topic("tidelog.bank", "id", 1, 1, LOG_RULES)
MANY = Topic("tidelog.bank", "id", 1, 3, LOG_RULES | {"min.insync.replicas": "2"})


def broken(topic, brokers=1, **settings):
    changed = Topic(topic.name, topic.id, topic.partitions, topic.replicas, {**topic.settings, **settings})
    return broken_rules(changed, LOG_RULES, brokers)


def test_a_topic_as_we_make_it_breaks_nothing():
    assert broken(GOOD) == []
    assert broken(MANY, brokers=3) == []
    assert broken(MANY, brokers=5, **{"min.insync.replicas": "3"}) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("cleanup.policy", "compact"),
        ("cleanup.policy", "compact,delete"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "1073741824"),
        ("unclean.leader.election.enable", "true"),
        ("max.message.bytes", "1048588"),
    ],
)
def test_each_setting_is_checked_and_the_hint_mends_it(setting, value):
    ((wrong, mend),) = broken(GOOD, **{setting: value})
    assert setting in wrong
    assert value in wrong
    assert mend.endswith(f"--add-config {setting}={LOG_RULES[setting]}")


def test_three_brokers_ask_for_three_replicas_two_of_them_in_sync():
    assert [wrong for wrong, _ in broken(GOOD, brokers=3, **{"min.insync.replicas": "1"})] == [
        "it has 1 replicas, not 3",
        "its min.insync.replicas is 1, not 2: a confirmed event could stand on one broker only",
    ]


def test_two_partitions_have_no_order():
    ((wrong, mend),) = broken_rules(Topic("t", "", 2, 1, LOG_RULES), LOG_RULES, 1)
    assert "2 partitions" in wrong
    assert mend == "make a new topic"


@pytest.fixture
def admin(config):
    with closing(open_admin(config)) as admin:
        yield admin


@pytest.mark.servers
@pytest.mark.parametrize(
    ("partitions", "changed", "named"),
    [
        (2, {}, "2 partitions"),
        (1, {"cleanup.policy": "compact"}, "cleanup.policy is compact"),
        (1, {"retention.ms": "60000"}, "retention.ms is 60000"),
        (1, {"max.message.bytes": "1000000"}, "max.message.bytes is 1000000"),
    ],
)
def test_check_refuses_a_real_topic_that_breaks_a_rule(admin, config, partitions, changed, named):
    topic = f"{config.prefix}.log"
    admin.create_topics({topic: {"num_partitions": partitions, "configs": {**LOG_RULES, **changed}}})
    admin.wait_for_topics([topic])
    with closing(KafkaLog(config, topic)) as log, pytest.raises(ConfigError, match=named) as raised:
        log.check()
    assert topic in str(raised.value)
    assert raised.value.hint


@pytest.mark.servers
def test_check_misses_a_topic_that_is_not_there(config):
    with closing(KafkaLog(config, f"{config.prefix}.none")) as log, pytest.raises(NotFound, match="no topic"):
        log.check()


@pytest.mark.servers
def test_a_topic_is_made_once_and_keeps_the_rules(admin, config):
    topic = f"{config.prefix}.log"
    assert make_topic(admin, config, topic, LOG_RULES)
    assert not make_topic(admin, config, topic, LOG_RULES)
    found = describe_topic(admin, config, topic)
    assert (found.partitions, found.settings["retention.ms"]) == (1, "-1")
    assert found.settings["max.message.bytes"] == str(REQUEST_SIZE)
    assert len(found.id) == 36
