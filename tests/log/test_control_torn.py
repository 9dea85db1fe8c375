"""The control topic of a process that was cut off in the midst of reading, or whose topic was made anew."""

import threading
from contextlib import closing

import pytest

from tests.log.test_control import receipt, status
from tidelog.producers.cluster import KafkaCluster
from tidelog.producers.kafka_clients import open_admin
from tidelog.producers.kafka_consumer import PartitionConsumer
from tidelog.producers.kafka_control import KafkaControl
from tidelog.producers.kafka_topics import COMPACTED_RULES, make_topic
from tidelog.testing.readiness import wait_until


@pytest.mark.servers
@pytest.mark.parametrize("name", ["_begin_reading", "_reader", "_read", "fetch"])
def test_ctrl_c_behind_any_call_takes_neither_the_topic_nor_a_record_from_others(config, monkeypatch, name):
    """Whoever goes on in this process sees all that is there, and hears what comes."""
    owner = PartitionConsumer if name == "fetch" else KafkaControl
    called, met = getattr(owner, name), []
    with KafkaCluster(config) as cluster:
        control = cluster.control
        control.publish(receipt())
        assert control.snapshot()
        control.publish(receipt("tokyo"))

        def interrupted(*given):
            done = called(*given)
            if done == []:
                return done
            monkeypatch.setattr(owner, name, called)
            raise KeyboardInterrupt

        monkeypatch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            control.snapshot()
        waiter = threading.Thread(target=lambda: met.append(control.wait_for(lambda view: status().key in view, 20)))
        waiter.start()
        assert set(control.snapshot(5)) == {receipt().key, receipt("tokyo").key}
        control.publish(status())
        waiter.join(30)
        assert met == [True]


@pytest.mark.servers
def test_who_only_asks_notices_a_control_topic_that_was_made_anew(config):
    """Also while it holds less than had been read of the former one."""
    topic = f"{config.prefix}-control"
    with KafkaCluster(config) as cluster, closing(open_admin(config)) as admin:
        for number in range(5):
            cluster.control.publish(receipt(sequence=number))
        assert len(cluster.control.snapshot()) == 5
        admin.delete_topics([topic])
        assert wait_until(lambda: make_topic(admin, config, topic, COMPACTED_RULES), timeout_s=30)
        with KafkaCluster(config) as other:
            other.control.publish(status())
        assert set(cluster.control.snapshot()) == {status().key}
