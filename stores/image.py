"""A group's image at one site: the public face of `tidelog.stores`."""

from collections.abc import Iterator

from tidelog.stores.applier import Applier
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.store import Copy, Identity, Position, VolumeInfo


class Store:
    """One group at one site, on a `Keyspace`. Thread-safe (an applier is not).

    Every method raises `StoreUnavailable` when Redis does not answer, `NeedsRebuild` when there is no position (an
    erase that was cut short), `StoreDamaged` when a key holds what tidelog never wrote.
    """

    identity: Identity

    @classmethod
    def create(cls, keyspace: Keyspace, identity: Identity) -> "Store":
        """An empty store at the origin of the group's history; one of the same identity that exists is opened.

        Raises `WrongStore` if another group's or site's data is there, or the server may evict keys.
        """
        raise NotImplementedError

    @classmethod
    def open(cls, keyspace: Keyspace, identity: Identity) -> "Store":
        """Opens what `create` made. Raises `NotFound` if there is none, `WrongStore` as `create` does.

        An identity with an empty ``group_id`` matches any (for readers that have only the name); then
        ``store.identity`` has the real one.
        """
        raise NotImplementedError

    def position(self) -> Position:
        """The position now."""
        raise NotImplementedError

    def volumes(self) -> list[VolumeInfo]:
        """The live volume table, by id."""
        raise NotImplementedError

    def volume(self, name: str) -> VolumeInfo:
        """The live volume of that name; raises `NotFound`."""
        raise NotImplementedError

    def copies(self, *, dropping: bool = False) -> list[Copy]:
        """The copies, oldest first; those being dropped only if ``dropping``."""
        raise NotImplementedError

    def copy(self, name: str) -> Copy:
        """The newest formed copy of that name (names are labels); ``#<sequence>`` names one by sequence. `NotFound`."""
        raise NotImplementedError

    def applier(self, cluster_id: str) -> Applier:
        """A new applier at the store's position; offsets that it is given are of ``cluster_id``'s log."""
        raise NotImplementedError

    def mark_dropping(self, copy: Copy) -> bool:
        """Makes a copy unreadable and due for dropping, from any process; appliers see `PositionMoved`.

        False if it is no longer there or was marked already. Raises `StoreUnavailable` after bounded tries.
        """
        raise NotImplementedError

    def read(self, volume: VolumeInfo, offset: int, length: int, copy: Copy | None = None) -> bytes:
        """``length`` bytes at byte ``offset`` of a live volume, or as it was in ``copy``.

        Raises `OutOfBounds`, `NotFound` (volume or copy is not there, or being dropped), `SiteBehind` (rebuilding).
        """
        raise NotImplementedError

    def read_live(self, volume: VolumeInfo, offset: int, length: int) -> tuple[bytes, int]:
        """Live bytes and the sequence at which they stood so, all at one position."""
        raise NotImplementedError

    def stream(self, volume: VolumeInfo, copy: Copy, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes of a volume in ``copy``, in chunks of at most some MiB; for any length in bounded memory."""
        raise NotImplementedError

    def digest(self, copy: Copy) -> bytes:
        """The copy's digest (16 bytes): from the elder copy's digest and the blocks named since where that is known.
        Reads in bulk and stores what it found."""
        raise NotImplementedError

    def volume_digest(self, volume: VolumeInfo, copy: Copy) -> bytes:
        """One volume's digest in a copy (16 bytes, big-endian)."""
        raise NotImplementedError

    def begin_rebuild(self, until_sequence: int) -> None:
        """Marks the store as not good until it has applied ``until_sequence``; kept outside the data, over `erase`."""
        raise NotImplementedError

    def rebuilding(self) -> int | None:
        """The sequence that a rebuild must reach before the store is good; None if no rebuild is under way."""
        raise NotImplementedError

    def end_rebuild(self) -> None:
        """Declares the store good."""
        raise NotImplementedError

    def erase(self) -> Iterator[int]:
        """Empties the store in bounded steps, yielding the number of keys deleted so far; at the end it stands at the
        origin. Cut short, it leaves no position (`NeedsRebuild`): run it again. Appliers see `PositionMoved`."""
        raise NotImplementedError
