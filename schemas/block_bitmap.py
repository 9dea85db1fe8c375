"""The bitmap of a `VolumeCopied` on the wire: zlib, so that a few blocks of a large volume take a few bytes.

One bit a block, the most significant first, up to the last block that is set. What comes back is bounded by the
target's size before a byte is unpacked.
"""

import zlib

from tidelog.errors import UsageError
from tidelog.schemas.codec import MAX_MESSAGE_SIZE
from tidelog.schemas.events import VolumeCopied
from tidelog.schemas.volumes import impossible_event

# Of a message, what is left beside the other fields.
MAX_PACKED_SIZE = MAX_MESSAGE_SIZE - 1024


def pack_bitmap(bits: bytes | bytearray) -> bytes:
    """The wire form of a bitmap. Raises `UsageError` if that is more than a message holds: of some 2^25 blocks, changed
    without any pattern."""
    packed = zlib.compress(bits.rstrip(b"\0"))
    if len(packed) > MAX_PACKED_SIZE:
        raise UsageError(
            f"the bitmap of changed blocks takes {len(packed)} bytes, and a message holds {MAX_PACKED_SIZE}",
            hint="copy before so much has changed in so many places, or use a larger block size",
        )
    return packed


def unpack_bitmap(event: VolumeCopied, blocks: int) -> bytes:
    """The bits that ``event`` ships, for a target of ``blocks`` blocks. Raises `CorruptEvent` for what `pack_bitmap`
    does not make, and for a bit behind the target's end."""
    limit = -(-blocks // 8)
    unpacker = zlib.decompressobj()
    try:
        bits = unpacker.decompress(event.bitmap, limit + 1)
    except zlib.error as error:
        raise impossible_event(event, f"has a bitmap that does not unpack: {error}") from error
    if not unpacker.eof or unpacker.unused_data or bits[-1:] == b"\0":
        raise impossible_event(event, "has a bitmap that no writer packs")
    if len(bits) > limit or (len(bits) == limit and blocks % 8 and bits[-1] & (0xFF >> blocks % 8)):
        raise impossible_event(event, f"names blocks behind the {blocks} of its target")
    return bits
