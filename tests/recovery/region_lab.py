"""What the tests of lost regions have in common: what an operator does, and looking at a log."""

from tests.consumers.conftest import Lab
from tests.consumers.mirror_lab import Mirror
from tidelog.producers.memory_log import MemoryLog
from tidelog.producers.mirrors import MirrorSource
from tidelog.recovery.lost_tail import LostTail
from tidelog.recovery.promote import Promotion, PromotionReport
from tidelog.recovery.promote_plan import plan_promotion
from tidelog.recovery.region_return import find_seal, seal_own


def promoted(region: Lab, site: str, *, give_up: bool = False) -> PromotionReport:
    plan = plan_promotion(region.deployment, site, "bank", forced=True, timeout=20, give_up=give_up)
    return Promotion(region.deployment, plan).run()


def take_up(region: Lab, other: Lab) -> tuple[LostTail, Mirror]:
    """What `tidelog group mirror` does in the region that comes back; and the mirror the other way round."""
    sealed = find_seal(region.cluster, "bank", other.control.snapshot())
    assert sealed is not None
    lost = seal_own(region.cluster, sealed)
    source = MirrorSource(other.log.id, ["kafka:9092"], other.control)
    region.cluster.mirror_group(other.cluster.find_group("bank"), source)
    region.record = region.cluster.find_group("bank")
    return lost, Mirror(other, region)


def records(log: MemoryLog) -> list[tuple[int, bytes]]:
    return [(record.offset, record.value) for record in log._records]
