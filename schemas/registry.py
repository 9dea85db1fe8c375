"""The Avro schemas that this version speaks, by name and by fingerprint.

A schema never comes from the wire: a fingerprint that is not here is refused.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

NAMESPACE = "tidelog.v1"
MAGIC = b"\xc3\x01"  # Avro specification, "Single-object encoding"
HEADER_SIZE = 10


@dataclass(frozen=True, slots=True)
class Schema:
    """One record type: its short name, its ``.avsc`` text, fastavro's parsed form, and the ten bytes that open each
    message of it (magic, then CRC-64-AVRO of the canonical form, little-endian)."""

    name: str
    text: str
    parsed: Any
    header: bytes

    @property
    def fingerprint(self) -> bytes:
        """The eight bytes of the fingerprint in wire order."""
        return self.header[2:]


def _load(name: str, text: str) -> Schema:
    raw = json.loads(text)
    # fastavro gives the CRC-64-AVRO fingerprint as hex in wire (little-endian) order.
    mark = bytes.fromhex(fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO"))
    return Schema(name, text, parse_schema(raw), MAGIC + mark)


@cache
def schemas() -> dict[str, Schema]:
    """Every schema of the package, by short name (``WriteBatch``), in order of name."""
    found = {}
    for entry in sorted(files("tidelog.schemas").iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".avsc"):
            name = entry.name.removeprefix(NAMESPACE + ".").removesuffix(".avsc")
            found[name] = _load(name, entry.read_text("utf-8"))
    return found


@cache
def by_header() -> dict[bytes, Schema]:
    """Every schema by the ten bytes that open its messages."""
    return {schema.header: schema for schema in schemas().values()}
