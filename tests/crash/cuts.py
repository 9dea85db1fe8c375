"""Points inside the cut of a copy, at the writer and at a site's worker, where a process kills itself.

Armed by child.py. A point counts the calls that are of a cut, and no others. The one that is hit says so on stdout
first: ``hit POINT COPY``.
"""

import os
import signal
import threading
from collections.abc import Sequence

from tidelog.consumers.receipts import Receipts
from tidelog.producers.control import ControlView
from tidelog.producers.group import Group, MarkedCopy
from tidelog.producers.kafka_appender import KafkaAppender
from tidelog.producers.log import Acknowledged
from tidelog.schemas.registry import schemas
from tidelog.stores.keyspace import Command
from tidelog.stores.records import decode_copy
from tidelog.stores.redis_keyspace import RedisSession
from tidelog.stores.store import Copy, CopyState
from tidelog.stores.wire import unpack

WRITER_POINTS = (
    "mark-sent",  # handed to Kafka's client, and no acknowledgement taken
    "mark-answered",  # Kafka has acknowledged it, and the session does not know yet
    "mark-confirmed",  # the session knows, and `mark` has not returned
)
WORKER_POINTS = (
    "cut-planned",  # nothing of its EXEC is sent
    "cut-sent",  # all of its EXEC is sent, and no answer read
    "cut-confirmed",  # Redis has confirmed it, and no receipt is sent
    "cut-digested",  # the receipt is about to be sent
)


class _Armed:
    """The one point at which this process ends, and the copy that it ends with."""

    def __init__(self, point: str, nth: int) -> None:
        self.point, self._nth = point, nth
        self._calls = 0
        self._copy = ""

    def reached(self, point: str, copy: str) -> None:
        """Ends the process if it is the point and the nth time."""
        if point != self.point:
            return
        self._calls += 1
        if self._calls == self._nth:
            os.write(1, f"hit {point} {copy}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def begins(self, copy: str) -> None:
        """The cut of ``copy`` begins; if it is the one to end with, `hold` holds what must not happen before."""
        if self._calls == self._nth - 1:
            self._copy = copy

    def hold(self, copy: str) -> None:
        """Waits for the end."""
        if copy == self._copy:
            threading.Event().wait()


def arm(point: str, nth: int) -> None:
    """SIGKILL the nth time that ``point`` is reached in this process."""
    armed = _Armed(point, nth)
    if point in WRITER_POINTS:
        _arm_writer(armed)
    else:
        _arm_worker(armed)


def _arm_writer(armed: _Armed) -> None:
    send, mark = KafkaAppender.send, Group.mark
    header = schemas()["Marker"].header
    marking = [""]

    def sending(self: KafkaAppender, value: bytes, acknowledged: Acknowledged) -> None:
        if not value.startswith(header):
            send(self, value, acknowledged)
            return
        copy = marking[0]

        def answered(offset: int, error: Exception | None) -> None:
            if armed.point == "mark-sent":
                armed.hold(copy)  # its acknowledgement is not taken, however fast it comes
            armed.reached("mark-answered", copy)
            acknowledged(offset, error)

        armed.begins(copy)
        send(self, value, answered)
        armed.reached("mark-sent", copy)

    def marked(self: Group, name: str) -> MarkedCopy:
        marking[0] = name
        copy = mark(self, name)
        armed.reached("mark-confirmed", name)
        return copy

    KafkaAppender.send = sending  # type: ignore[method-assign]
    Group.mark = marked  # type: ignore[method-assign]


def _arm_worker(armed: _Armed) -> None:
    submit, settle, answer = RedisSession.submit, RedisSession.settle, Receipts._answer
    under_way: dict[int, str] = {}

    def submitting(self: RedisSession, commands: Sequence[Command]) -> None:
        copy = _cut_in(commands)
        if copy:
            armed.reached("cut-planned", copy)
            armed.begins(copy)
        submit(self, commands)
        if copy:
            under_way[id(self)] = copy
            armed.reached("cut-sent", copy)

    def settling(self: RedisSession) -> bytes | None:
        value = settle(self)
        copy = under_way.pop(id(self), "")
        if copy:
            armed.reached("cut-confirmed", copy)
        return value

    def answering(self: Receipts, copy: Copy, view: ControlView) -> bool:
        if armed.point == "cut-confirmed":
            armed.hold(copy.name)  # the receipts' thread may see a cut before its applier does
        self._store.digest(copy)
        armed.reached("cut-digested", copy.name)
        return answer(self, copy, view)

    RedisSession.submit = submitting  # type: ignore[method-assign]
    RedisSession.settle = settling  # type: ignore[method-assign]
    Receipts._answer = answering  # type: ignore[method-assign]


def _cut_in(commands: Sequence[Command]) -> str:
    """The name of the copy that a transaction cuts; empty if it cuts none. A drop writes a copy's record, too."""
    for command in unpack(commands):
        if command[0] == b"HSET" and bytes(command[1]).endswith(b":copies"):
            copy = decode_copy(bytes(command[3]))
            if copy.state is CopyState.FORMED:
                return copy.name
    return ""
