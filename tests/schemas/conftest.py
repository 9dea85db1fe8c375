"""One event of every type, and some write batches that are hard to code."""

import random
from typing import Any

import pytest

from tidelog.schemas.events import (
    CopyDropped,
    CopyKept,
    CopyLocked,
    Discard,
    Event,
    Heartbeat,
    Marker,
    VolumeCopied,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
    WriteBatch,
    WriterOpened,
)

WRITER = bytes(range(16))
PREVIOUS = bytes(range(100, 116))
TIME = 1_790_000_000_000_000


def write_batch(offsets: list[int], lengths: list[int], times: list[int], volumes: list[int]) -> WriteBatch:
    """A batch with these arrays and some data."""
    return WriteBatch(
        epoch=2,
        writer=WRITER,
        sequence=40,
        timestamp_us=times[-1],
        previous=PREVIOUS,
        volumes=volumes,
        offsets=offsets,
        lengths=lengths,
        timestamps_us=times,
        data=bytes(at * 7 % 251 for at in range(sum(lengths))),
    )


def _samples() -> dict[str, Event]:
    common: dict[str, Any] = {"epoch": 2, "writer": WRITER, "sequence": 40, "timestamp_us": TIME, "previous": PREVIOUS}
    rng = random.Random(1)
    times = sorted(rng.sample(range(TIME, TIME + 100_000), 300))
    mixed = [rng.randrange(1 << rng.randrange(1, 50)) for _ in range(300)]
    events: list[tuple[str, Event]] = [
        ("WriterOpened", WriterOpened(**common, opened_by="tokyo-1:4711")),
        ("VolumeCreated", VolumeCreated(**common, name="ledger", size=1 << 30, block_size=4096)),
        ("VolumeResized", VolumeResized(**common, volume=2, size=1 << 31)),
        ("VolumeDeleted", VolumeDeleted(**common, volume=2)),
        ("WriteBatch", write_batch([8192, 0, 300], [20, 5, 1], [TIME - 9, TIME - 1, TIME], [2, 3, 2])),
        ("WriteBatch-one", write_batch([4096], [64], [TIME], [2])),
        ("WriteBatch-equal", write_batch([rng.randrange(1 << 30) for _ in range(300)], [3] * 300, times, [2] * 300)),
        ("WriteBatch-mixed", write_batch(mixed, [rng.randrange(1, 9) for _ in range(300)], times, mixed[::-1])),
        ("Discard", Discard(**common, volume=2, offset=65536, length=1 << 20)),
        ("Marker", Marker(**common, name="end-of-day")),
        ("CopyDropped", CopyDropped(**common, copy_sequence=39, copy_seal=bytes(range(50, 66)))),
        ("CopyLocked", CopyLocked(**common, copy_sequence=39, copy_seal=bytes(range(50, 66)), until_us=TIME + 2)),
        ("CopyKept", CopyKept(**common, copy_sequence=39, copy_seal=bytes(range(50, 66)), kept=True)),
        (
            "VolumeCopied",
            VolumeCopied(
                **common,
                source=2,
                source_copy_sequence=0,
                source_copy_seal=bytes(16),
                target=3,
                bitmap=bytes.fromhex("789c6b60fc0f0002840181"),  # zlib of 80 01 ff
            ),
        ),
        ("Heartbeat", Heartbeat(**common)),
    ]
    return dict(events)


@pytest.fixture(scope="session")
def samples() -> dict[str, Event]:
    """Events by name; the part before a dash is the type."""
    return _samples()
