"""Somebody else's events: made by hand, put past any session."""

from dataclasses import replace
from typing import Any

from tidelog.producers.memory_log import MemoryLog
from tidelog.schemas.chain import Head
from tidelog.schemas.codec import Codec
from tidelog.schemas.events import Event, WriterOpened


def opening(head: Head, writer: bytes = b"other-writer-id.", **fields: Any) -> WriterOpened:
    """A ``WriterOpened`` that extends ``head``, but for what ``fields`` say otherwise."""
    event = WriterOpened(
        epoch=head.epoch + 1,
        writer=writer,
        sequence=head.sequence + 1,
        timestamp_us=head.timestamp_us + 1,
        previous=head.seal,
        opened_by="elsewhere:1",
    )
    return replace(event, **fields)


def following(kind: type[Event], head: Head, **fields: Any) -> Event:
    """The next event of the head's own session."""
    common: dict[str, Any] = {
        "epoch": head.epoch,
        "writer": head.writer,
        "sequence": head.sequence + 1,
        "timestamp_us": head.timestamp_us + 1,
        "previous": head.seal,
    }
    return kind(**common | fields)


def put(log: MemoryLog, event: Event, codec: Codec | None = None) -> Head:
    """Puts an event in the log; the head behind it."""
    message, seal = (codec or Codec()).encode(event)
    offset = log.put(message)
    return Head(event.last_sequence, seal, event.epoch, event.writer, event.timestamp_us, offset)
