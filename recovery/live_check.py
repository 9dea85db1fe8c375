"""A site's live blocks, of those that were written since its newest copy, against the log, while a worker applies.

Blocks are read together with the position beside them, and the log is followed to just there: so each is compared with
what it must be at that moment, whoever writes meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tidelog.errors import IS_KAFKA_UP, LogUnavailable, OutOfWindow, SiteBehind
from tidelog.recovery.live_fold import LiveFold, Read
from tidelog.schemas.events import Event
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.image import Store
from tidelog.stores.late import LateEvents
from tidelog.stores.named import windows
from tidelog.stores.store import Copy, Position

Found = TypeVar("Found")
OpenEvents = Callable[[Copy], LateEvents]

# Waiting for events that the site has applied, or for a large event to be applied wholly: seconds.
WAIT = 30.0
PAUSE = 0.002
# Blocks that are read beside one position.
WINDOW_BLOCKS = 256


@dataclass(frozen=True, slots=True)
class WrongBlock:
    """A live block: what is there (None: nothing), and what must be."""

    volume: VolumeInfo
    block: int
    there: bytes | None
    right: bytes


class LiveCheck:
    """From the newest common copy on. Close it.

    Every method raises `OutOfWindow` where the log does not lead from that copy to the site's position, or too much was
    written since; `SiteBehind`, `LogUnavailable`, and what stores raise.
    """

    def __init__(self, site: Store, copy: Copy, read: Read, open_events: OpenEvents) -> None:
        """``read`` is asked for blocks of the copy, from where they are right."""
        self._mending = site.mending()
        self._copy = copy
        self._fold = LiveFold(copy, read)
        self._events = open_events(copy)
        self._ahead: list[Event] = []

    def close(self) -> None:
        """Ends the reading of the log."""
        self._events.close()

    @property
    def named(self) -> dict[int, ChangeBitmap]:
        """The blocks named since the copy, as far as the log was followed, by volume id."""
        return self._fold.named

    def bits(self) -> tuple[dict[int, ChangeBitmap], dict[int, ChangeBitmap]]:
        """The blocks named since the copy that the site's bitmaps leave out, and those that they name too many, of live
        volumes and the copy's own, by volume id."""
        position, found = self._whole(lambda: self._mending.named_since(self._copy))
        self._reach(position)
        named = {volume: self._fold.named.get(volume, ChangeBitmap()) for volume in found}
        missing = {volume: named[volume] - blocks for volume, blocks in found.items()}
        spurious = {volume: blocks - named[volume] for volume, blocks in found.items()}
        return _some(missing), _some(spurious)

    def unname(self, volume: int) -> int:
        """Clears the bits that are too many, at whatever position the site is then; how many."""

        def named(position: Position) -> ChangeBitmap:
            self._reach(position)
            return self._fold.named.get(volume, ChangeBitmap())

        return self._mending.unname(self._copy, volume, named)

    def wrong(self) -> Iterator[WrongBlock]:
        """The live blocks that are not what they must be; none twice."""
        self._reach(self._whole(lambda: self._mending.named_since(self._copy))[0])
        for number, named in list(self._fold.named.items()):
            volume = self._fold.table.get(number)
            if volume is None:
                continue
            for base, part in windows(ChangeBitmap(named.bits), WINDOW_BLOCKS):
                yield from self._wrong_of(volume, [base + block for block in part.blocks()])

    def _wrong_of(self, volume: VolumeInfo, blocks: list[int]) -> Iterator[WrongBlock]:
        position, values = self._whole(lambda: self._mending.live(volume, blocks))
        self._reach(position)
        if self._fold.table.get(volume.id) is None:
            return
        for block, there in zip(blocks, values, strict=True):
            right = self._fold.content(volume.id, block)
            if not same(there, right):
                yield WrongBlock(volume, block, there, right)

    def _whole(self, read: Callable[[], tuple[Position, Found]]) -> tuple[Position, Found]:
        """What is read beside a position at which no event is applied in part."""
        deadline = time.monotonic() + WAIT
        while True:
            position, found = read()
            if not position.step:
                return position, found
            if time.monotonic() > deadline:
                raise SiteBehind("a large event is applied in part", hint="is the site's worker running?")
            time.sleep(PAUSE)

    def _reach(self, position: Position) -> None:
        """Follows the log to a position of the site."""
        goal, deadline = position.head.sequence, time.monotonic() + WAIT
        if goal < self._fold.sequence:
            raise SiteBehind("the site went back while it was compared", hint="try again")
        while self._fold.sequence < goal:
            if not self._ahead:
                self._ahead = [event for event, _ in self._events.take()]
            if not self._ahead:
                if time.monotonic() > deadline:
                    message = f"the log was not read up to sequence {goal} within {WAIT:g} s"
                    raise LogUnavailable(message, hint=IS_KAFKA_UP)
                time.sleep(PAUSE)
                continue
            event = self._ahead[0]
            if event.last_sequence > goal:
                raise OutOfWindow(f"the site stands at sequence {goal}, within an event of the log")
            self._fold.take(self._ahead.pop(0))


def _some(found: dict[int, ChangeBitmap]) -> dict[int, ChangeBitmap]:
    return {volume: blocks for volume, blocks in found.items() if blocks.count}


def same(there: bytes | None, right: bytes) -> bool:
    """Whether a block holds ``right``; zeros at the end, or nothing, are zeros."""
    return (there or b"").rstrip(b"\0") == right.rstrip(b"\0")
