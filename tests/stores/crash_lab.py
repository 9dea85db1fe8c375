"""Programs that are cut short at every transaction."""

from store_lab import CLUSTER, IDENTITY, Author, Model, check

from tidelog.errors import StoreUnavailable
from tidelog.schemas.events import Event
from tidelog.stores.image import Store
from tidelog.stores.keyspace import PositionMoved
from tidelog.stores.memory import MemoryKeyspace


class MarkingAuthor(Author):
    """Remembers its markers."""

    def __init__(self) -> None:
        super().__init__()
        self.markers: list[Event] = []

    def mark(self, name: str = "m") -> Event:
        marker = super().mark(name)
        self.markers.append(marker)
        return marker


def run(author: Author, model: Model, crash: int, applied: bool, *, digests: bool = True) -> int:
    """Applies a log, with a crash at a transaction (0: none), and checks before and after; the transactions it took."""
    keyspace = MemoryKeyspace()
    store = Store.create(keyspace, IDENTITY)
    start = keyspace.transactions
    if crash:
        keyspace.fail(crash, applied=applied)
    while True:
        applier = store.applier(CLUSTER)
        try:
            applier.submit(author.after(applier.position.head.sequence))
            applier.settle()
            while applier.maintain():
                pass
        except (PositionMoved, StoreUnavailable):
            check(store, keyspace, model)
            continue
        break
    check(store, keyspace, model, digests=digests)
    return keyspace.transactions - start


def run_with_every_crash(author: Author, *, twice: bool = False, skip: tuple[int, int] = (0, 0)) -> None:
    """Runs a program once for each of its transactions, crashing there, but for the first and the last, as many as
    ``skip`` says, that all programs of a kind have in common (and then digests are computed without a crash only).

    A transaction that was lost before it ran is as if the crash had come after the one before it; only ``twice`` tries
    both."""
    model = Model()
    model.fold(author.log)
    last = run(author, model, 0, False)
    for crash in range(1 + skip[0], last + 1 - skip[1]):
        for applied in (False, True) if twice else (bool(crash % 2),):
            run(author, model, crash, applied, digests=not any(skip))
