"""A group's image at one site: the public face of `tidelog.stores`."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import cast

from tidelog.errors import NotFound, WrongStore
from tidelog.schemas.chain import Head, origin
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.applier import Applier
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.changes import read_changes, read_pairs
from tidelog.stores.clones import Clones
from tidelog.stores.contents import CopyContents
from tidelog.stores.digest import Digests, copy_digest
from tidelog.stores.eviction import check_policy
from tidelog.stores.forgotten import prune_forgotten, read_forgotten
from tidelog.stores.holds import Lease, Leases, read_holds
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace, PositionMoved
from tidelog.stores.local_drop import mark_dropping, protect
from tidelog.stores.mending import Mending
from tidelog.stores.named import named_since
from tidelog.stores.pairs import Pair
from tidelog.stores.placing import placing
from tidelog.stores.presence import Bitmaps, NamedSpans, Presence
from tidelog.stores.reading import CopyReader, Generations, LiveReader
from tidelog.stores.rebuildable import Rebuildable
from tidelog.stores.records import FORMAT, decode_position, encode_position
from tidelog.stores.state import present, read_tables
from tidelog.stores.store import Copy, CopyOrigin, CopyState, Hold, HoldKind, Identity, Position
from tidelog.stores.timed import DueCopy
from tidelog.stores.transaction import Limits

_IDENTITY_FIELDS = (b"group", b"group_id", b"site", b"format")


@placing
class Store(Rebuildable):
    """One group at one site, on a `Keyspace`. Thread-safe (an applier is not).

    Every method raises `StoreUnavailable` when Redis does not answer, `NeedsRebuild` when there is no position (an
    erase that was cut short), `StoreDamaged` when a key holds what tidelog never wrote.
    """

    def __init__(self, keyspace: Keyspace, identity: Identity) -> None:
        """From `create` or `open`, which have checked whose data it is."""
        self.identity = identity
        self._keyspace = keyspace
        self._keys = Keys(identity.group)
        self._live = LiveReader(keyspace, self._keys)
        self._generations = Generations()
        self._digests = Digests(keyspace, self._keys)
        self._leases = Leases(keyspace, self._keys)
        self.clones = Clones(keyspace, identity)

    @classmethod
    def create(cls, keyspace: Keyspace, identity: Identity) -> "Store":
        """An empty store at the origin of the group's history; one of the same identity that exists is opened.

        Raises `WrongStore` if another group's or site's data is there, or the server may evict keys.
        """
        check_policy(keyspace, identity)
        keys = Keys(identity.group)
        session = keyspace.session(keys.position)
        try:
            if session.begin() is None and not keyspace.transact([(b"HGETALL", keys.identity)])[0]:
                start = Position(origin(identity.group_id), "", 0, 0)
                whose = (identity.group.encode(), identity.group_id.encode(), identity.site.encode(), FORMAT)
                row = [part for pair in zip(_IDENTITY_FIELDS, whose, strict=True) for part in pair]
                session.submit([(b"HSET", keys.identity, *row), (b"SET", keys.position, encode_position(start))])
                session.settle()
        except PositionMoved:
            pass  # somebody else created it in the same moment; open() tells whether it is the same
        finally:
            session.close()
        return cls.open(keyspace, identity)

    @classmethod
    def open(cls, keyspace: Keyspace, identity: Identity) -> "Store":
        """Opens what `create` made. Raises `NotFound` if there is none, `WrongStore` as `create` does.

        An identity with an empty ``group_id`` matches any (for readers that have only the name); then
        ``store.identity`` has the real one.
        """
        check_policy(keyspace, identity)
        (reply,) = keyspace.transact([(b"HGETALL", Keys(identity.group).identity)])
        row = cast("list[bytes]", reply)
        found = {name.decode(): value.decode() for name, value in zip(row[::2], row[1::2], strict=True)}
        if not found:
            raise NotFound(
                f"site {identity.site} has no store of group {identity.group}",
                hint=f"start the site's worker: tidelog site run {identity.site}",
                group=identity.group,
            )
        if found.get("format") != FORMAT.decode():
            raise WrongStore(f"the store has format {found.get('format')}, not {FORMAT.decode()}", group=identity.group)
        actual = Identity(found.get("group", ""), found.get("group_id", ""), found.get("site", ""))
        if actual != (identity if identity.group_id else replace(identity, group_id=actual.group_id)):
            raise WrongStore(
                f"this Redis holds group {actual.group} ({actual.group_id}) of site {actual.site}, not group "
                f"{identity.group} ({identity.group_id}) of site {identity.site}",
                hint="give each site a Redis, or a database, of its own",
                group=identity.group,
            )
        return cls(keyspace, actual)

    def close(self) -> None:
        """Ends this store's leases, and lets go of the keyspace's connections."""
        self._leases.close()
        self._keyspace.close()

    def position(self) -> Position:
        """The position now."""
        (value,) = self._keyspace.transact([(b"GET", self._keys.position)])
        return decode_position(present(value))

    def volumes(self) -> list[VolumeInfo]:
        """The live volume table, by id."""
        return list(read_tables(self._keyspace, self._keys).volumes)

    def volume(self, name: str) -> VolumeInfo:
        """The live volume of that name; raises `NotFound`."""
        found = read_tables(self._keyspace, self._keys).volumes.named(name)
        if found is None:
            raise NotFound(f"group {self.identity.group} has no volume {name}", group=self.identity.group)
        return found

    def copies(self, *, dropping: bool = False, lost: bool = False) -> list[Copy]:
        """The copies, oldest first; those being dropped only if ``dropping``, those of a lost history if ``lost``."""
        copies = read_tables(self._keyspace, self._keys).copies.values()
        there = [copy for copy in copies if dropping or copy.state is CopyState.FORMED]
        return [copy for copy in there if lost or copy.origin is not CopyOrigin.LOST]

    def copy(self, name: str) -> Copy:
        """The newest formed copy of that name (names are labels), of the present history if that has one.
        ``#<sequence>`` names one by sequence: of several that end there the marker's. Raises `NotFound`."""
        copies = sorted(self.copies(lost=True), key=lambda copy: copy.origin is not CopyOrigin.LOST)
        named = [copy for copy in copies if name == copy.name]
        named = named or sorted(
            (copy for copy in copies if name == f"#{copy.sequence}"), key=lambda copy: copy.origin is CopyOrigin.MARKER
        )
        if named:
            return named[-1]
        raise NotFound(
            f"site {self.identity.site} has no copy {name}",
            hint="tidelog pitc list shows those that there are",
            group=self.identity.group,
        )

    def clonable(self, name: str) -> Copy:
        """The copy of that name, for a clone of it. Raises `NotFound`, `UsageError` if that is a clone's name."""
        try:
            return self.copy(name)
        except NotFound:
            self.clones.refuse_clone_of(name)
            raise

    def applier(self, cluster_id: str, limits: Limits | None = None) -> Applier:
        """A new applier at the store's position; offsets that it is given are of ``cluster_id``'s log. ``limits`` bound
        the transactions that several events share."""
        return Applier(self._keyspace, self._keys, cluster_id, limits or Limits())

    def mark_dropping(self, copy: Copy, *, forget: bool = False) -> bool:
        """Makes a copy unreadable and due for dropping, from any process; appliers see `PositionMoved`.

        False if it is no longer there or was marked already. ``forget`` a copy by time, and the command that made it is
        one of `forgotten_orders` from then on. Raises `Locked` unless its lock has ended by the time of the store's
        position and by this machine's clock, `StoreUnavailable` after bounded tries. A drop in the log does not come
        this way (the applier marks it).
        """
        return mark_dropping(self._keyspace, self._keys, self.identity.group, copy, forget=forget)

    def protect(self, copy: Copy, locked_until_us: int, *, kept: bool) -> bool:
        """Locks a copy by time here, never for shorter than it is, and keeps it from this site's retention, or no
        longer; False if nothing changes. As `mark_dropping` otherwise; marker copies are locked by events."""
        return protect(self._keyspace, self._keys, copy, locked_until_us, kept=kept)

    def forgotten_orders(self) -> frozenset[DueCopy]:
        """The commands whose copies were dropped here alone (`mark_dropping` with ``forget``): not to be made again."""
        return read_forgotten(self._keyspace, self._keys)

    def prune_forgotten(self, standing: Iterable[DueCopy]) -> None:
        """Takes those that are not among the ``standing`` commands out of `forgotten_orders`."""
        prune_forgotten(self._keyspace, self._keys, standing)

    def read(self, volume: VolumeInfo, offset: int, length: int, copy: Copy | None = None) -> bytes:
        """``length`` bytes at byte ``offset`` of a live volume, or as it was in ``copy``.

        Raises `OutOfBounds`, `NotFound` (volume or copy is not there, or being dropped), `SiteBehind` (rebuilding).
        """
        if copy is None:
            return self.read_live(volume, offset, length)[0]
        return self._reader(volume, copy).read(offset, length)

    def read_live(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, Head]:
        """Live bytes and the head at which they stood so, all at one position."""
        return self._live.read(volume, offset, length)

    def changes(self, source: int, target: int, copy: tuple[int, bytes] | None = None) -> tuple[ChangeBitmap, Head]:
        """The blocks in which a volume, live or in a copy (sequence, seal), may differ from another, and the head at
        which that is true: see `tidelog.stores.changes.read_changes`."""
        return read_changes(self._keyspace, self._keys, (source, target), copy)

    def pairs(self, copy: Copy) -> dict[Pair, ChangeBitmap]:
        """The pairs of volumes, by id, that copies had gone between at the cut, and in which blocks each may differ:
        what a store needs that goes on from this copy. Raises `NotFound` once the copy is dropped."""
        return read_pairs(self._keyspace, self._keys, copy)

    def stream(self, volume: VolumeInfo, copy: Copy, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a volume in ``copy``, in parts of at most 4 MiB; for any length in bounded memory."""
        reader = self._reader(volume, copy)
        yield from reader.stream(offset, reader.volume.size - offset if length is None else length)

    def presence(self, volume: VolumeInfo, first: int, end: int, copy: Copy | None = None) -> Presence:
        """Which of blocks ``first`` to ``end`` - 1, or of as many of the first of them as one look goes over, have
        content, live or in ``copy``. Raises `NotFound` for a copy that is gone, `SiteBehind` (rebuilding)."""
        bitmaps = Bitmaps(self._keyspace, self._keys, self._generations)
        return bitmaps.live(volume, first, end) if copy is None else bitmaps.copied(volume, copy, first, end)

    def named(self, volume: VolumeInfo, first: int, end: int) -> NamedSpans:
        """Where events have named any of blocks ``first`` to ``end`` - 1 of a live volume, or of as many of the first
        of them as one look goes over: more than those, never less. Raises as `presence`."""
        return Bitmaps(self._keyspace, self._keys, self._generations).spans(volume, first, end)

    def contents(self, copy: Copy) -> CopyContents:
        """The copy's blocks, for whoever reads many of them."""
        return CopyContents(self._keyspace, self.identity, copy)

    def mending(self) -> Mending:
        """Repairs of this store's blocks, bitmaps and kept digests, by what is known to be right."""
        return Mending(self._keyspace, self.identity)

    def hold(self, copy: Copy, kind: HoldKind, holder: str = "") -> Lease:
        """A lease on a formed copy: through ``lease.copy`` it is read right until the lease is closed, dropped or not.
        ``holder`` is for people, by default this process. Raises `NotFound`, `SiteBehind`."""
        return self._leases.take(copy, kind, holder)

    def holds(self) -> list[Hold]:
        """Who holds copies now, clones included."""
        holds, now_us = read_holds(self._keyspace, self._keys)
        return [hold for hold in holds if hold.live(now_us)]

    def named_since(self, copy: Copy | None) -> bool:
        """See `tidelog.stores.named.named_since`."""
        return named_since(self._keyspace, self._keys, copy)

    def digest(self, copy: Copy) -> bytes:
        """The copy's digest (16 bytes): from an elder copy's digest and the blocks named since, where that is known.
        Reads in bulk, and keeps what it found. Raises `NotFound` when the copy is dropped meanwhile."""
        return self._digests.copy(copy, self._elders(copy))

    def volume_digest(self, volume: VolumeInfo, copy: Copy) -> bytes:
        """One volume's digest in a copy (16 bytes, big-endian), likewise."""
        return self._digests.volume(volume, copy, self._elders(copy))

    def verify(self, copy: Copy, advance: Callable[[int], None] | None = None) -> bytes:
        """The copy's digest from all its blocks as they are now, whatever was computed before; kept in its place.
        ``advance`` is told of the bytes gone over since the last call: of a volume at a time."""
        self._elders(copy)
        digests = []
        for volume in copy.volumes:
            digests.append((volume, self._digests.all(volume, copy)))
            if advance is not None:
                advance(volume.size)
        return copy_digest(digests)

    def _reader(self, volume: VolumeInfo, copy: Copy) -> CopyReader:
        return CopyReader(self._keyspace, self._keys, volume, copy, generations=self._generations)

    def _elders(self, copy: Copy) -> list[Copy]:
        """The formed copies before ``copy``, oldest first. Raises `NotFound` if it is neither formed itself nor held;
        that it is held indeed, its reads see."""
        copies = self.copies(lost=True)
        if not copy.hold and not any((found.sequence, found.seal) == (copy.sequence, copy.seal) for found in copies):
            raise NotFound(f"copy {copy.name} (sequence {copy.sequence}) is not here any more")
        return [one for one in copies if one.generation < copy.generation and one.origin is not CopyOrigin.LOST]
