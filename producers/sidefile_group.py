"""A group whose writer goes on while Kafka is away: made by `tidelog.open_group` where a sidefile is configured."""

from pathlib import Path
from typing import Any

from tidelog.producers.durability import Durability
from tidelog.producers.group import Group
from tidelog.producers.sidefile_session import SidefileSession


class SidefileGroup(Group):
    """See `Group`. While Kafka is away only writes and discards are taken; whatever else changes the group raises
    `LogUnavailable`, with nothing done."""

    def __init__(self, name: str, session: SidefileSession, *rest: Any) -> None:
        super().__init__(name, session, *rest)
        self._writer = session

    @property
    def sidefile(self) -> Path | None:
        """The file that writes go into now; None while they go into the log."""
        return self._writer.sidefile

    def _settle(self, *, in_log: bool) -> Durability:
        return self._writer.settle(in_log=in_log)
