"""What a sidefile begins with: which log it follows, and where."""

import json
from dataclasses import asdict, dataclass

from tidelog.schemas.chain import Head
from tidelog.schemas.codec import SEAL_SIZE

MAGIC = b"tidelog sidefile 1\n"
HEADER_SIZE = 1024  # with its seal


@dataclass(frozen=True, slots=True)
class Header:
    """Which group's log, by its topic, and the head that it is to be extended from: the last confirmed event.
    ``id`` is the file's own, new for each."""

    group: str
    group_id: str
    log: str
    id: bytes
    base: Head
    made_us: int


def header_text(header: Header) -> bytes:
    """The bytes at the beginning of a sidefile, its seal left out."""
    fields = {name: part.hex() if isinstance(part, bytes) else part for name, part in asdict(header).items()}
    fields["base"] = {name: p.hex() if isinstance(p, bytes) else p for name, p in asdict(header.base).items()}
    text = json.dumps(fields).encode()
    return (MAGIC + text).ljust(HEADER_SIZE - SEAL_SIZE)


def header_of(text: bytes) -> Header:
    """What `header_text` told."""
    fields = json.loads(text.removeprefix(MAGIC))
    base = fields["base"]
    head = Head(**base | {"seal": bytes.fromhex(base["seal"]), "writer": bytes.fromhex(base["writer"])})
    return Header(**fields | {"id": bytes.fromhex(fields["id"]), "base": head})
