"""An observer that goes on looking while what it looks at changes."""

from tests.consumers.conftest import Lab
from tidelog.gateways.standing.observer import Observer


def test_a_group_that_goes_on_in_another_topic(lab: Lab) -> None:
    """As after a region was taken up again: the newest event is that of the topic that counts now."""
    group = lab.group()
    group.create_volume("ledger", size=1 << 20)
    group.flush()
    other = lab.cluster.create_group("other")
    with Observer(lab.deployment, "bank") as observer:
        (before,) = observer.observe()
        assert before.newest is not None and before.newest.last_sequence == 2
        lab.control.publish(lab.record.model_copy(update={"topic": other.topic}))
        (after,) = observer.observe()
        assert after.newest is None
