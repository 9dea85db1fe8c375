"""What is said about an extent that a volume does not have."""

from tidelog.errors import OutOfBounds
from tidelog.schemas.volumes import VolumeInfo


def out_of_bounds(info: VolumeInfo | None, what: str, offset: int, length: int) -> OutOfBounds:
    """The error for an extent that the volume does not have; ``info`` is None if the volume was deleted."""
    if info is None:
        return OutOfBounds(f"{what} to a volume that was deleted")
    if not length:
        return OutOfBounds(f"a {what} of no bytes at offset {offset} of volume {info.name}")
    return OutOfBounds(
        f"{what} of {length} bytes at offset {offset} of volume {info.name}, which has {info.size} bytes",
        hint="offsets begin at 0; grow the volume with volume.resize(size)",
    )
