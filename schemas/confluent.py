"""Confluent's framing of an Avro message: a zero byte and the id that a schema registry gave its schema, four bytes,
big-endian; then the same bytes as in single-object encoding behind its ten.

Ids are of one registry. A site needs none: the seal of an event, which is of the single-object encoding, is right for
one schema alone (`tidelog.schemas.codec.Codec`). So a log outlives its registry, and may be mixed.
"""

from collections.abc import Mapping

from tidelog.schemas.registry import HEADER_SIZE

ID_MAGIC = b"\x00"
ID_HEADER_SIZE = 5


def confluent_header(schema_id: int) -> bytes:
    """The five bytes that open each message of a schema with this id."""
    return ID_MAGIC + schema_id.to_bytes(ID_HEADER_SIZE - 1, "big")


def framed(message: bytes, headers: Mapping[bytes, bytes]) -> bytes:
    """An event of single-object encoding in Confluent's framing; ``headers`` has the five bytes for its ten."""
    return b"".join((headers[message[:HEADER_SIZE]], memoryview(message)[HEADER_SIZE:]))
