"""Copies by time: when they are due, and how a batch that holds one is cut in parts (US8788772, US8788768).

Each site looks at the timestamps in the events that it applies, its own mirror data, to decide when its copy is due:
after the last event or write with a timestamp of at most the time asked for, once one above it is at hand. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tidelog.schemas.chain import Head
from tidelog.schemas.events import WriteBatch
from tidelog.stores.state import Image
from tidelog.stores.store import Copy, CopyOrigin


@dataclass(frozen=True, slots=True)
class DueCopy:
    """A command: cut a copy of this name at ``at_us`` (UTC microseconds of the log's time)."""

    name: str
    at_us: int


def due(orders: Iterable[DueCopy], image: Image, head: Head, before_us: int) -> list[DueCopy]:
    """The commands whose time has come when an event of ``before_us`` follows ``head``, in order of time.

    Not those that were cut, nor those that the head is past: what they asked for is not the live image any more. None
    before a group's first event, and none inside an event that is applied in steps.
    """
    if not head.sequence or image.position.step:
        return []
    cut = _cut(image)
    ready = {order for order in orders if head.timestamp_us <= order.at_us < before_us}
    return sorted((order for order in ready if (order.name, order.at_us) not in cut), key=by_time)


def late(orders: Iterable[DueCopy], image: Image) -> list[DueCopy]:
    """The commands that the head is past, and that no copy answers, in order of time."""
    cut, head = _cut(image), image.position.head
    passed = {order for order in orders if order.at_us < head.timestamp_us}
    return sorted((order for order in passed if (order.name, order.at_us) not in cut), key=by_time)


def place(order: DueCopy, copies: Iterable[Copy]) -> tuple[Copy | None, Copy | None]:
    """The copies, of all in order, that one cut in time would stand between; None at either end."""
    elder = None
    for copy in copies:
        if placed(copy) > by_time(order):
            return elder, copy
        elder = copy
    return elder, None


def placed(copy: Copy) -> tuple[int, str]:
    """A copy in the order of `by_time`: a marker of that very time is before it."""
    return copy.timestamp_us, copy.name if copy.origin is CopyOrigin.TIME else ""


def by_time(order: DueCopy) -> tuple[int, str]:
    """In this order commands are obeyed, those of one time too: at every site alike."""
    return order.at_us, order.name


def _cut(image: Image) -> set[tuple[str, int]]:
    return {(copy.name, copy.timestamp_us) for copy in image.copies.values() if copy.origin is CopyOrigin.TIME}


def part(batch: WriteBatch, first: int, end: int) -> WriteBatch:
    """Writes ``first`` to ``end`` - 1 of a batch."""
    start = sum(batch.lengths[:first])
    return replace(
        batch,
        volumes=batch.volumes[first:end],
        offsets=batch.offsets[first:end],
        lengths=batch.lengths[first:end],
        timestamps_us=batch.timestamps_us[first:end],
        data=batch.data[start : start + sum(batch.lengths[first:end])],
    )
