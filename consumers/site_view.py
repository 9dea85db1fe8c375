"""The reading side: what a site holds of a group, with no writer session and no fencing."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self

from tidelog.clock import iso, wall_us
from tidelog.consumers.archived_clone import clone_archived
from tidelog.consumers.archives import CopySource
from tidelog.consumers.clone_view import CloneView
from tidelog.consumers.deployment import Deployment, find_site, open_store, open_store_alone
from tidelog.consumers.materialise import materialise
from tidelog.consumers.moments import moment_of
from tidelog.consumers.site_volume import CopyVolume, SiteVolume
from tidelog.errors import LogUnavailable, NotFound, UsageError
from tidelog.schemas.volumes import find_volume
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.diff import VolumeDiff, diff
from tidelog.stores.image import Store
from tidelog.stores.placing import placed
from tidelog.stores.store import Clone, Copy, Hold, HoldKind, Position

# Finds a copy in an archive, by deployment, group, site and the copy's name; None if there is none.
ArchiveFinder = Callable[[Deployment, str, str, str], "tuple[CopySource, Copy] | None"]


class CopyView:
    """A point-in-time copy at one site, in its store or its archive. Its identity is (group, ``sequence``, ``seal``);
    the name is a label."""

    def __init__(self, store: CopySource, copy: Copy) -> None:
        self._store, self.info = store, copy
        self.name, self.sequence, self.seal = copy.name, copy.sequence, copy.seal
        self.timestamp_us, self.blocks_changed = copy.timestamp_us, copy.blocks_changed
        self.locked_until_us, self.kept = copy.locked_until_us, copy.kept  # at the moment that it was looked up

    def __repr__(self) -> str:
        return f"<copy {self.name!r} at sequence {self.sequence}, {iso(self.timestamp_us)}>"

    def volumes(self) -> list[CopyVolume]:
        """Every volume of the group as it was."""
        return [CopyVolume(self._store, info, self.info) for info in self.info.volumes]

    def volume(self, name: str) -> CopyVolume:
        """The volume of that name at the cut. Raises `NotFound`."""
        return CopyVolume(self._store, find_volume(self.info.volumes, name, f"copy {self.name}"), self.info)

    @contextmanager
    def held(self) -> Iterator["CopyView"]:
        """This copy, held for as long as the block runs: what is read through the view that it gives is right, also
        if the copy is dropped meanwhile. Raises `NotFound` if it is dropped already. Nothing drops an archived one."""
        if not isinstance(self._store, Store):
            yield self
            return
        with self._store.hold(self.info, HoldKind.VOLUME) as lease:
            yield CopyView(self._store, lease.copy)

    def holds(self) -> list[Hold]:
        """Who holds it at this site now: clones, exports and open work volumes."""
        holds = self._store.holds() if isinstance(self._store, Store) else []
        return [hold for hold in holds if hold.of(self.info)]

    def digest(self) -> bytes:
        """The copy's digest, 16 bytes: equal at every site that holds the same copy."""
        return self._store.digest(self.info)

    def diff(self, elder: "CopyView", *, exact: bool = False) -> list[VolumeDiff]:
        """What changed since ``elder``, a copy at the same site: every volume that is not the same, by id.

        From change bitmaps alone: a block counts if an event named it; with ``exact`` contents are compared. Raises
        `UsageError` if ``elder`` is not the elder one or either is in an archive, which has no change bitmaps;
        `NotFound` if either is dropped meanwhile.
        """
        newer, before = self._store, elder._store
        if not isinstance(newer, Store) or not isinstance(before, Store):
            archived = self.name if isinstance(before, Store) else elder.name
            raise UsageError(f"copy {archived} is archived, and an archive has no change bitmaps")
        with placed(newer.identity):
            return diff(before.contents(elder.info), newer.contents(self.info), exact=exact)


class SiteGroup:
    """A group as one site holds it. Thread-safe. ``archive`` finds, by name, copies that the store has not got;
    ``deployment`` has the log that `materialise` reads."""

    def __init__(
        self,
        store: Store,
        deployment: Deployment,
        archive: Callable[[str], "tuple[CopySource, Copy] | None"] | None = None,
    ) -> None:
        self._store, self._deployment, self._archive = store, deployment, archive
        self.name, self.site = store.identity.group, store.identity.site
        self._images: dict[str, CloneImage] = {}

    @property
    def position(self) -> Position:
        """How far the site has applied the log; ``position.head.sequence`` is the number to compare."""
        return self._store.position()

    @property
    def rpo(self) -> float:
        """Seconds since the newest event that the site has applied was written: what would be lost, at most, if
        everything else were gone now. An idle writer's heartbeats keep it small. Infinite before the first event."""
        written = self.position.head.timestamp_us
        return (wall_us() - written) / 1_000_000 if written else float("inf")

    @property
    def rebuilding(self) -> bool:
        """Whether a rebuild is under way, so that nothing here is good yet."""
        return self._store.rebuilding() is not None

    def copies(self) -> list[CopyView]:
        """The copies in the site's store, oldest first."""
        return [CopyView(self._store, copy) for copy in self._store.copies()]

    def copy(self, name: str) -> CopyView:
        """The newest copy of that name in the site's store, else the newest in an archive. Raises `NotFound`;
        `LogUnavailable` if it cannot be told whether it is in one; `ExportDamaged` for an archive that is not there, or
        is not that copy."""
        try:
            return CopyView(self._store, self._store.copy(name))
        except NotFound:
            if (found := self._archived(name)) is None:
                raise
            return CopyView(*found)

    def create_clone(self, copy: str, name: str) -> CloneView:
        """A writable clone of the newest copy of that name, at this site: nothing is copied. It holds its copy, whose
        digest stays what it is. All blocks of an archived copy are copied into the site's store.

        Raises `NotFound`; `AlreadyExists` for a clone's name; `InvalidName`; `UsageError` for a clone of a clone; and,
        of an archived copy, as `clone_archived`.
        """
        try:
            return self._view(self._store.clones.create(self._store.clonable(copy), name))
        except NotFound:
            if (found := self._archived(copy)) is None:
                raise
            return self._view(clone_archived(self._store, *found, name))

    def materialise(
        self,
        name: str,
        *,
        at: "int | str | datetime | None" = None,
        sequence: int | None = None,
        before_event: int | None = None,
    ) -> CloneView:
        """The group as it was at any moment of the past, as a writable clone of that name at this site: after the last
        write or event of at most the time ``at`` (UTC microseconds, text such as 2026-11-22T10:00:00.123456Z, or a
        datetime with its zone), after ``sequence``, or before ``before_event``. Returns when it is whole; cut short,
        the same call goes on.

        Raises `UsageError` unless exactly one moment is given; `OutOfWindow`, naming what can be reached;
        `AlreadyExists` for a clone's name; `InvalidName`; `SiteBehind` while the site is being rebuilt.
        """
        moment = moment_of(at, sequence, before_event)
        return self._view(materialise(self._deployment, self._store, name, moment))

    def clones(self) -> list[CloneView]:
        """The clones at this site, by name; not those that are still being materialised."""
        return [self._view(clone) for clone in self._store.clones.all() if not clone.forming]

    def clone(self, name: str) -> CloneView:
        """The clone of that name. Raises `NotFound`."""
        return self._view(self._store.clones.find(name))

    def drop_clone(self, name: str) -> None:
        """Drops a clone, and returns when all that it took is freed. Raises `NotFound`."""
        dropped = self._store.clones.drop(name)
        if (image := self._images.pop(dropped.id, None)) is not None:
            image.close()

    def volumes(self) -> list[SiteVolume]:
        """The live volumes."""
        return [SiteVolume(self._store, info) for info in self._store.volumes()]

    def volume(self, name: str) -> SiteVolume:
        """The live volume of that name. Raises `NotFound`."""
        return SiteVolume(self._store, find_volume(self._store.volumes(), name, f"group {self.name}"))

    def wait_until(self, sequence: int, timeout: float = 30.0) -> bool:
        """Waits until the site has applied ``sequence``; False if it has not within ``timeout`` seconds."""
        return _await(lambda: self.position.head.sequence >= sequence, timeout)

    def close(self) -> None:
        """Lets go of Redis."""
        for image in self._images.values():
            image.close()
        self._store.close()

    def _archived(self, name: str) -> "tuple[CopySource, Copy] | None":
        return None if self._archive is None else self._archive(name)

    def _view(self, clone: Clone) -> CloneView:
        """One connection for changes a clone, however often it is asked for."""
        if clone.id not in self._images:
            self._images[clone.id] = self._store.clones.image(clone)
        return CloneView(self._images[clone.id])


class Site:
    """A site, for reading. From `tidelog.open_site`; close it, or use it as a context manager."""

    def __init__(
        self, deployment: Deployment, name: str, *, owns: bool = True, archive: ArchiveFinder | None = None
    ) -> None:
        find_site(deployment.config, name)
        self.name = name
        self._deployment, self._owns, self._archive = deployment, owns, archive
        self._groups: dict[str, SiteGroup] = {}

    def group(self, name: str) -> SiteGroup:
        """A group at this site. Raises `NotFound`, also while no worker has made its store yet; `StoreUnavailable`.

        While Kafka does not answer, which is found out within ``kafka.connect_timeout`` or so, the site's store alone
        says which group it holds: what it holds can be read all the same.
        """
        if name not in self._groups:
            try:
                store = open_store(self._deployment, self.name, name)
            except LogUnavailable:
                store = open_store_alone(self._deployment, self.name, name)
            archive = self._archive
            find = None if archive is None else partial(archive, self._deployment, name, self.name)
            self._groups[name] = SiteGroup(store, self._deployment, find)
        return self._groups[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of everything."""
        for group in self._groups.values():
            group.close()
        self._groups.clear()
        if self._owns:
            self._deployment.close()


def _await(done: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
