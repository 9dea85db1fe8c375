"""Stop on doubt: a site halts at a known place with a reason, and what it had stays whole and readable."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.consumers.conftest import KIB, Lab, needs_rebuild, until, written
from tests.producers.author import following, opening, put
from tidelog.consumers.replica import State
from tidelog.errors import (
    CopyMissing,
    CorruptEvent,
    LogDiverged,
    TidelogError,
    UnsupportedEvent,
)
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Discard, Event, Heartbeat, VolumeCopied, VolumeCreated, VolumeDeleted, WriteBatch


def batch(head: Head, volume: int, offset: int, data: bytes = b"xx", **fields: Any) -> WriteBatch:
    """The session's next event: one write."""
    stamp = head.timestamp_us + 1
    event = following(
        WriteBatch,
        head,
        volumes=[volume],
        offsets=[offset],
        lengths=[len(data)],
        timestamps_us=[stamp],
        data=data,
        **fields,
    )
    assert isinstance(event, WriteBatch)
    return event


def copied(head: Head, **fields: Any) -> Event:
    """The session's next event: a copy of the volume to itself, of no blocks."""
    plain = {"source": 2, "source_copy_sequence": 0, "source_copy_seal": bytes(16), "target": 2, "bitmap": b""}
    return following(VolumeCopied, head, **plain | fields)


def spoiled(spoil: Callable[[bytes], bytes]) -> Callable[[Lab, Head], None]:
    """The session's next event, its bytes changed on the way."""

    def act(lab: Lab, head: Head) -> None:
        message, _ = lab.codec.encode(following(Heartbeat, head))
        lab.log.put(spoil(message))

    return act


def said(make: Callable[[Head], Any]) -> Callable[[Lab, Head], None]:
    """A well-sealed, well-chained event that cannot be true."""

    def act(lab: Lab, head: Head) -> None:
        put(lab.log, make(head), lab.codec)

    return act


def unknown(lab: Lab, head: Head) -> None:
    """An event of a schema that is not built in, sealed as this group's."""
    message, _ = lab.codec.encode(following(Heartbeat, head))
    body = message[:2] + b"\xaa" * 8 + message[10:-16]
    lab.log.put(body + lab.codec.seal(body))


POISON: dict[str, tuple[Callable[[Lab, Head], None], type[TidelogError]]] = {
    "a flipped bit": (spoiled(lambda message: message[:30] + bytes([message[30] ^ 4]) + message[31:]), CorruptEvent),
    "a wrong seal": (spoiled(lambda message: message[:-1] + bytes([message[-1] ^ 1])), CorruptEvent),
    "a cut record": (spoiled(lambda message: message[:-5]), CorruptEvent),
    "trailing bytes": (spoiled(lambda message: message + b"\0\0"), CorruptEvent),
    "an empty record": (spoiled(lambda _message: b""), CorruptEvent),
    "no event at all": (spoiled(lambda _message: b'{"json": "from somebody else"}' * 3), CorruptEvent),
    "an unknown fingerprint": (unknown, UnsupportedEvent),
    "a write past the end": (said(lambda head: batch(head, 2, 20 * KIB - 1)), CorruptEvent),
    "a write to no volume": (said(lambda head: batch(head, 999, 0)), CorruptEvent),
    "a discard past the end": (
        said(lambda head: following(Discard, head, volume=2, offset=0, length=20 * KIB + 1)),
        CorruptEvent,
    ),
    "a volume that exists": (
        said(lambda head: following(VolumeCreated, head, name="v1", size=KIB, block_size=512)),
        CorruptEvent,
    ),
    "a volume of no block size": (
        said(lambda head: following(VolumeCreated, head, name="w", size=KIB, block_size=500)),
        CorruptEvent,
    ),
    "the delete of no volume": (said(lambda head: following(VolumeDeleted, head, volume=77)), CorruptEvent),
    "a time that goes back": (
        said(lambda head: following(Heartbeat, head, timestamp_us=head.timestamp_us)),
        CorruptEvent,
    ),
    "a copy onto itself": (said(lambda head: copied(head)), CorruptEvent),
    "a copy from a copy that is not here": (said(lambda head: copied(head, source_copy_sequence=999)), CopyMissing),
    "another event of the same sequence": (
        said(lambda head: following(Heartbeat, head, previous=b"another history!")),
        LogDiverged,
    ),
}


@pytest.mark.parametrize("kind", POISON)
def test_a_poison_record(lab: Lab, kind: str) -> None:
    """Everything before it is applied; the halt names its offset and what to do; copies stay readable; a new start
    comes to the same."""
    group = written(lab.group())
    act, error = POISON[kind]
    head = group.session.confirmed
    before = lab.reference()
    act(lab, head)
    lab.log.put(lab.log._records[0].value)  # something behind it, too
    for _ in range(2):
        replica = lab.replica()
        until(lambda replica=replica: not replica.running, "the halt")
        progress = replica.progress(0)
        assert progress.state is State.HALTED
        assert type(progress.error) is error and progress.error.hint
        assert (progress.error.group, progress.error.offset) == ("bank", head.offset + 1)
        store = lab.store()
        assert store.position().head == head
        assert len(store.copies()) == len(before.copies) == 3
        for copy in store.copies():
            assert store.digest(copy) == before.copies[copy.sequence].digest
        replica.stop()


def test_the_poison_is_in_the_status(lab: Lab) -> None:
    """Position, state, reason and hint, for whoever looks from elsewhere."""
    group = written(lab.group())
    head = group.session.confirmed
    copies = lab.reference().copies
    POISON["a wrong seal"][0](lab, head)
    lab.worker()
    status = until(lambda: (found := lab.status()) and found.state == "HALTED" and found, "the halt in the status")
    assert status.reason.startswith("CorruptEvent: record has a wrong seal")
    assert f"offset {head.offset + 1}" in status.reason and "group bank" in status.reason and status.hint
    assert (status.sequence, status.seal, status.offset) == (head.sequence, head.seal, head.offset)
    for cut in copies.values():
        assert until(lambda cut=cut: lab.receipt(cut.sequence), "a halted site's receipt").digest == cut.digest


def test_a_gap_halts_until_somebody_opens(lab: Lab) -> None:
    """It goes on reading, shows what is missing, applies nothing; a new session ends it, without a restart."""
    group = written(lab.group())
    head = group.session.confirmed
    worker, _ = lab.worker()
    lab.caught_up()
    put(lab.log, following(Heartbeat, head, sequence=head.sequence + 2), lab.codec)
    status = until(lambda: (found := lab.status()) and found.state == "HALTED" and found, "the gap in the status")
    assert status.reason.startswith(f"LogGap: sequence {head.sequence + 1} is missing") and status.hint
    assert worker.replicas["bank"].running and lab.store().position().head == head
    # The missing one comes late: no longer of use, since whoever opens will not have counted it.
    put(lab.log, following(Heartbeat, head), lab.codec)
    again = lab.group()
    again.mark("after-the-gap")
    lab.caught_up()
    status = until(lambda: (found := lab.status()) and found.state == "STREAMING" and found, "streaming again")
    assert not status.reason and status.sequence == again.session.confirmed.sequence


@pytest.mark.parametrize("lost", ["nothing applied", "next event", "head's own record"])
def test_a_log_trimmed_past_the_site(lab: Lab, lost: str) -> None:
    """What comes next, or the record that proves the position, is no longer there: it never jumps."""
    group = lab.group()
    if lost != "nothing applied":
        replica = lab.replica()
        lab.caught_up()
        replica.stop()
    position = lab.store(create=True).position()
    written(group)
    lab.log.trim({"nothing applied": 1, "next event": 3, "head's own record": 1}[lost])
    replica = lab.replica()
    needs_rebuild(replica)
    assert lab.store().position() == position
    error = replica.progress(0).error
    assert error is not None and error.hint.endswith("tidelog site rebuild osaka --group bank")


def test_a_log_trimmed_up_to_the_head_is_well(lab: Lab) -> None:
    """As long as the head's own record is there, nothing that the site needs is gone."""
    group = written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    lab.log.trim(group.session.confirmed.offset)
    replica = lab.replica()
    group.mark("more")
    until(lambda: lab.store().position().head == group.session.confirmed, "the marker applied")
    assert replica.running


@pytest.mark.parametrize("noticed", [True, False])
def test_a_truncated_log(lab: Lab, noticed: bool) -> None:
    """The log lost what the site has applied: halted while connected, and again at each start."""
    group = written(lab.group())
    replica = lab.replica()
    store = lab.caught_up()
    position = store.position()
    group.abandon()
    lab.log.truncate(4, noticed=noticed)
    again = lab.group()
    for name in ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"):
        again.mark(name)
    for attempt in (replica, None):
        running = attempt or lab.replica()
        until(lambda running=running: not running.running, "the halt")
        error = running.progress(0).error
        assert isinstance(error, LogDiverged) and running.progress(0).state is State.HALTED
    assert lab.store().position() == position


def test_a_log_of_another_cluster(lab: Lab) -> None:
    """The position speaks of offsets of one cluster: in another's log the head is looked for, and this one has none."""
    written(lab.group())
    replica = lab.replica()
    lab.caught_up()
    replica.stop()
    lab.log.cluster_id = "another"
    lab.log.recreate()
    written(lab.group())
    replica = lab.replica()
    until(lambda: not replica.running, "the halt")
    error = replica.progress(0).error
    assert isinstance(error, LogDiverged) and "another" in error.message and error.hint


def test_void_records_at_the_end_are_no_backlog(lab: Lab) -> None:
    """A late record of a fenced session is the log's last: the site has read it, and says that it streams."""
    group = written(lab.group())
    lab.worker()
    lab.caught_up()
    for _ in range(3):
        put(lab.log, opening(group.session.confirmed, epoch=1, sequence=1), lab.codec)
    until(lambda: (found := lab.status()) and found.void == 3, "the void records seen")
    until(
        lambda: (found := lab.status()) and found.end_offset == lab.log.bounds().end and found.state == "STREAMING",
        "streaming",
    )


def test_an_unforeseen_error_is_a_halt(lab: Lab) -> None:
    """A thread that dies unseen would let the site age in silence."""
    group = lab.group()
    lab.codec.decode = lambda _value: 1 / 0  # type: ignore[method-assign,assignment]
    replica = lab.replica()
    until(lambda: not replica.running, "the halt")
    error = replica.progress(0).error
    assert error is not None and "ZeroDivisionError" in error.message and "bug" in error.hint
    group.abandon()
