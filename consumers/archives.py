"""Copies that are in an archive: what the control topic says of them, and what a copy is read from, here or there.

An archive is an export (`tidelog.gateways.exports`) that a site has verified before it dropped the copy from its Redis.
"""

from collections.abc import Iterator
from typing import Protocol

from tidelog.producers.archived import archives_of
from tidelog.producers.control import ControlView
from tidelog.schemas.control import CopyArchived
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.store import Copy, Identity


class CopySource(Protocol):
    """What one copy is read from: a site's store that holds it, or its archive. Offsets and lengths are bytes."""

    @property
    def identity(self) -> Identity:
        """Whose copy it is."""

    def read(self, volume: VolumeInfo, offset: int, length: int, copy: Copy | None = None) -> bytes:
        """Bytes of a volume in the copy. Raises `OutOfBounds`, `NotFound`, and what the source does."""

    def stream(self, volume: VolumeInfo, copy: Copy, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The same in parts of some MiB."""

    def digest(self, copy: Copy) -> bytes:
        """The copy's digest, 16 bytes."""

    def volume_digest(self, volume: VolumeInfo, copy: Copy) -> bytes:
        """One volume's, 16 bytes."""


def find_archive(view: ControlView, group: str, name: str, site: str | None = None) -> CopyArchived | None:
    """The newest archived copy of that name (``#<sequence>`` names one by sequence); of several archives of it that of
    ``site``, if there is one. None if there is none."""
    named = [record for record in archives_of(view, group) if name in (record.name, f"#{record.sequence}")]
    if not named:
        return None
    newest = named[-1]
    identity = newest.sequence, newest.seal, newest.name
    same = [record for record in named if (record.sequence, record.seal, record.name) == identity]
    return next((record for record in same if record.site == site), same[0])
