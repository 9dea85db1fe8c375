"""A digest of a large volume keeps nothing from applying, also when the replica must connect anew."""

import threading
import time

import pytest

from tests.consumers.conftest import KIB, Lab, until
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.reading import CopyReader

CHUNK_SECONDS = 0.1


def test_applying_does_not_wait_for_a_digest(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the position was moved the replica goes on although a digest of 25 s is running; it also stops at once."""
    monkeypatch.setattr("tidelog.stores.digest._BATCH_BYTES", 4 * KIB)
    real, begun = CopyReader.blocks, threading.Event()

    def blocks(reader: CopyReader, base: int, wanted: ChangeBitmap) -> dict[int, bytes]:
        begun.set()
        threading.Event().wait(CHUNK_SECONDS)
        return real(reader, base, wanted)

    monkeypatch.setattr(CopyReader, "blocks", blocks)
    group = lab.group()
    volume = group.create_volume("v", 1000 * KIB, block_size=512)
    volume.write(0, b"x" * 1000 * KIB)
    first = group.mark("one")
    replica = lab.replica()
    assert begun.wait(20.0)
    store = lab.store()
    assert store.mark_dropping(until(lambda: next((c for c in store.copies() if c.sequence == first.sequence), None)))
    began = time.monotonic()
    group.mark("two")
    group.flush()
    until(lambda: replica.progress(0).head == group.session.confirmed, "all applied")
    replica.stop()
    assert not replica.running and time.monotonic() - began < 8.0
