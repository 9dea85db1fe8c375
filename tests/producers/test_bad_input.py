"""What a writer refuses: one of our errors, and nothing of it in the log."""

import threading
from collections.abc import Callable

import pytest

from tests.producers.conftest import Lab, events
from tidelog.errors import AlreadyExists, InvalidName, NotFound, OutOfBounds, SessionClosed, UsageError
from tidelog.producers.group import Group
from tidelog.producers.volume import Volume

SIZE = 10_000


@pytest.fixture
def group(lab: Lab) -> Group:
    """A group with one volume, `v`."""
    group = lab.group()
    group.create_volume("v", SIZE)
    return group


@pytest.mark.parametrize(
    ("offset", "data"),
    [
        (SIZE, b"x"),
        (SIZE - 1, b"xy"),
        (-1, b"x"),
        (0, b""),
        (0, b"x" * (SIZE + 1)),
        (1 << 70, b"x"),
        (-(1 << 70), b"x"),
    ],
)
def test_a_write_outside_the_volume(lab: Lab, group: Group, offset: int, data: bytes) -> None:
    """Past the end, before the beginning, of nothing: refused, and the session goes on."""
    volume = group.volume("v")
    count = len(events(lab.log))
    with pytest.raises(OutOfBounds):
        volume.write(offset, data)
    group.flush()
    assert len(events(lab.log)) == count
    volume.write(SIZE - 1, b"z")
    group.flush()
    assert lab.reference().volumes[volume.id].data[-1:] == b"z"


def test_a_large_write_is_refused_as_a_whole(lab: Lab) -> None:
    """Of a write of many pieces none goes into the log if the last one does not fit."""
    group = lab.group(batch_bytes=4096)
    volume = group.create_volume("v", SIZE)
    count = len(events(lab.log))
    with pytest.raises(OutOfBounds):
        volume.write(1, b"x" * SIZE)
    group.flush()
    assert len(events(lab.log)) == count


@pytest.mark.parametrize("data", [5, "text", None, [1, 2, 3], 1.5])
def test_what_is_no_bytes(lab: Lab, group: Group, data: object) -> None:
    """A number is not that many zeros, a list is not its items."""
    volume = group.volume("v")
    with pytest.raises(TypeError):
        volume.write(0, data)  # type: ignore[arg-type]
    group.flush()
    assert [event["kind"] for event in events(lab.log)] == ["WriterOpened", "VolumeCreated"]


@pytest.mark.parametrize(
    "call",
    [
        lambda volume: volume.write(1.0, b"x"),
        lambda volume: volume.write("0", b"x"),
        lambda volume: volume.discard(0, 1.5),
        lambda volume: volume.discard(None, 1),
    ],
)
def test_an_offset_that_is_no_whole_number(lab: Lab, group: Group, call: Callable[[Volume], None]) -> None:
    """Refused in the caller's thread; what others wrote is not lost with it."""
    volume = group.volume("v")
    volume.write(0, b"good")
    with pytest.raises(TypeError):
        call(volume)
    volume.write(4, b"too")
    group.flush()
    assert lab.reference().volumes[volume.id].data[:7] == b"goodtoo"


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (-1, 2), (SIZE, 1), (0, SIZE + 1), (5, -1)])
def test_a_discard_or_read_outside_the_volume(lab: Lab, group: Group, offset: int, length: int) -> None:
    """As a write; only that reading no bytes is no mistake."""
    volume = group.volume("v")
    with pytest.raises(OutOfBounds):
        volume.discard(offset, length)
    if length:
        with pytest.raises(OutOfBounds):
            volume.read(offset, length)
    else:
        assert volume.read(offset, length) == b""
    assert len(events(lab.log)) == 2


@pytest.mark.parametrize("size", [0, -1, (1 << 50) + 1, "no size", "1.5", None])
def test_sizes_that_cannot_be(lab: Lab, group: Group, size: object) -> None:
    """Of a new volume and of one that is there."""
    with pytest.raises(UsageError):
        group.create_volume("w", size)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        group.volume("v").resize(size)  # type: ignore[arg-type]
    assert len(events(lab.log)) == 2


@pytest.mark.parametrize("block_size", [0, 100, 256, 1000, 131072, -4096])
def test_block_sizes_that_cannot_be(lab: Lab, group: Group, block_size: int) -> None:
    """A power of two from 512 to 65,536."""
    with pytest.raises(UsageError, match="power of two"):
        group.create_volume("w", SIZE, block_size)
    assert len(events(lab.log)) == 2


@pytest.mark.parametrize("name", ["", "Upper", "a b", "-x", ".x", "a/b", "x" * 64, "é", "a\n", None, 5])
def test_names_that_are_none(lab: Lab, group: Group, name: object) -> None:
    """Of volumes and of copies."""
    with pytest.raises(InvalidName):
        group.create_volume(name, SIZE)  # type: ignore[arg-type]
    with pytest.raises(InvalidName):
        group.mark(name)  # type: ignore[arg-type]
    assert len(events(lab.log)) == 2


def test_a_volume_created_twice(lab: Lab, group: Group) -> None:
    """The same is the same; another size or block size is refused, in this session and in the next."""
    assert group.create_volume("v", SIZE).id == group.volume("v").id
    group.close()
    again = lab.group()
    assert again.create_volume("v", str(SIZE)).id == group.volume("v").id
    for size, block_size in ((SIZE + 1, 4096), (SIZE, 512)):
        with pytest.raises(AlreadyExists, match="exists with 10000 bytes"):
            again.create_volume("v", size, block_size)
    assert [event["kind"] for event in events(lab.log)].count("VolumeCreated") == 1


def test_a_copy_name_in_use(lab: Lab, group: Group) -> None:
    """Refused while the copy is there, by the session after too; free again once it is dropped."""
    group.mark("m")
    with pytest.raises(AlreadyExists):
        group.mark("m")
    group.close()
    again = lab.group()
    with pytest.raises(AlreadyExists):
        again.mark("m")
    again.drop_copy("m")
    assert again.mark("m").sequence == lab.reference().sequence
    with pytest.raises(NotFound):
        again.drop_copy("other")


def test_a_volume_that_is_not_there(lab: Lab, group: Group) -> None:
    """Unknown by name; and a handle on a deleted one refuses everything, also under the name of a new volume."""
    with pytest.raises(NotFound, match="there are: v"):
        group.volume("w")
    with pytest.raises(NotFound):
        group.delete_volume("w")
    old = group.volume("v")
    old.write(0, b"x")
    group.delete_volume("v")
    new = group.create_volume("v", SIZE)
    count = len(events(lab.log))
    calls: list[Callable[[], object]] = [
        lambda: old.write(0, b"x"),
        lambda: old.write(0, b"x" * 70_000),
        lambda: old.discard(0, 1),
        lambda: old.resize(5),
        lambda: old.read(0, 1),
        lambda: old.size,
    ]
    for call in calls:
        with pytest.raises((NotFound, OutOfBounds)):
            call()
    assert len(events(lab.log)) == count and new.id != old.id
    assert lab.reference().volumes[new.id].data == bytes(SIZE)


def test_writes_race_with_a_resize(lab: Lab, group: Group) -> None:
    """While a volume shrinks and grows, no write that the new size refuses enters the log."""
    volume = group.volume("v")
    stop = threading.Event()
    refused = []

    def write() -> None:
        while not stop.is_set():
            try:
                volume.write(SIZE - 10, b"x" * 10)
            except OutOfBounds:
                refused.append(1)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(40):
        volume.resize(100)
        volume.discard(0, 100)
        volume.resize(SIZE)
    stop.set()
    for thread in threads:
        thread.join()
    group.flush()
    assert lab.reference().sequence == group.session.confirmed.sequence  # the reference refuses what is outside
    assert refused


def test_a_closed_session_refuses_everything(lab: Lab, group: Group) -> None:
    """Closing twice does nothing; anything else says that it is closed."""
    volume = group.volume("v")
    group.close()
    group.close()
    for call in (lambda: volume.write(0, b"x"), group.flush, lambda: group.mark("m"), lambda: volume.discard(0, 1)):
        with pytest.raises(SessionClosed):
            call()
    assert len(events(lab.log)) == 2
