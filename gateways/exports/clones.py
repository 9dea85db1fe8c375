"""A clone that was materialised, as what an export is made from: `tidelog.gateways.exports.writing`."""

from collections.abc import Iterator
from contextlib import contextmanager

from tidelog.errors import UsageError
from tidelog.gateways.exports.writing import Held
from tidelog.schemas.volumes import VolumeInfo
from tidelog.stores.bitmap import ChangeBitmap
from tidelog.stores.clone_contents import CloneContents
from tidelog.stores.clone_image import CloneImage
from tidelog.stores.pairs import Pair
from tidelog.stores.store import Copy, HoldKind, Identity


class CloneSource:
    """A clone in the place of a copy at its site. An export says of which moment it is, so a clone that was written to
    is refused, as is one of a copy: that copy itself can be exported."""

    def __init__(self, image: CloneImage) -> None:
        self._image, self.copy = image, image.clone.image
        self._check()

    @property
    def identity(self) -> Identity:
        """Whose it is."""
        return self._image.identity

    @contextmanager
    def hold(self, copy: Copy, kind: HoldKind) -> Iterator[Held]:  # noqa: ARG002 (a clone stays until it is dropped)
        """Nothing needs to be held."""
        yield self

    def digest(self, copy: Copy) -> bytes:  # noqa: ARG002 (there is one)
        """Its digest, computed anew; that it is still what was materialised is made sure of afterwards."""
        digest = self._image.contents().digest()
        self._check()
        return digest

    def volume_digest(self, volume: VolumeInfo, copy: Copy) -> bytes:  # noqa: ARG002
        """One volume's."""
        return self._image.contents().volume_digest(volume)

    def contents(self, copy: Copy) -> CloneContents:  # noqa: ARG002
        """Its blocks."""
        return self._image.contents()

    def pairs(self, copy: Copy) -> dict[Pair, ChangeBitmap]:  # noqa: ARG002
        """None: what is for a site that goes on from an export, which none does from one that is no marker's copy."""
        return {}

    def _check(self) -> None:
        if not self._image.untouched:
            raise UsageError(
                f"clone {self._image.clone.name} is not, or not any more, what the group was at some moment",
                hint="export its volumes as raw images: tidelog clone export NAME VOLUME FILE",
            )
