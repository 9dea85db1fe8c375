"""Clones as an application sees them: volumes of a copy that can be written to, at one site."""

from collections.abc import Iterator

from tidelog.clock import iso
from tidelog.errors import StoreUnavailable
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
        """What was written or discarded here since the clone was made, whatever its content; of a clone that is
        materialised also what the log wrote since the copy that it began from."""
        before, blocks = self._image.clone.in_base(self.id), self._image.changed(self.info)
        blocks.discard_range(max(self.info.blocks, before.blocks if before else 0), len(blocks.bits) * 8)
        return VolumeDiff(before, self.info, blocks)

    def digest(self) -> bytes:
        """16 bytes; equal wherever the volume's content is equal (DESIGN section 5)."""
        return self._image.contents().volume_digest(self.info)


class CloneView:
    """A clone at one site. From `SiteGroup.clone`. Two of the same clone are equal. ``sequence``, ``seal`` and
    ``timestamp_us`` say what it was an image of when it was made: its copy, or the last event or write in what was
    materialised.

    It goes for a group where volumes that belong together are asked for: `tidelog.gateways.sqlite.database`.
    """

    def __init__(self, image: CloneImage) -> None:
        self._image, self.info = image, image.clone
        self.name, self.created_us = image.clone.name, image.clone.created_us
        self.copy_name, self.copy_sequence = image.clone.base.name, image.clone.base.sequence
        of = image.clone.image
        self.sequence, self.seal, self.timestamp_us = of.sequence, of.seal, of.timestamp_us

    def __repr__(self) -> str:
        if self.info.reached is not None:
            return f"<clone {self.name!r}, the group at sequence {self.sequence}, {iso(self.created_us)}>"
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
        """Every volume of the copy, or of the group at that moment."""
        return [CloneVolume(self._image, info) for info in self.info.image.volumes]

    def volume(self, name: str) -> CloneVolume:
        """The volume of that name. Raises `NotFound`."""
        return CloneVolume(self._image, find_volume(self.info.image.volumes, name, f"clone {self.name}"))

    def digest(self) -> bytes:
        """Of all volumes as they are now, 16 bytes; until something is written in it that of the copy, or what a copy
        at that very moment has at every site. Reads all; `StoreUnavailable` if it is written to meanwhile."""
        before = self._image.state()
        digest = self._image.contents().digest()
        if self._image.state() != before:
            raise StoreUnavailable(f"clone {self.name} was written to while it was read", hint="try again")
        return digest

    @property
    def untouched(self) -> bool:
        """Whether this was materialised, and nothing was written in it since."""
        return self._image.untouched

    def flush(self) -> None:
        """See `CloneVolume.flush`."""

    def claimed(self) -> "CloneView":
        """The same clone, for one who can have no other beside it: whatever is read or written through this view raises
        `Fenced`, and changes nothing, once anybody has claimed the clone again. Databases do so by themselves."""
        return CloneView(self._image.claimed())

    def state(self) -> bytes:
        """Another value after every change of any of its volumes."""
        return self._image.state()
