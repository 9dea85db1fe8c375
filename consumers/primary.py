"""Which site is a group's primary: the one that the last promotion has told on the control topic, else the configured
one. It decides where a writer's reads go, and nothing else: which session counts is the log's to say."""

import time

from tidelog.clock import iso, wall_us
from tidelog.config import Config
from tidelog.errors import ConfigError
from tidelog.producers.control import Control, ControlView
from tidelog.producers.process_name import has_ended
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.promotions import PrimaryChosen, PromotionAsked, primary_key, promotion_key

# An opening waits no longer for a promotion, whatever that asks for (seconds); it looks at the clock so often.
PATIENCE, LOOK_EVERY = 60.0, 0.2
# Between a promotion's epoch and what it tells there are some ms.
SOON = 2.0


def chosen_primary(view: ControlView, record: GroupCreated) -> PrimaryChosen | None:
    """What the last promotion of this group has told; None if there was none."""
    found = view.get(primary_key(record.group))
    return found if isinstance(found, PrimaryChosen) and found.group_id == record.group_id else None


def primary_site(view: ControlView, record: GroupCreated, config: Config) -> str:
    """The site that a writer reads from, given that some site is configured. Raises `ConfigError` if it is not one of
    those."""
    chosen = chosen_primary(view, record)
    if chosen is None:
        assert config.primary is not None
        return config.primary
    if chosen.site not in config.sites:
        there = ", ".join(sorted(config.sites)) or "none"
        raise ConfigError(
            f"the primary of group {record.group} is site {chosen.site} since {iso(chosen.chosen_us)}, and that is not"
            f" configured here (there are: {there})",
            hint=f"add [sites.{chosen.site}.redis] with its url, or promote another site:"
            f" tidelog site promote SITE --group {record.group}",
        )
    return chosen.site


def promotion_under_way(view: ControlView, record: GroupCreated) -> PromotionAsked | None:
    """A promotion of this group that has begun and, as far as can be told, not ended: by a primary that was told before
    it none has, whatever epoch that is of. The log may have lost that epoch since."""
    asked, chosen = view.get(promotion_key(record.group)), chosen_primary(view, record)
    if not isinstance(asked, PromotionAsked) or asked.expires_us <= wall_us() or has_ended(asked.asked_by):
        return None
    ended = chosen is not None and chosen.epoch > asked.epoch and chosen.chosen_us >= asked.asked_us
    return None if ended else asked


def await_promotion(control: Control, record: GroupCreated) -> ControlView:
    """Lets a promotion that is under way end first, since it would only ask the new session to end again: not for
    longer than that promotion says itself. The control topic as it is then. Raises `LogUnavailable`."""
    deadline = time.monotonic() + PATIENCE
    view = control.snapshot()
    while promotion_under_way(view, record) is not None and time.monotonic() < deadline:
        control.wait_for(lambda now: promotion_under_way(now, record) is None, LOOK_EVERY)
        view = control.snapshot()
    return view


def primary_beside(writer: bytes, control: Control, record: GroupCreated, config: Config) -> str:
    """The site that a session which has just been opened reads from: a promotion may have opened its epoch right before
    it, and is to tell the primary. Not waited for where it asks this very session to end. Raises as `primary_site`,
    and `LogUnavailable`."""

    def settled(view: ControlView) -> bool:
        asked = promotion_under_way(view, record)
        return asked is None or asked.writer == writer

    control.wait_for(settled, SOON)
    return primary_site(control.snapshot(), record, config)
