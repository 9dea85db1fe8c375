"""Clones as an application sees them: volumes of a copy that can be written to, at one site."""

from collections.abc import Iterator

from tidelog.clock import iso
from tidelog.producers.volume_file import VolumeFile
from tidelog.schemas.volumes import VolumeInfo, find_volume
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.diff import VolumeDiff


class CloneVolume:
    """A volume of a clone. Offsets and lengths are bytes; its size is the copy's, and stays.

    Every method raises `NotFound` once the clone was dropped, or the site rebuilt; `StoreUnavailable`: of a change it
    is then unknown whether it took effect.
    """

    def __init__(self, image: CloneImage, info: VolumeInfo) -> None:
        self._image, self.info = image, info

    @property
    def name(self) -> str:
        """Its name in the copy."""
        return self.info.name

    @property
    def id(self) -> int:
        """Its id in the copy."""
        return self.info.id

    @property
    def size(self) -> int:
        """Bytes."""
        return self.info.size

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset``, up to 4 MiB of one state. Raises `OutOfBounds`."""
        return self._image.read(self.info, offset, length)

    def stream(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The same in parts of at most 4 MiB, by default up to the volume's end."""
        return self._image.stream(self.info, offset, self.size - offset if length is None else length)

    def write(self, offset: int, data: bytes) -> None:
        """Writes ``data``; it is in the site's Redis when this returns. Up to 4 MiB all of it or nothing; larger ones
        in parts that end at multiples of 4 MiB. Raises `OutOfBounds`."""
        self._image.write(self.info, offset, data)

    def discard(self, offset: int, length: int) -> None:
        """Makes the bytes zeros, and gives back the room of whole blocks. Raises `OutOfBounds`."""
        self._image.discard(self.info, offset, length)

    def flush(self) -> None:
        """Nothing waits: what was written is in Redis, and as durable as that is."""

    def open(self) -> VolumeFile:
        """The volume as a raw binary file, seekable and writable; wrap it in `io.BufferedRandom`."""
        return VolumeFile(self, self)

    def diff(self) -> VolumeDiff:
        """What was written or discarded here since the clone was made, whatever its content."""
        return VolumeDiff(self.info, self.info, self._image.changed(self.info))


class CloneView:
    """A clone at one site. From `SiteGroup.clone`. Two of the same clone are equal.

    It goes for a group where volumes that belong together are asked for: `tidelog.gateways.sqlite.database`.
    """

    def __init__(self, image: CloneImage) -> None:
        self._image, self.info = image, image.clone
        self.name, self.created_us = image.clone.name, image.clone.created_us
        self.copy_name, self.copy_sequence = image.clone.base.name, image.clone.base.sequence

    def __repr__(self) -> str:
        return (
            f"<clone {self.name!r} of copy {self.copy_name!r} (sequence {self.copy_sequence}), {iso(self.created_us)}>"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CloneView) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[object, str]:
        return self._image.identity, self.info.id

    def volumes(self) -> list[CloneVolume]:
        """Every volume of the copy."""
        return [CloneVolume(self._image, info) for info in self.info.base.volumes]

    def volume(self, name: str) -> CloneVolume:
        """The volume of that name. Raises `NotFound`."""
        return CloneVolume(self._image, find_volume(self.info.base.volumes, name, f"clone {self.name}"))

    def flush(self) -> None:
        """See `CloneVolume.flush`."""

    def state(self) -> bytes:
        """Another value after every change of any of its volumes."""
        return self._image.state()
