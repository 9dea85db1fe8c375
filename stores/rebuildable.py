"""What a store offers to whoever rebuilds it: a mark that it is not good, an erase, a copy from elsewhere as base."""

from collections.abc import Iterable, Iterator
from typing import cast

from tidelog.errors import StoreDamaged
from tidelog.schemas.chain import origin
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.base import BaseLoad
from tidelog.stores.began import Began, decode_began
from tidelog.stores.erase import ERASING, erase, mark_erasing, withdraw_mark
from tidelog.stores.keys import Keys
from tidelog.stores.keyspace import Keyspace
from tidelog.stores.loading import Loading, decode_loading
from tidelog.stores.placing import placing
from tidelog.stores.records import decode_clone, decode_copy, decode_position, encode_position
from tidelog.stores.state import present
from tidelog.stores.store import Copy, CopyState, Identity, Position


@placing
class Rebuildable:
    """The part of a `tidelog.stores.image.Store` that rebuilds use. Methods raise as the store's do."""

    identity: Identity
    _keyspace: Keyspace
    _keys: Keys

    def begin_rebuild(self, until_sequence: int) -> None:
        """Marks the store as not good until it has applied ``until_sequence``; kept outside the data, over `erase`."""
        self._keyspace.transact([(b"SET", self._keys.rebuild, b"%d" % until_sequence)])

    def begin_erase(self) -> int | None:
        """Marks the store as not good in a step that `Clones.create` sees: from then on no clone is made. Returns what
        `withdraw_erase` puts back, if nothing is to be erased after all."""
        before = self.rebuilding()
        mark_erasing(self._keyspace, self._keys)
        return None if before == ERASING else before

    def withdraw_erase(self, before: int | None) -> None:
        """Takes the mark of `begin_erase` back."""
        withdraw_mark(self._keyspace, self._keys, before)

    def rebuilding(self) -> int | None:
        """The sequence that a rebuild must reach before the store is good; None if no rebuild is under way."""
        (value,) = self._keyspace.transact([(b"GET", self._keys.rebuild)])
        return None if value is None else int(cast("bytes", value))

    def whole(self) -> bool:
        """Whether the store has followed the log from its beginning, so that it holds every copy that the group has;
        not if it began from a copy from elsewhere, or was rolled back over drops that the log has lost."""
        return self.began() == Began(0, 0)

    def began(self) -> Began:
        """Where the store began. Raises `StoreDamaged`."""
        return decode_began(self._keyspace.transact([(b"GET", self._keys.begun)])[0])

    def end_rebuild(self) -> None:
        """Declares the store good. Raises `StoreDamaged` if it has not come as far as the rebuild must."""
        until = self.rebuilding()
        (value,) = self._keyspace.transact([(b"GET", self._keys.position)])
        sequence = decode_position(present(value)).head.sequence
        if until is not None and sequence < until:
            what = f"the rebuild stands at {sequence}, before {until}"
            raise StoreDamaged(what, group=self.identity.group)
        self._keyspace.transact([(b"DEL", self._keys.rebuild)])

    def erase(self) -> Iterator[int]:
        """Empties the store in bounded steps, yielding the number of keys deleted so far; at the end it stands at the
        origin. Cut short, it leaves no position (`NeedsRebuild`): run it again. Appliers see `PositionMoved`, and an
        erase or a load that is under way `StoreUnavailable`, as this does when another one begins."""
        start = Position(origin(self.identity.group_id), "", 0, 0)
        yield from erase(self._keyspace, self._keys, encode_position(start))

    def left_rolling(self) -> tuple[list[Copy], list[str]]:
        """Every formed copy of a store that is being rolled back, oldest first, the last of them ``lost-tail``; and the
        clones' names. Nothing of it can be read: for who is about to erase it. Raises `StoreDamaged`."""
        copies, clones = self._keyspace.transact([(b"HGETALL", self._keys.copies), (b"HGETALL", self._keys.clones)])
        found = sorted(map(decode_copy, cast("list[bytes]", copies)[1::2]), key=lambda copy: copy.generation)
        names = [clone.name for clone in map(decode_clone, cast("list[bytes]", clones)[1::2]) if not clone.dropping]
        return [copy for copy in found if copy.state is CopyState.FORMED], sorted(names)

    def loading(self) -> Loading | None:
        """The copy from elsewhere that is being loaded, or whose load was cut short; None if there is none."""
        (value,) = self._keyspace.transact([(b"GET", self._keys.position)])
        return decode_loading(value)

    def load_base(self, loading: Loading, *, over: bool = False) -> BaseLoad:
        """Takes this store for a copy from elsewhere, see `BaseLoad.begin`; to be erased first."""
        return BaseLoad.begin(self._keyspace, self._keys, loading, over=over)

    def resume_load(self, loading: Loading, volumes: Iterable[VolumeInfo]) -> BaseLoad:
        """Goes on with a load that stands here, see `BaseLoad.resume`."""
        return BaseLoad.resume(self._keyspace, self._keys, loading, volumes)
