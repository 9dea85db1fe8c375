"""What is exported, looked up anew each time: volumes, copies and clones come and go while a server runs.

ledger              the live volume, read-write: at the primary, by the server's writer session
ledger@nightly      that volume in the copy ``nightly``, read-only; also ``ledger@#1234``, by the copy's sequence
ledger@clone:drill  that volume in the clone ``drill``, read-write
"""

import threading
from typing import NamedTuple

from tidelog.clock import iso
from tidelog.consumers.deployment import Deployment, open_store
from tidelog.errors import NotFound
from tidelog.gateways.exports.archived import find_in_archive
from tidelog.gateways.nbd.discards import Looks
from tidelog.gateways.nbd.exports import CloneExport, CopyExport, Export, LiveExport
from tidelog.gateways.nbd.writer import Writer
from tidelog.schemas.volumes import find_volume
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.image import Store
from tidelog.stores.store import Clone, HoldKind

_CLONE = "clone:"


class Listed(NamedTuple):
    """An export's name, and a line about it."""

    name: str
    description: str


class Catalogue:
    """The exports of a group at a site. Without a ``writer`` no live volume is among them; ``read_only`` also makes
    clones so. Thread-safe; every method may wait for servers."""

    def __init__(
        self, deployment: Deployment, group: str, site: str, writer: Writer | None, *, read_only: bool = False
    ) -> None:
        self.group, self.site, self.writer, self.read_only = group, site, writer, read_only
        self._deployment = deployment
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._images: dict[str, CloneImage] = {}
        self._looks = Looks()

    def listed(self) -> list[Listed]:
        """Live volumes, then copies, oldest first, then clones. Archived copies can be opened, and are not listed."""
        found = [] if self.writer is None else [self._live(name) for name in self._volumes()]
        if (store := self._opened()) is None:
            return found
        for copy in store.copies():
            when = f"copy {copy.name} at sequence {copy.sequence}, {iso(copy.timestamp_us)}"
            found += [Listed(f"{info.name}@{copy.name}", f"volume {info.name} in {when}") for info in copy.volumes]
        for clone in store.clones.all():
            if not clone.forming:
                found += [
                    Listed(f"{info.name}@{_CLONE}{clone.name}", f"volume {info.name} in clone {clone.name}")
                    for info in clone.image.volumes
                ]
        return list({one.name: one for one in found}.values())  # of copies with one name the newest

    def open(self, name: str) -> Export:
        """The export of that name, for one connection, which closes it. Raises `NotFound`, and what its store does."""
        volume, at, where = name.partition("@")
        if not at:
            return self._open_live(volume)
        if where.startswith(_CLONE):
            return self._open_clone(volume, where.removeprefix(_CLONE))
        return self._open_copy(volume, where)

    def describe(self, name: str) -> str:
        """A line about an export that can be opened."""
        volume, at, where = name.partition("@")
        if not at:
            return self._live(volume).description
        if where.startswith(_CLONE):
            return f"volume {volume} in clone {where.removeprefix(_CLONE)}"
        return f"volume {volume} in copy {where}"

    def close(self) -> None:
        """Lets go of the site's store."""
        with self._lock:
            images, self._images = self._images, {}
            store, self._store = self._store, None
        for image in images.values():
            image.close()
        if store is not None:
            store.close()

    def _volumes(self) -> list[str]:
        assert self.writer is not None
        return [volume.name for volume in self.writer.group.volumes()]

    def _live(self, name: str) -> Listed:
        return Listed(name, f"volume {name} of group {self.group}, live")

    def _open_live(self, name: str) -> Export:
        if self.writer is None:
            raise NotFound(f"volume {name} is not exported live here", hint="a copy of it is NAME@COPY")
        group = self.writer.group
        return LiveExport(group, group.volume(name), self._opened(), self._looks)

    def _open_copy(self, volume: str, name: str) -> Export:
        store = self._opened()
        try:
            if store is None:
                raise NotFound(f"site {self.site} has no store of group {self.group}")
            copy = store.copy(name)
        except NotFound:
            found = find_in_archive(self._deployment, self.group, self.site, name)
            if found is None:
                raise
            source, copy = found
            return CopyExport(source, copy, find_volume(copy.volumes, volume, f"copy {name}"), None)
        info = find_volume(copy.volumes, volume, f"copy {name}")
        lease = store.hold(copy, HoldKind.VOLUME)
        return CopyExport(store, lease.copy, info, lease)

    def _open_clone(self, volume: str, name: str) -> Export:
        if (store := self._opened()) is None:
            raise NotFound(f"site {self.site} has no store of group {self.group}")
        clone = store.clones.find(name)
        info = find_volume(clone.image.volumes, volume, f"clone {name}")
        return CloneExport(self._image(store, clone), info, read_only=self.read_only)

    def _image(self, store: Store, clone: Clone) -> CloneImage:
        """One for all connections of a clone, since it lets one change in at a time. Those of clones that are gone are
        let go of."""
        with self._lock:
            known = set(self._images)  # before the look, which does not tell of clones that are made meanwhile
        there = {one.id for one in store.clones.all()}
        with self._lock:
            gone = [self._images.pop(number) for number in known - there if number in self._images]
            image = self._images.setdefault(clone.id, store.clones.image(clone))
        for one in gone:
            one.close()
        return image

    def _opened(self) -> Store | None:
        """The site's store; None while no worker has made it."""
        with self._lock:
            if self._store is None:
                try:
                    self._store = open_store(self._deployment, self.site, self.group)
                except NotFound:
                    return None
            return self._store
