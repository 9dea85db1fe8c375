"""What the tests of promotions have in common: promoting, and looking at what came of it."""

from tidelog.clock import wall_us
from tidelog.consumers.deployment import open_store
from tidelog.consumers.primary import chosen_primary
from tidelog.producers.control import ControlView
from tidelog.producers.group import Group
from tidelog.recovery.promote import Promotion, PromotionReport
from tidelog.recovery.promote_plan import plan_promotion
from tidelog.schemas.promotions import PrimaryChosen, PromotionAsked
from tidelog.testing.running import RunningDeployment

SITES = ("tokyo", "osaka", "london")
BLOCK = 4096


def view_of(running: RunningDeployment) -> ControlView:
    return running.deployment.cluster.control.snapshot()


def promoted(running: RunningDeployment, site: str, *, forced: bool = False, timeout: float = 20) -> PromotionReport:
    plan = plan_promotion(running.deployment, site, "bank", forced=forced, timeout=timeout)
    return Promotion(running.deployment, plan).run()


def chosen(running: RunningDeployment) -> PrimaryChosen | None:
    return chosen_primary(view_of(running), running.deployment.cluster.find_group("bank"))


def read_at(running: RunningDeployment, site: str, length: int) -> bytes:
    store = open_store(running.deployment, site, "bank")
    data, _ = store.read_live(store.volume("ledger"), 0, length)
    store.close()
    return data


def asked(group: Group, **changes: object) -> PromotionAsked:
    """A request to that session, as a promotion to osaka makes it."""
    record = PromotionAsked(
        group="bank",
        site="osaka",
        epoch=group.session.epoch,
        writer=group.session.writer,
        forced=False,
        asked_us=wall_us(),
        expires_us=wall_us() + 20_000_000,
        asked_by="elsewhere:1",
    )
    return record.model_copy(update=changes)
