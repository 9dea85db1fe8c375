"""How writes become events: what closes a batch, and that order is the order of the calls."""

import threading

import pytest

from tests.producers.conftest import Lab, events, until
from tidelog.producers import batch as batch_module
from tidelog.producers import session as session_module
from tidelog.producers.log import UNKNOWN_OFFSET

KIB = 1024


def batches(lab: Lab) -> list[dict]:
    """The write batches in the log."""
    return [event for event in events(lab.log) if event["kind"] == "WriteBatch"]


def test_a_batch_closes_at_its_size(lab: Lab) -> None:
    """The write that reaches `batch_bytes` is the last of its batch, and nobody has to ask for it."""
    volume = lab.group(batch_bytes=4 * KIB).create_volume("v", 64 * KIB)
    for block in range(9):
        volume.write(block * KIB, bytes([block]) * KIB)
    assert [len(batch["lengths"]) for batch in batches(lab)] == [4, 4]


def test_a_batch_closes_at_its_number_of_writes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny writes fill a batch by their number."""
    monkeypatch.setattr(session_module, "MAX_WRITES", 5)
    volume = lab.group().create_volume("v", KIB)
    for index in range(11):
        volume.write(index, b"x")
    assert [len(batch["lengths"]) for batch in batches(lab)] == [5, 5]
    assert batch_module.MAX_WRITES == 4096


def test_a_batch_closes_by_lingering(lab: Lab) -> None:
    """A lone write goes into the log by itself."""
    volume = lab.group(linger=0.005).create_volume("v", KIB)
    volume.write(0, b"alone")
    until(lambda: batches(lab), "a batch by linger")
    volume.write(5, b"again")
    until(lambda: len(batches(lab)) == 2, "a second batch by linger")


def test_no_linger_closes_at_once(lab: Lab) -> None:
    """A linger of nothing is a setting like any other."""
    volume = lab.group(linger=0.0).create_volume("v", KIB)
    volume.write(0, b"x")
    until(lambda: batches(lab), "a batch without linger")


@pytest.mark.parametrize("closing", ["flush", "mark", "discard", "resize", "create_volume", "close"])
def test_a_batch_closes_before_what_follows(lab: Lab, closing: str) -> None:
    """A flush, a marker and every other event come behind the writes that were made before them."""
    group = lab.group()
    volume = group.create_volume("v", 4 * KIB)
    volume.write(0, b"before")
    assert not batches(lab)
    {
        "flush": group.flush,
        "mark": lambda: group.mark("m"),
        "discard": lambda: volume.discard(0, 1),
        "resize": lambda: volume.resize(2 * KIB),
        "create_volume": lambda: group.create_volume("w", KIB),
        "close": group.close,
    }[closing]()
    kinds = [event["kind"] for event in events(lab.log)]
    assert kinds.index("WriteBatch") == 2
    assert len(kinds) == (3 if closing in ("flush", "close") else 4)


def test_sequences_and_stamps_are_given_one_a_write(lab: Lab) -> None:
    """Write i of a batch has sequence + i, a stamp of its own, and its own bytes."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    for index in range(3):
        volume.write(index * 10, b"abc"[: index + 1])
    head = group.session.flush()
    (batch,) = batches(lab)
    assert batch["sequence"] == 3 and head.sequence == 5
    assert batch["offsets"] == [0, 10, 20] and batch["lengths"] == [1, 2, 3] and batch["data"] == b"aababc"
    assert batch["timestamps_us"] == sorted(set(batch["timestamps_us"]))
    assert head.timestamp_us == batch["timestamp_us"] == batch["timestamps_us"][-1]
    assert lab.reference().sequence == 5


def test_many_threads_make_one_order(lab: Lab) -> None:
    """What each thread wrote stands in the log once, in that thread's order; nothing is lost between batches."""
    group = lab.group(batch_bytes=4 * KIB, linger=0.001)
    count, threads = 400, 8
    volume = group.create_volume("v", threads * 8)

    def write(thread: int) -> None:
        for index in range(count):
            volume.write(thread * 8, index.to_bytes(8, "big"))
            if index % 97 == thread:
                group.flush()

    running = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    group.flush()
    written: dict[int, list[int]] = {}
    for batch in batches(lab):
        for index, offset in enumerate(batch["offsets"]):
            number = int.from_bytes(batch["data"][index * 8 : index * 8 + 8], "big")
            written.setdefault(offset // 8, []).append(number)
    assert written == {thread: list(range(count)) for thread in range(threads)}
    reference = lab.reference()
    assert reference.sequence == group.session.confirmed.sequence == 2 + count * threads
    assert reference.volumes[volume.id].data == bytes.fromhex(f"{count - 1:016x}") * threads


@pytest.mark.parametrize("offset", [0, 100, 4 * KIB - 1])
def test_a_large_write_is_split_in_order(lab: Lab, offset: int) -> None:
    """More than a batch goes as several writes that end on block borders; together they are the bytes."""
    group = lab.group(batch_bytes=8 * KIB)
    volume = group.create_volume("v", 128 * KIB)
    data = bytes(range(256)) * 200 + b"end"
    volume.write(offset, data)
    group.flush()
    extents = [
        (start, length)
        for batch in batches(lab)
        for start, length in zip(batch["offsets"], batch["lengths"], strict=True)
    ]
    assert len(extents) > 5 and sum(length for _, length in extents) == len(data)
    assert all(length <= 8 * KIB for _, length in extents)
    assert all((start + length) % 4096 == 0 for start, length in extents[:-1])
    assert [start for start, _ in extents] == sorted(start for start, _ in extents)
    assert lab.reference().volumes[volume.id].data[offset : offset + len(data)] == data


def test_nothing_comes_between_the_pieces_of_a_large_write(lab: Lab) -> None:
    """Other threads' writes stand before or behind all of it, never in between."""
    group = lab.group(batch_bytes=4 * KIB)
    volume = group.create_volume("v", 64 * KIB, block_size=4 * KIB)
    stop = threading.Event()

    def small() -> None:
        while not stop.is_set():
            volume.write(63 * KIB, b"s")

    other = threading.Thread(target=small)
    other.start()
    try:
        for _ in range(20):
            volume.write(0, b"L" * 32 * KIB)
    finally:
        stop.set()
        other.join()
    group.flush()
    order = "".join("L" if length > 1 else "s" for batch in batches(lab) for length in batch["lengths"])
    assert order.count("L") == 160
    assert all(len(run) % 8 == 0 for run in order.split("s"))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_are_taken_as_they_are_now(lab: Lab, kind: type) -> None:
    """A buffer that its owner changes after the call does not change the write."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    buffer = bytearray(b"hello")
    volume.write(0, kind(buffer))
    buffer[:] = b"xxxxx"
    group.flush()
    assert lab.reference().volumes[volume.id].data[:5] == b"hello"


def test_pieces_of_other_shapes_are_bytes_too(lab: Lab) -> None:
    """A view of larger items is written as its bytes."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    volume.write(0, memoryview(b"\1\0\0\0\2\0\0\0").cast("I"))
    group.flush()
    assert lab.reference().volumes[volume.id].data[:8] == b"\1\0\0\0\2\0\0\0"


def test_a_sent_event_is_encoded_once(lab: Lab) -> None:
    """Whatever becomes of a send, only those bytes are ever sent for its sequence."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    lab.log.hold()
    volume.write(0, b"x")
    writer = threading.Thread(target=group.flush)
    writer.start()
    until(lambda: lab.log.pending)
    (send,) = lab.log.pending
    send.land()
    send.land()
    send.acknowledge(UNKNOWN_OFFSET)
    writer.join()
    values = [record.value for record in lab.log._records]
    assert values[-1] == values[-2] == send.value
    assert group.session.confirmed.offset == 2
