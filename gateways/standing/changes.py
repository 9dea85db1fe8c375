"""How many changes have come into a log since it was looked at first: its sequence, without the heartbeats in it."""

from tidelog.producers.log import Log
from tidelog.recovery.head import events_back
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Event, Heartbeat


class LogChanges:
    """Of one log. ``heartbeat`` in seconds, as the writer's configuration should have it, too (of one that beats more
    often some beats are counted): one comes only where nothing else has come for so long, so that of a busy log nothing
    is read for this."""

    def __init__(self, heartbeat: float) -> None:
        # By half: the time of an event is not that of its sending.
        self._silence_us = round(heartbeat * 1_000_000 / 2)
        self._before: Event | None = None
        self.count: int | None = None  # None: it was not looked at yet

    def look(self, log: Log, codec: Codec, newest: Event | None) -> None:
        """Takes in the log's newest event. Begins anew with another history. Raises `LogUnavailable`."""
        before, self._before = self._before, newest
        behind, since_us = (before.last_sequence, before.timestamp_us) if before is not None else (0, 0)
        if self.count is None or newest is None or newest.last_sequence < behind:
            self.count = 0
        elif newest.last_sequence > behind:
            self.count += newest.last_sequence - behind - self._heartbeats(log, codec, newest, behind, since_us)

    def _heartbeats(self, log: Log, codec: Codec, newest: Event, behind: int, since_us: int) -> int:
        """Among the events behind a sequence, up to the newest one."""
        if newest.timestamp_us - since_us < self._silence_us:
            return 0
        found = 0
        for event in events_back(log, codec):
            if event.timestamp_us - since_us < self._silence_us or event.last_sequence <= behind:
                break
            found += isinstance(event, Heartbeat) and event.last_sequence <= newest.last_sequence
        return found
