"""What is known now, for every page and every program that asks: one picture, made once a look."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from tidelog.clock import iso, time_or_none, wall_us
from tidelog.consumers.catalogue import CatalogueCopy
from tidelog.errors import LogUnavailable, TidelogError
from tidelog.gateways.cli.hints import for_operators
from tidelog.gateways.standing.documents import JSON_VERSION, status_document
from tidelog.gateways.standing.observer import Observed
from tidelog.gateways.web.documents import help_json
from tidelog.gateways.web.history import History

BEAT_SECONDS = 5.0
# Without an answer of Kafka for so long, or five intervals, the picture counts as old.
PATIENCE_SECONDS = 10.0


class Board:
    """The last picture, what has been wrong since, and the last hour. `looked`, `answered`, `failed` and `stop` may be
    called from any thread, everything else from the event loop."""

    def __init__(self, interval: float, *, guarded: bool = False) -> None:
        self.history = History()
        self.observed: list[Observed] = []
        self.status: dict[str, Any] | None = None  # of the last look that Kafka has answered
        self.looked_us = 0  # when that was
        self.interval, self.patience = interval, max(PATIENCE_SECONDS, 5 * interval)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guarded = guarded
        self._run = f"{wall_us():x}"
        self._began_us = wall_us()
        self._looked = self._heard = time.monotonic()
        self._silence: TidelogError | None = None  # what the clock has made a problem of
        self._late = False
        self._problem: TidelogError | None = None
        self._newest: dict[str, dict[str, Any]] = {}  # by the same look as the status
        self._copies: dict[str, tuple[int, tuple[CatalogueCopy, ...]]] = {}
        self._message = ""
        self._closed = False
        self._changed = asyncio.Event()
        self._publish()

    def begin(self) -> None:
        """In the event loop that it belongs to from now on."""
        self._loop = asyncio.get_running_loop()

    def looked(self, observed: list[Observed]) -> None:
        """Kafka has answered."""
        status = status_document(observed)
        self._from_any_thread(lambda: self._take(observed, status))

    def answered(self) -> None:
        """Kafka has, and the look goes on. From any thread, too: often, and so without a word to the event loop."""
        self._heard = time.monotonic()

    def failed(self, error: TidelogError) -> None:
        """It has not."""
        self._from_any_thread(lambda: self._take_problem(error))

    async def watch_the_clock(self) -> None:
        """Says it, for ever, when a look is late: one that waits for Kafka fails only when Kafka's timeout is over."""
        while True:
            await asyncio.sleep(min(1.0, self.interval))
            self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        """A look at many groups takes long, too; that is no fault of Kafka's while it answers."""
        now = time.monotonic()
        silent = now - max(self._looked, self._heard)
        if silent > self.patience / 2:
            if self._problem is None:
                self._silence = LogUnavailable(f"Kafka has not answered for {silent:.0f} s")
                self._take_problem(self._silence)
            return
        before = self._problem, self._late
        if self._problem is self._silence:
            self._problem = self._silence = None
        self._late = self._problem is None and now - self._looked > self.patience / 2
        if (self._problem, self._late) != before:
            self._publish()

    def stop(self) -> None:
        """Ends what `follow` gives."""
        self._from_any_thread(self._close)

    @property
    def unready(self) -> str:
        """Why the picture is not of now; empty if it is."""
        if self._problem is None and self.status is not None:
            return ""
        silence = self._problem is not None and self._problem is self._silence
        heard = max(self._looked, self._heard) if silence else self._looked
        if time.monotonic() - heard < self.patience and self.status is not None:
            return ""
        why = str(self._problem) if self._problem is not None else "Kafka has not been looked at yet"
        return f"{why}; the last answer was at {iso(self.looked_us)}" if self.looked_us else why

    def of(self, group: str) -> Observed | None:
        """A group as it was last seen."""
        return next((found for found in self.observed if found.standing.record.group == group), None)

    def revision(self, group: str) -> str:
        """Another one whenever the group's catalogue of copies has changed."""
        return f"{self._run}-{self._copies[group][0]}" if group in self._copies else ""

    async def follow(self) -> AsyncIterator[str]:
        """Server-sent events: the picture now, then each that follows, the newest only for who is slow; a beat while
        there is none."""
        seen = None
        while not self._closed:
            changed, message = self._changed, self._message
            if message is not seen:
                seen = message
                yield message
                continue
            try:
                await asyncio.wait_for(changed.wait(), BEAT_SECONDS)
            except TimeoutError:
                yield f": beat\nevent: beat\ndata: {iso(wall_us())}\n\n"

    def _close(self) -> None:
        self._closed = True
        self._changed.set()

    def _from_any_thread(self, action: Callable[[], None]) -> None:
        if self._loop is None:
            return  # it has not begun, and nobody follows
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:
            return  # the server has ended meanwhile, and nobody looks

    def _take(self, observed: list[Observed], status: dict[str, Any]) -> None:
        self.observed, self.status = observed, status
        self.looked_us, self._looked, self._problem, self._late = wall_us(), time.monotonic(), None, False
        before, self._copies = self._copies, {}
        for group in observed:
            number, copies = before.get(group.standing.record.group, (0, ()))
            now = group.standing.copies
            self._copies[group.standing.record.group] = (number + (now != copies or not number), now)
        buckets = self.history.add(observed)
        self._newest = {name: bucket.json() for name, bucket in buckets.items()}
        self._publish()

    def _take_problem(self, error: TidelogError) -> None:
        self._problem = error
        self._publish()

    def _publish(self) -> None:
        problem = self._problem
        document = {
            "version": JSON_VERSION,
            "run": self._run,
            "guarded": self._guarded,  # whether one logs in
            "look": {
                "answers": problem is None and self.status is not None,
                "time": time_or_none(self.looked_us),
                "since": iso(self.looked_us or self._began_us),
                "kafka_away": isinstance(problem, LogUnavailable),
                "reason": "" if problem is None else str(problem),
                "hint": "" if problem is None else for_operators(problem.hint, problem.group),
                "late": self._late,  # Kafka answers, and there is much to ask
                "interval_seconds": self.interval,
            },
            "status": self.status,
            "help": help_json(self.observed),
            "newest": self._newest,  # of the history, by group
            "copies": {group: self.revision(group) for group in self._copies},
        }
        self._message = f"event: look\ndata: {json.dumps(document, separators=(',', ':'))}\n\n"
        self._changed.set()
        self._changed = asyncio.Event()
