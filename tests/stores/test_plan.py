"""Plans: which commands a run of events becomes."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from store_lab import CLUSTER, IDENTITY, Author

from tidelog.errors import CorruptEvent, LogDiverged, LogGap
from tidelog.schemas.chain import origin
from tidelog.schemas.events import (
    Discard,
    Event,
    Heartbeat,
    VolumeCreated,
    VolumeDeleted,
    VolumeResized,
)
from tidelog.schemas.volumes import VolumeTable
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.keys import Keys
from tidelog.stores.plan import Planner
from tidelog.stores.records import decode_position
from tidelog.stores.state import Image
from tidelog.stores.store import Position
from tidelog.stores.transaction import Limits, Transaction
from tidelog.stores.wire import Packed, unpack

BLOCK = 512
PREFIX = Keys(IDENTITY.group).prefix


def nothing_elder(_volume: int, generations: list[int]) -> list[ChangeBitmap]:
    """There is no generation but the newest."""
    assert not generations
    return []


class Bench:
    """A planner on an empty image, and an author with one volume of 20 blocks and a bit."""

    def __init__(self, limits: Limits | None = None) -> None:
        image = Image(Position(origin(IDENTITY.group_id), "", 0, 0), VolumeTable(), {}, {})
        self.planner = Planner(Keys(IDENTITY.group), image, CLUSTER, limits or Limits(), nothing_elder)
        self.author = Author()
        self.volume = self.author.create("v", 20 * BLOCK + 100)
        self.plan()

    def plan(self) -> list[Transaction]:
        return list(self.planner.plan(self.author.after(self.planner.image.position.head.sequence)))

    def one(self) -> list[tuple[bytes, ...]]:
        """The commands of the only transaction, without prefix and position."""
        (transaction,) = self.plan()
        *commands, last = unpack(transaction.commands)
        assert last == (b"SET", PREFIX + b"position", transaction.value)
        assert decode_position(transaction.value) == transaction.position == self.planner.image.position
        return [tuple(part.removeprefix(PREFIX) for part in command) for command in commands]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def block(number: int) -> bytes:
    return b"b:2:%08x" % number


def test_whole_blocks_are_one_mset_of_views(bench: Bench) -> None:
    """One command for all, whose values are the event's own bytes."""
    event = bench.author.write((2, 0, b"a" * BLOCK), (2, 3 * BLOCK, b"b" * 2 * BLOCK), (2, 20 * BLOCK, b"c" * 100))
    (transaction,) = bench.plan()
    views = [piece for piece in transaction.commands[0].pieces if isinstance(piece, memoryview)]
    assert len(views) == 4 and all(view.obj is event.data for view in views)
    names = [command[0] for command in unpack(transaction.commands)]
    assert names == [b"MSET", b"SETRANGE", b"SET"]  # the bitmap is the SETRANGE


def test_writes_to_one_block_become_one(bench: Bench) -> None:
    """The last whole write wins, later parts are patched in, sequential parts are joined."""
    write = bench.author.write
    write((2, 0, b"x" * 10), (2, 0, b"a" * BLOCK), (2, 5, b"yy"))
    write(*((2, BLOCK + 64 * index, bytes([index + 1]) * 64) for index in range(4)))
    write((2, 2 * BLOCK + 100, b"later"), (2, 2 * BLOCK + 90, b"before"), (2, 2 * BLOCK + 300, b"apart"))
    write(*((2, 3 * BLOCK + 128 * index, b"full" * 32) for index in (2, 0, 3, 1)))
    joined = b"".join(bytes([index + 1]) * 64 for index in range(4))
    assert bench.one() == [
        (b"MSET", block(0), b"a" * 5 + b"yy" + b"a" * (BLOCK - 7), block(3), b"full" * 128),
        (b"SETRANGE", block(1), b"511", b"\0"),
        (b"SETRANGE", block(1), b"0", joined),
        (b"SETRANGE", block(2), b"511", b"\0"),
        (b"SETRANGE", block(2), b"90", b"before"),
        (b"SETRANGE", block(2), b"100", b"later"),
        (b"SETRANGE", block(2), b"300", b"apart"),
        (b"SETRANGE", b"m:0:2", b"0", b"\xf0"),
    ]


def test_before_images_come_first_and_once(bench: Bench) -> None:
    """RENAME for what is replaced, COPY for what is changed in part, nothing for what was never there or is done."""
    bench.author.write((2, 0, b"a" * 2 * BLOCK))
    bench.author.mark()
    bench.plan()
    bench.author.write((2, 0, b"b" * BLOCK), (2, BLOCK, b"c"), (2, 2 * BLOCK, b"d" * BLOCK), (2, 3 * BLOCK, b"e"))
    assert bench.one() == [
        (b"RENAME", block(0), b"g:16777216:2:00000000"),
        (b"COPY", block(1), b"g:16777216:2:00000001", b"REPLACE"),
        (b"MSET", block(0), b"b" * BLOCK, block(2), b"d" * BLOCK),
        (b"SETRANGE", block(1), b"0", b"c"),
        (b"SETRANGE", block(3), b"511", b"\0"),
        (b"SETRANGE", block(3), b"0", b"e"),
        (b"SETRANGE", b"m:16777216:2", b"0", b"\xf0"),
    ]
    bench.author.write((2, 0, b"f" * BLOCK), (2, BLOCK, b"g"))
    assert bench.one() == [(b"MSET", block(0), b"f" * BLOCK), (b"SETRANGE", block(1), b"0", b"g")]


def test_discards(bench: Bench) -> None:
    """Edges are zeroed, whole blocks go (RENAME, or DEL if the image is safe), never-written blocks cost only a bit."""
    bench.author.write((2, 0, b"a" * 4 * BLOCK))
    bench.author.mark()
    bench.author.write((2, BLOCK, b"b" * BLOCK))
    bench.plan()
    bench.author.add(Discard, volume=2, offset=100, length=9 * BLOCK - 50)
    assert bench.one() == [
        (b"COPY", block(0), b"g:16777216:2:00000000", b"REPLACE"),
        (b"RENAME", block(2), b"g:16777216:2:00000002"),
        (b"RENAME", block(3), b"g:16777216:2:00000003"),
        (b"SETRANGE", block(0), b"100", bytes(BLOCK - 100)),
        (b"DEL", block(1)),
        (b"SETRANGE", b"m:16777216:2", b"0", b"\xff\xc0"),
    ]
    bench.author.write((2, 2 * BLOCK, b"x"))
    bench.author.add(Discard, volume=2, offset=0, length=20 * BLOCK + 100)
    bench.author.write((2, 3 * BLOCK + 1, b"z"))
    assert bench.one()[:2] == [(b"MSET", block(3), b"\0z"), (b"DEL", block(2), *map(block, (0, 1, 4, 5, 6, 7, 8, 9)))]


def test_scattered_bits_are_a_bitfield(bench: Bench) -> None:
    """Where the dirty bytes lie far apart, single bytes are cheaper than all between."""
    far = bench.author.create("far", 1 << 30)
    bench.plan()
    bench.author.write((far, 0, b"x"), (far, 1_000_000 * BLOCK, b"x"), (far, 1_000_001 * BLOCK, b"x"))
    assert bench.one()[-1] == (
        *(b"BITFIELD", b"m:0:%d" % far),
        *(b"SET", b"u8", b"#0", b"128", b"SET", b"u8", b"#125000", b"192"),
    )


@pytest.mark.parametrize(
    ("limits", "counts"),
    [(Limits(2048, 100), [2, 2]), (Limits(1 << 20, 3), [1] * 4), (Limits(), [4])],
)
def test_limits_close_a_transaction(limits: Limits, counts: list[int]) -> None:
    """At so many bytes or writes; an event is never split, and heartbeats cost nothing."""
    bench = Bench(limits)
    for index in range(4):
        bench.author.write((2, index * BLOCK, b"a" * BLOCK), (2, (index + 5) * BLOCK, b"b" * BLOCK))
        bench.author.add(Heartbeat)
    sequence, found = 2, []
    for transaction in bench.plan():
        found.append((transaction.position.head.sequence - sequence) // 3)
        sequence = transaction.position.head.sequence
    assert found == counts


def test_markers_stand_alone(bench: Bench) -> None:
    """Nothing is in the transaction of a cut but the cut, and it alone raises the layout."""
    bench.author.write((2, 0, b"a"))
    bench.author.mark()
    bench.author.write((2, 0, b"a"))
    assert [one.position.layout for one in bench.plan()] == [0, 1, 1]


def test_a_cut_costs_the_same_whatever_was_written(bench: Bench) -> None:
    """One record and the position."""
    bench.author.write((2, 0, b"a" * 20 * BLOCK))
    bench.plan()
    bench.author.mark()
    assert [command[:2] for command in bench.one()] == [(b"HSET", b"copies")]


CORRUPT: list[Callable[[Author], Event]] = [
    lambda author: author.write((9, 0, b"x")),
    lambda author: author.write((2, 0, b"x"), (9, 0, b"x")),
    lambda author: author.write((2, 20 * BLOCK + 99, b"xy")),
    lambda author: author.write((2, 0, b"x"), (2, 1 << 50, b"x")),
    lambda author: author.add(Discard, volume=9, offset=0, length=1),
    lambda author: author.add(Discard, volume=2, offset=0, length=0),
    lambda author: author.add(Discard, volume=2, offset=20 * BLOCK, length=101),
    lambda author: author.add(Discard, volume=2, offset=-1, length=5),
    lambda author: author.add(VolumeCreated, name="v", size=1, block_size=512),
    lambda author: author.add(VolumeCreated, name="w", size=0, block_size=512),
    lambda author: author.add(VolumeCreated, name="w", size=1, block_size=1000),
    lambda author: author.add(VolumeCreated, name="w", size=1, block_size=256),
    lambda author: author.add(VolumeCreated, name="w", size=(1 << 32) * 512 + 1, block_size=512),
    lambda author: author.add(VolumeResized, volume=9, size=1),
    lambda author: author.add(VolumeResized, volume=2, size=0),
    lambda author: author.add(VolumeDeleted, volume=9),
]


@pytest.mark.parametrize("number", range(len(CORRUPT)))
def test_an_impossible_event_stops_behind_those_before_it(bench: Bench, number: int) -> None:
    """They are applied; of the impossible one nothing is planned; the sequence is in the error."""
    bench.author.write((2, 0, b"good"))
    good = bench.author.head.sequence
    bad = CORRUPT[number](bench.author)
    bench.author.write((2, 0, b"never"))
    transactions: list[Transaction] = []
    with pytest.raises(CorruptEvent) as caught:
        transactions.extend(bench.planner.plan(bench.author.after(good - 1)))
    assert caught.value.sequence == bad.sequence
    assert bench.planner.image.position.head.sequence == good
    with pytest.raises(CorruptEvent):
        list(bench.planner.plan(bench.author.after(good)))


def test_only_the_next_event_is_taken(bench: Bench) -> None:
    """Neither one before the head nor one behind a gap nor one of another history."""
    bench.author.write((2, 0, b"a"))
    bench.author.write((2, 0, b"b"))
    (first, offset), second = bench.author.after(2)
    with pytest.raises(LogGap):
        list(bench.planner.plan([second]))
    with pytest.raises(LogGap):
        list(bench.planner.plan([(replace(first, previous=bytes(16)), offset)]))
    list(bench.planner.plan([(first, offset)]))
    with pytest.raises(LogGap):
        list(bench.planner.plan([(first, offset)]))


@pytest.mark.usefixtures("small_steps")
def test_a_large_event_goes_in_steps_and_only_it_can_go_on(bench: Bench) -> None:
    """Each step is counted; the head moves with the last; another event in its place is another history."""
    bench.author.write((2, 0, b"a" * 10 * BLOCK))
    bench.plan()
    discard = bench.author.add(Discard, volume=2, offset=0, length=10 * BLOCK)
    steps = bench.planner.plan(bench.author.after(discard.sequence - 1))
    first, second = next(steps), next(steps)
    assert 0 < first.position.step < second.position.step
    assert second.position.head.sequence == discard.sequence - 1 and second.position.step_seal == discard.seal
    again = Planner(Keys(IDENTITY.group), bench.planner.image, CLUSTER, Limits(), nothing_elder)
    with pytest.raises(LogDiverged):
        list(again.plan([(replace(discard, seal=b"s" * 16), 99)]))
    rest = list(again.plan(bench.author.after(discard.sequence - 1)))
    assert rest[-1].position.head.sequence == discard.sequence and rest[-1].position.step == 0
    assert all(len(unpack(one.commands)) < 6 for one in [first, second, *rest])
    assert not any(isinstance(command, Packed) for one in rest for command in one.commands)
