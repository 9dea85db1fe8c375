"""Reading one's own writes while a site lags behind by whatever it likes."""

import threading
from random import Random

import pytest

from tests.producers.conftest import Lab
from tidelog.errors import NotFound, SiteBehind
from tidelog.producers import volume as volume_module
from tidelog.producers.batch import OpenBatch
from tidelog.producers.overlay import Overlay
from tidelog.schemas.chain import origin

KIB = 1024


@pytest.mark.parametrize("seed", range(12))
def test_reads_are_what_was_written(lab: Lab, seed: int) -> None:
    """Random writes, discards and resizes against a bytearray; each read comes from a site that lags arbitrarily, and
    whose data may be newer than the sequence it tells."""
    random = Random(seed)
    group = lab.group(batch_bytes=random.choice((4 * KIB, 64 * KIB)))
    models: dict[str, bytearray] = {}
    for name, size in (("a", 20_000), ("b", 3 * 1024 * KIB)):
        group.create_volume(name, size, block_size=random.choice((512, 4096)))
        models[name] = bytearray(size)
    lab.site.applied = group.session.confirmed.sequence
    for step in range(250):
        name = random.choice("ab")
        model, volume = models[name], group.volume(name)
        length = random.choice((1, 10, 512, 4096, 9000))
        offset = random.randrange(max(1, len(model) - length))
        length = min(length, len(model) - offset)
        what = random.random()
        if what < 0.5:
            data = random.randbytes(length)
            volume.write(offset, data)
            model[offset : offset + length] = data
        elif what < 0.6:
            if random.random() < 0.3:
                offset, length = 0, len(model)  # of all, longer than the overlay's index takes by pages
            volume.discard(offset, length)
            model[offset : offset + length] = bytes(length)
        elif what < 0.65:
            size = random.choice((5000, 20_000, 2 * 1024 * KIB))
            volume.resize(size)
            del model[size:]
            model.extend(bytes(size - len(model)))
        elif what < 0.7:
            group.flush()
        else:
            head = group.session.confirmed.sequence
            lab.site.applied = random.randint(lab.site.applied, head)
            lab.site.extra = random.choice((0, 0, random.randint(0, head - lab.site.applied)))
            assert volume.read(offset, length) == model[offset : offset + length], step
    group.flush()
    for name, model in models.items():
        assert group.volume(name).read(0, len(model)) == model


def test_reads_before_the_site_knows_the_volume(lab: Lab) -> None:
    """A volume that the site has not heard of is zeros and own writes; so is one of a name that had another volume."""
    group = lab.group()
    lab.site.applied = 1
    volume = group.create_volume("v", KIB)
    volume.write(5, b"hello")
    assert volume.read(0, 12) == b"\0\0\0\0\0hello\0\0"
    group.delete_volume("v")
    again = group.create_volume("v", KIB)
    assert again.read(0, 12) == bytes(12)
    with pytest.raises(NotFound):
        volume.read(0, 1)


def test_what_was_cut_off_is_zeros_when_it_grows_again(lab: Lab) -> None:
    """Also while the site still holds the old bytes."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    volume.write(0, b"x" * KIB)
    group.flush()
    lab.site.applied = group.session.confirmed.sequence
    volume.resize(10)
    volume.resize(KIB)
    assert volume.read(0, KIB) == b"x" * 10 + bytes(KIB - 10)


def test_a_full_overlay_waits_for_the_site(lab: Lab) -> None:
    """It holds about its capacity; a read that needs what it forgot asks the site until that has it."""
    group = lab.group(overlay_bytes=8 * KIB, batch_bytes=4 * KIB)
    volume = group.create_volume("v", 64 * KIB)
    lab.site.applied = 1
    for block in range(16):
        volume.write(block * 4 * KIB, bytes([block + 1]) * 4 * KIB)
    group.flush()
    overlay = group.session.overlay
    assert overlay._size <= 12 * KIB and overlay.floor > 1
    asked: list[int] = []

    def catch_up() -> None:
        asked.append(1)
        if len(asked) == 3:
            lab.site.applied = group.session.confirmed.sequence

    lab.site.on_read = catch_up
    assert volume.read(0, 4 * KIB) == b"\1" * 4 * KIB
    assert len(asked) == 3


def test_a_site_that_never_catches_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The read says who is behind, and by what; a new session needs its site at the head it opened on."""
    monkeypatch.setattr(volume_module, "READ_TIMEOUT", 0.05)
    first = lab.group()
    first.create_volume("v", KIB).write(0, b"x")
    first.close()
    group = lab.group()
    lab.site.applied = 2
    with pytest.raises(SiteBehind, match="has applied sequence 2, and reading needs 4") as told:
        group.volume("v").read(0, 1)
    assert told.value.hint
    lab.site.applied = 4
    assert group.volume("v").read(0, 1) == b"x"


def test_what_the_site_has_is_forgotten(lab: Lab) -> None:
    """A read tells the overlay how far the site is; a site that falls back behind that is waited for, not believed."""
    group = lab.group()
    volume = group.create_volume("v", KIB)
    volume.write(0, b"abc")
    group.flush()
    lab.site.applied = group.session.confirmed.sequence
    assert volume.read(0, 3) == b"abc"
    assert not group.session.overlay._recent
    lab.site.applied = 2  # its Redis lost the tail
    lab.site.on_read = lambda: setattr(lab.site, "applied", lab.site.applied + 1)
    assert volume.read(0, 3) == b"abc"


def test_reading_while_others_write(lab: Lab) -> None:
    """Every read sees whole writes, never an older one than a read before it."""
    group = lab.group(batch_bytes=4 * KIB, linger=0.0)
    volume = group.create_volume("v", 64 * KIB)
    lab.site.on_read = lambda: setattr(lab.site, "applied", group.session.confirmed.sequence)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            volume.write(8, number.to_bytes(8, "big"))
            if number % 20 == 0:
                group.flush()
                stop.wait(0.001)  # the reference behind the read side is slow

    writer = threading.Thread(target=write)
    writer.start()
    try:
        newest = 0
        for _ in range(60):
            found = int.from_bytes(volume.read(8, 8), "big")
            assert found >= newest
            newest = found
    finally:
        stop.set()
        writer.join()


def test_the_overlay_alone() -> None:
    """Index, forgetting and the unsent batch, against a plain list of writes."""
    random = Random(7)
    overlay, written = Overlay(origin("bank"), 20_000), []
    sequence = 1
    for _ in range(200):
        if random.random() < 0.1:
            offset, length = random.randrange(30_000), random.choice((1, 5000, 2 << 20))
            overlay.add_zeros(1, sequence, offset, length)
            written.append((sequence, 1, offset, bytes(length)))
            sequence += 1
        else:
            batch = OpenBatch(sequence)
            for _ in range(random.randint(1, 5)):
                fill(batch, random)
                written.append((sequence, *batch.writes[-1][:3]))
                sequence += 1
            overlay.add_batch(batch)
        if random.random() < 0.1:
            overlay.prune(random.randint(overlay.floor, sequence - 1))
        unsent = OpenBatch(sequence)
        fill(unsent, random)
        after, offset, length = random.randint(0, sequence), random.randrange(30_000), random.randint(1, 9000)
        data = bytearray(b"\xee" * length)
        if not overlay.patch(1, offset, data, after, unsent):
            assert after < overlay.floor
            assert data == b"\xee" * length
            continue
        wanted = bytearray(b"\xee" * length)
        last = (sequence, *unsent.writes[0][:3])
        for number, volume, start, content in [*written, last]:
            if volume == 1 and number > after - (number == sequence):
                low, high = max(start, offset), min(start + len(content), offset + length)
                if low < high:
                    wanted[low - offset : high - offset] = content[low - start : high - start]
        assert data == wanted


def fill(batch: OpenBatch, random: Random) -> None:
    """One more write in a batch, to volume 1 or 2."""
    data = random.randbytes(random.choice((1, 100, 4096, 6000)))
    batch.writes.append((random.randint(1, 2), random.randrange(30_000), data, 0))
    batch.size += len(data)
