"""Two histories that share a beginning, a site that has followed one of them, and its way into the other."""

import copy as copying
from collections.abc import Iterable
from dataclasses import dataclass, field

from late_lab import LateAuthor, LateSite
from store_lab import CLUSTER, IDENTITY
from timed_lab import check_copies, check_live

from tidelog.errors import StoreUnavailable
from tidelog.recovery.common_history import CommonHistory
from tidelog.recovery.rollback_plan import usable_copies
from tidelog.schemas.chain import Head
from tidelog.schemas.events import Heartbeat, VolumeCopied, WriterOpened
from tidelog.stores.image import Store
from tidelog.stores.rollback import Rollback
from tidelog.stores.store import Copy, CopyOrigin
from tidelog.stores.timed import DueCopy

Program = list[tuple[str, int, int]]
Content = dict[int, tuple[object, bytes]]
NEW_CLUSTER = "cluster-1"  # the appliers of `LateSite` are of this one


def grown(author: LateAuthor, program: Program) -> LateAuthor:
    for kind, one, two in program:
        author.grow(kind, one, two)
    return author


def forked(author: LateAuthor, number: int) -> LateAuthor:
    """Another writer's log that goes on where this one is now."""
    other = copying.deepcopy(author)
    other.add(WriterOpened, opened_by=f"another writer {number}")
    return other


def heads(author: LateAuthor) -> dict[tuple[int, bytes], Head]:
    """The head after each event."""
    return {
        (event.last_sequence, event.seal): Head(
            event.last_sequence, event.seal, event.epoch, event.writer, event.timestamp_us, offset
        )
        for event, offset in author.log
    }


def common_copy(store: Store, author: LateAuthor) -> Copy | None:
    """The newest copy whose event is in that log, and ends with it, and from which the log can be followed: no volume
    is copied from a copy that the lost history has dropped."""
    there = heads(author)
    sources = [
        (event.sequence, event.source_copy_sequence, event.source_copy_seal)
        for event, _ in author.log
        if isinstance(event, VolumeCopied) and event.source_copy_sequence
    ]
    wanted = CommonHistory(there, [(sequence, (source, seal)) for sequence, source, seal in sources])
    usable = usable_copies(store.copies(), wanted)
    return usable[-1] if usable else None


def contents(store: Store, copies: Iterable[Copy]) -> dict[tuple[int, bytes], Content]:
    """Every byte of copies, by generation and seal."""
    return {
        (copy.generation, copy.seal): {info.id: (info, store.read(info, 0, info.size, copy)) for info in copy.volumes}
        for copy in copies
    }


def roll_back(site: LateSite, author: LateAuthor, copy: Copy) -> int:
    """To ``copy``, and from then on after ``author``; the number of steps."""
    site.crash()
    with Rollback(site.keyspace, IDENTITY) as rollback:
        if rollback.half_made:
            with site.store.applier(CLUSTER) as applier:
                while rollback.half_made and applier.maintain():
                    pass
        if rollback.under_way() is None:
            stands = site.store.position().head
            rollback.begin(stands, copy, heads(author)[copy.sequence, copy.seal], CLUSTER)
        steps = sum(1 for _ in rollback.steps())
    site.store.end_rebuild()
    site.author = author
    return steps


def roll_back_with_crashes(site: LateSite, author: LateAuthor, copy: Copy, every: int, *, applied: bool) -> int:
    """The same, its connection lost at every ``every``th transaction; how often it was."""
    crashes = 0
    while True:
        site.keyspace.fail(every, applied=applied)
        try:
            roll_back(site, author, copy)
        except StoreUnavailable:
            crashes += 1
            assert crashes < 10_000, "it never ends"
            if site.store.rebuilding() is not None and _over(site):
                site.store.end_rebuild()  # the last transaction took effect
                break
            continue
        break
    site.keyspace._fault = None
    site.crash()
    site.author = author
    return crashes


def _over(site: LateSite) -> bool:
    with Rollback(site.keyspace, IDENTITY) as rollback:
        return rollback.under_way() is None


@dataclass
class Fork:
    """A site after the first log, what its copies and live volumes held then, and the log that it is to follow."""

    site: LateSite
    old: LateAuthor
    new: LateAuthor
    orders: list[DueCopy] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.was_at = self.site.store.position().head
        self.was_live = {info.id: (info, self._live(info)) for info in self.site.store.volumes()}
        self.before = self.site.store.copies(lost=True)
        self.were = contents(self.site.store, self.before)

    def _live(self, info: object) -> bytes:
        return self.site.store.read_live(info, 0, info.size)[0]  # type: ignore[attr-defined, arg-type]

    def check(self) -> None:
        """Elder copies and lost ones are what they were; ``lost-tail`` is what the site was."""
        store = self.site.store
        readable = [copy for copy in store.copies(lost=True) if (copy.generation, copy.seal) in self.were]
        if self.site.author is not self.new or store.position().head.sequence < self.new.head.sequence:
            assert len(readable) == len(self.before), "only the log drops copies"
        for copy in readable:
            assert contents(store, [copy]) == {(copy.generation, copy.seal): self.were[copy.generation, copy.seal]}
        tail = store.copy("lost-tail")
        assert (tail.sequence, tail.seal, tail.origin) == (self.was_at.sequence, self.was_at.seal, CopyOrigin.LOST)
        assert contents(store, [tail])[tail.generation, tail.seal] == self.was_live
        assert store.digest(tail) == store.verify(tail)

    def follow(self) -> None:
        """The site applies all of the new log, and is its fold."""
        self.site.order(self.orders)
        self.site.finish()
        check_live(self.site, self.new, self.new.model)
        check_copies(self.site, self.new, self.new.model)
        for copy in self.site.store.copies():
            assert self.site.store.digest(copy) == self.site.store.verify(copy)


def beat(author: LateAuthor) -> None:
    author.add(Heartbeat)
