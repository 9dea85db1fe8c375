"""Reading while an applier overwrites, cuts and drops as fast as it can."""

import random
import threading
from collections.abc import Callable

import pytest
from store_lab import CLUSTER, IDENTITY, Author, Model

from tidelog.errors import NotFound
from tidelog.schemas.events import Discard
from tidelog.stores.image import Store
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.transaction import Limits

BLOCK = 512
BLOCKS = 40


def _log(rounds: int) -> tuple[Author, int]:
    """A log whose every write fills the whole volume's blocks with one round's number, in one batch or two."""
    rnd = random.Random(7)
    author = Author()
    volume = author.create("v", BLOCKS * BLOCK)
    markers = []
    for number in range(1, rounds):
        data = number.to_bytes(2) * (BLOCK // 2)
        for _ in range(3):
            author.write(*((volume, rnd.randrange(BLOCKS) * BLOCK, data) for _ in range(5)))
        if number % 7 == 0:
            author.add(Discard, volume=volume, offset=rnd.randrange(BLOCKS) * BLOCK, length=BLOCK // 2)
        markers.append(author.mark(f"m{number}"))
        if len(markers) > 6:
            author.drop(markers.pop(rnd.randrange(len(markers))))
    return author, volume


def _write(
    store: Store, author: Author, looks: threading.Semaphore, done: threading.Event, failures: list[BaseException]
) -> None:
    """Applies the log; every few events it lets the reader catch up, however slow the machine."""
    try:
        while True:
            applier = store.applier(CLUSTER, Limits(1, 1))
            try:
                for event in author.after(applier.position.head.sequence):
                    applier.submit([event])
                    applier.maintain()
                    if event[1] // 2 % 4 == 0:
                        looks.acquire(timeout=10)
                return
            except PositionMoved:
                continue
    except BaseException as error:
        failures.append(error)
    finally:
        done.set()


@pytest.mark.parametrize("read", ["copies", "live"])
def test_a_reader_sees_no_mixture(keyspace: Keyspace, read: str) -> None:
    """Each copy always reads as it was cut, until it is dropped; each live read is the state at its sequence."""
    store = Store.create(keyspace, IDENTITY)
    author, _ = _log(100)
    model = Model()
    model.fold(author.log)
    looks, done, failures = threading.Semaphore(), threading.Event(), []
    writer = threading.Thread(target=_write, args=(store, author, looks, done, failures))
    writer.start()
    look: Callable[[Store, Model], int] = _look_at_copies if read == "copies" else _look_at_live
    reads = 0
    while not done.is_set():
        reads += look(store, model)
        looks.release()
    writer.join()
    assert not failures
    assert reads > 20
    assert look(store, model)


def _look_at_copies(store: Store, model: Model) -> int:
    reads = 0
    for copy in store.copies():
        _, state, _ = model.copies[copy.sequence]
        for info, content in state.volumes.values():
            try:
                found = store.read(info, 0, info.size, copy)
                digest, from_elder = store.verify(copy), store.digest(copy)
            except NotFound:
                continue  # dropped meanwhile
            assert found == content
            assert digest == from_elder
            reads += 1
    return reads


def _look_at_live(store: Store, model: Model) -> int:
    reads = 0
    for volume in store.volumes():
        content, head = store.read_live(volume, 0, volume.size)
        assert content == model.states[head.sequence].volumes[volume.id][1]
        reads += 1
    return reads
