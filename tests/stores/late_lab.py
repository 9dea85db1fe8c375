"""A log, commands for copies by time, and sites that hear of them in time or late; what both must then hold."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from store_lab import CLUSTER, IDENTITY, Author, Model, all_keys, bitmap_blocks

from tidelog.errors import OutOfWindow, StoreUnavailable
from tidelog.schemas.events import Discard, Event, Heartbeat, VolumeCopied, VolumeDeleted, VolumeResized
from tidelog.stores.applier import Applier
from tidelog.stores.image import Store
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.memory import MemoryKeyspace
from tidelog.stores.store import Copy, CopyOrigin, CopyState
from tidelog.stores.timed import DueCopy
from tidelog.stores.transaction import Limits

BLOCK = 512
GONE = (PositionMoved, StoreUnavailable)
GROUP_KEYS = Keys(IDENTITY.group)


class AuthorEvents:
    """`LateEvents` of an author's log, a few at a time, now and then none. ``trimmed`` events are gone."""

    def __init__(self, author: Author, elder: Copy | None, *, at_once: int = 3, trimmed: int = 0) -> None:
        head = elder.sequence if elder else 0
        self._trimmed = bool(trimmed) and (elder.offset if elder else 0) <= author.log[trimmed - 1][1]
        self._left = [(event, offset) for event, offset in author.log if event.last_sequence > head]
        self._at_once, self._dry = at_once, False

    def take(self) -> list[tuple[Event, int]]:
        self._dry = not self._dry
        if self._dry:
            return []
        if self._trimmed:
            raise OutOfWindow("the log was trimmed")
        found, self._left = self._left[: self._at_once], self._left[self._at_once :]
        return found

    def close(self) -> None:
        """Nothing to end."""


@dataclass
class LateAuthor(Author):
    """An author whose log is grown by small numbers, as Hypothesis or a table of programs gives them."""

    markers: list[Event] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.create("v0", 3 * BLOCK + 100)

    def grow(self, kind: str, one: int, two: int) -> None:
        """One event of that kind; nothing if there cannot be one."""
        self.model.fold(self.log)
        state = self.model.states[self.head.sequence]
        volumes = [info for info, _ in state.volumes.values()]
        names = sorted({"v0", "v1", "v2"} - {info.name for info in volumes})
        if kind == "mark":
            self.markers.append(self.mark(f"m{len(self.markers)}"))
        elif kind == "beat":
            self.add(Heartbeat)
        elif kind == "drop" and self.markers:
            marker = self.markers[one % len(self.markers)]
            self.dropped.add(marker.sequence)
            self.drop(marker)
        elif kind == "create" and names:
            self.create(names[0], 1 + two * 300 % (4 * BLOCK))
        elif not volumes:
            return
        elif kind == "write":
            self.write_some(volumes, one, two)
        elif kind == "discard":
            volume = volumes[one % len(volumes)]
            offset = two * 256 % volume.size
            self.add(Discard, volume=volume.id, offset=offset, length=min(volume.size - offset, 1 + one * 256))
        elif kind == "resize":
            self.add(VolumeResized, volume=volumes[one % len(volumes)].id, size=1 + two * 333 % (5 * BLOCK))
        elif kind == "delete":
            self.add(VolumeDeleted, volume=volumes[one % len(volumes)].id)
        elif kind == "copy":
            self.copy_some(one, two)

    def write_some(self, volumes: list, one: int, two: int) -> None:
        writes = []
        for index in range(1 + one % 5):
            volume = volumes[(one + index) % len(volumes)]
            offset = (two * 256 + index * BLOCK) % volume.size
            length = min((BLOCK, 128, 2 * BLOCK + 7, BLOCK)[(two + index) % 4], volume.size - offset)
            writes.append((volume.id, offset, bytes([len(self.log) & 0xFF, index + 1]) * (length // 2 + 1)))
            writes[-1] = (volume.id, offset, writes[-1][2][:length])
        self.write(*writes)

    def copy_some(self, one: int, two: int) -> None:
        """A copy onto a volume, live or from a marker that stands."""
        state = self.model.states[self.head.sequence]
        there = [marker for marker in self.markers if marker.sequence not in self.dropped]
        marker = there[two % len(there)] if there and two % 2 else None
        place = self.model.copies[marker.sequence][1] if marker else state
        choices = [
            (source, target)
            for source, (info, _) in place.volumes.items()
            for target, (into, _) in state.volumes.items()
            if info.size <= into.size and source in state.volumes and (source != target or marker)
        ]
        if choices:
            source, target = choices[one % len(choices)]
            self.copy(source, target, self.model.may_differ(source, target, marker.sequence if marker else 0), marker)

    def lacks_a_source(self) -> bool:
        """Whether somewhere a volume is copied from a marker's copy that is dropped later: a late copy of a time
        behind that may have nothing to be made from."""
        sources = {event.source_copy_sequence for event, _ in self.log if isinstance(event, VolumeCopied)}
        return bool(sources & self.dropped)


class LateSite:
    """A store, an applier that is made anew whenever it is lost, and what it was told."""

    def __init__(self, author: Author, *, trimmed: int = 0) -> None:
        self.author, self.trimmed = author, trimmed
        self.keyspace = MemoryKeyspace()
        self.store = Store.create(self.keyspace, IDENTITY)
        self.orders: Sequence[DueCopy] = ()
        self.limits = Limits(2000, 3)
        self.after_step: Callable[[], None] = lambda: None
        self._applier: Applier | None = None

    def order(self, orders: Iterable[DueCopy]) -> None:
        """What the site has heard of from now on."""
        self.orders = tuple(orders)
        if self._applier is not None:
            self._applier.order(self.orders)

    @property
    def applier(self) -> Applier:
        if self._applier is None:
            self._applier = self.store.applier(CLUSTER, self.limits)
            self._applier.order(self.orders)
            self._applier.open_late(lambda elder: AuthorEvents(self.author, elder, trimmed=self.trimmed))
        return self._applier

    def use(self, work: Callable[[Applier], object]) -> None:
        """Does something; an applier that lost its place is thrown away."""
        try:
            work(self.applier)
        except GONE:
            self.crash()

    def crash(self) -> None:
        if self._applier is not None:
            self._applier.close()
        self._applier = None

    def apply(self, count: int = 1000) -> None:
        """Some events, once it is seen whether the store is where the applier left it, as a replica does."""
        if self.applier.confirmed != self.store.position():
            self.crash()
        self.use(lambda applier: applier.submit(self.author.after(applier.position.head.sequence)[:count]))
        self.use(lambda applier: applier.settle())

    def maintain(self, steps: int) -> None:
        """Some steps."""
        for _ in range(steps):
            self.use(lambda applier: applier.maintain())
            self.after_step()

    def finish(self) -> None:
        """Everything applied, all drops and late copies done."""
        for _ in range(100):  # until nothing is lost any more
            self.apply()
            if self.store.position().head.sequence == self.author.head.sequence:
                break
        else:
            raise AssertionError("the site does not get on")
        while True:
            idle = [False]

            def step(applier: Applier, idle: list[bool] = idle) -> None:
                idle[0] = not applier.maintain() and applier.forming is None

            self.use(step)
            self.after_step()
            if idle[0]:
                return

    def refused(self) -> dict[str, str]:
        """Name and reason of what the applier said that it cannot make."""
        return {order.name: reason for order, reason in self.applier.refused.items()}


def holds(site: LateSite, *, counts: bool = True) -> dict[tuple[str, int], tuple]:
    """All that a site's copies say, by name and sequence; the changed blocks only if ``counts``."""
    found = {}
    store = site.store
    for copy in store.copies():
        content = {info.id: (info, store.read(info, 0, info.size, copy)) for info in copy.volumes}
        assert store.digest(copy) == store.verify(copy)
        pairs = {pair: set(bitmap.blocks()) for pair, bitmap in store.pairs(copy).items()}
        identity = (copy.seal, copy.timestamp_us, copy.epoch, copy.writer, copy.offset, copy.cluster_id, copy.origin)
        found[copy.name, copy.sequence] = (
            identity,
            content,
            store.digest(copy),
            copy.blocks_changed if counts else 0,
            pairs,
        )
    return found


def named(site: LateSite) -> dict[str, dict[str, set[int]]]:
    """The blocks named between each copy and the one before it, by the copy's name and volume."""
    found: dict[str, dict[str, set[int]]] = {}
    elder: Copy | None = None
    for copy in site.store.copies():
        contents = site.store.contents(copy)
        found[copy.name] = {str(info.id): set(contents.named(info, elder).blocks()) for info in copy.volumes}
        elder = copy
    return found


def end_all(site: LateSite) -> list[bytes]:
    """Drops every copy; the keys that are left."""
    site.order(())
    for copy in site.store.copies():
        assert site.store.mark_dropping(copy)
    site.crash()
    site.finish()
    return key_shapes(site.keyspace)


def key_shapes(keyspace: Keyspace) -> list[bytes]:
    """Every key, its generation replaced by how many are elder; not blocks of zeros and bitmaps without a bit, which
    depend on how events happened to share transactions."""
    generations = sorted({0, *(int(name) for name in keyspace.transact([(b"HKEYS", GROUP_KEYS.copies)])[0])})
    places = {b"%d" % generation: b"%d" % index for index, generation in enumerate(generations)}
    found = []
    for key in all_keys(keyspace):
        kind, *rest = key.split(b":")
        if kind in (b"b", b"g") and not any(keyspace.transact([(b"GET", GROUP_KEYS.prefix + key)])[0] or b""):
            continue
        if kind in (b"g", b"m", b"c"):
            if kind == b"m" and not bitmap_blocks(keyspace, GROUP_KEYS.prefix + key):
                continue
            rest[0] = places[rest[0]]
        if key != b"digests":
            found.append(b":".join([kind, *rest]))
    return sorted(found)


def unfinished(site: LateSite) -> bool:
    """Whether anything of a late copy is under way."""
    copies = site.store.copies(dropping=True)
    forming = any(copy.state is CopyState.FORMING for copy in copies)
    return forming or b"forming" in all_keys(site.keyspace)


def has_split(site: LateSite) -> bool:
    """Whether a generation is left that was begun to make room."""
    return any(copy.origin is CopyOrigin.SPLIT for copy in site.store.copies(dropping=True))
