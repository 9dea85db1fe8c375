"""Of several promotions of one group at once one goes on: its request is the newest on the control topic."""

from contextlib import suppress

from tidelog.consumers.primary import promotion_under_way
from tidelog.errors import Fenced, LogUnavailable
from tidelog.producers.control import Control, ControlView
from tidelog.recovery.promote_plan import refuse_other
from tidelog.schemas.control import GroupCreated
from tidelog.schemas.promotions import PromotionAsked, promotion_key


class Claim:
    """One promotion's request, in its several forms: a new one for each session that is asked to end."""

    def __init__(self, control: Control, record: GroupCreated, *, forced: bool) -> None:
        self._control, self._record, self._forced = control, record, forced
        self._asked: PromotionAsked | None = None

    def put(self, asked: PromotionAsked) -> None:
        """Puts it in place of the one before. Raises `PromotionRefused` if another promotion was there first, `Fenced`
        if one has taken this one's place."""
        if self._asked is None:
            refuse_other(promotion_under_way(self._control.snapshot(), self._record), forced=self._forced)
        else:
            self.require()
        self._asked = asked
        self._control.publish(asked)

    def require(self, view: ControlView | None = None) -> None:
        """Raises `Fenced` if another promotion has taken this one's place."""
        group = self._record.group
        found = (view or self._control.snapshot()).get(promotion_key(group))
        if found == self._asked:
            return
        by = f"to site {found.site} by {found.asked_by}" if isinstance(found, PromotionAsked) else "which is over"
        raise Fenced(
            f"another promotion of group {group}, {by}, has taken this one's place",
            group=group,
            hint="see which site is the primary: tidelog status",
        )

    def withdraw(self) -> None:
        """So that no session ends for this promotion, and no opening waits for it, once it is over. Where Kafka does
        not answer, it expires."""
        with suppress(LogUnavailable):
            if self._asked is not None and self._control.snapshot().get(self._asked.key) == self._asked:
                self._control.retract(self._asked.key)
