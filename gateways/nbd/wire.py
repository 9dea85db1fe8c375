"""The NBD protocol's numbers and layouts, and nothing else: fixed newstyle negotiation, simple and structured replies.

Names are those of the protocol's document (doc/proto.md), without their prefixes. All integers are big-endian.
"""

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

GREETING_MAGIC = 0x4E42444D41474943  # "NBDMAGIC"
OPTION_MAGIC = 0x49484156454F5054  # "IHAVEOPT"
OPTION_REPLY_MAGIC = 0x3E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF

GREETING = Struct(">QQH")
CLIENT_FLAGS = Struct(">I")
OPTION = Struct(">QII")  # magic, option, length
OPTION_REPLY = Struct(">QIII")  # magic, option, reply, length
REQUEST = Struct(">IHHQQI")  # magic, flags, command, cookie, offset, length
SIMPLE_REPLY = Struct(">IIQ")  # magic, error, cookie
STRUCTURED_REPLY = Struct(">IHHQI")  # magic, flags, type, cookie, length
EXPORT_INFO = Struct(">HQH")
BLOCK_SIZE_INFO = Struct(">HIII")
OLD_EXPORT = Struct(">QH")
OLD_PADDING = bytes(124)

STRING_BYTES_MAX = 4096
PAYLOAD_BYTES_MAX = 32 << 20  # what every client may take for granted
PREFERRED_BLOCK = 4096
EXTENTS_MAX = 1 << 16  # in one reply; the protocol allows 2^20
ALLOCATION = "base:allocation"
ALLOCATION_ID = 1


class Option(IntEnum):
    """What a client may ask for before it chooses an export."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class OptionReply(IntEnum):
    """What it is answered."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    ERR_UNSUP = (1 << 31) + 1
    ERR_POLICY = (1 << 31) + 2
    ERR_INVALID = (1 << 31) + 3
    ERR_TLS_REQD = (1 << 31) + 5
    ERR_UNKNOWN = (1 << 31) + 6
    ERR_SHUTDOWN = (1 << 31) + 7
    ERR_TOO_BIG = (1 << 31) + 9


class Info(IntEnum):
    """What can be told of an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class Command(IntEnum):
    """What a client does with an export."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class Error(IntEnum):
    """Why a command was not carried out."""

    EPERM = 1
    EIO = 5
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ESHUTDOWN = 108


# Flags are plain integers: each request looks at some, and an IntFlag costs a microsecond.


class HandshakeFlag:
    """The server's and the client's, which are the same two."""

    FIXED_NEWSTYLE = 1 << 0
    NO_ZEROES = 1 << 1


class ExportFlag:
    """Transmission flags: what can be done with an export."""

    HAS_FLAGS = 1 << 0
    READ_ONLY = 1 << 1
    SEND_FLUSH = 1 << 2
    SEND_FUA = 1 << 3
    SEND_TRIM = 1 << 5
    SEND_WRITE_ZEROES = 1 << 6
    SEND_DF = 1 << 7
    CAN_MULTI_CONN = 1 << 8
    SEND_FAST_ZERO = 1 << 11


class CommandFlag:
    """What a request says beside its command."""

    FUA = 1 << 0
    NO_HOLE = 1 << 1
    DF = 1 << 2
    REQ_ONE = 1 << 3
    FAST_ZERO = 1 << 4


class ReplyType:
    """Of a structured reply; each of ours is one chunk, flagged as the last."""

    NONE = 0
    OFFSET_DATA = 1
    BLOCK_STATUS = 5
    ERROR = (1 << 15) + 1


DONE = 1 << 0
HOLE, ZERO = 1 << 0, 1 << 1


class ProtocolError(Exception):
    """The client has said what no client says: the connection is ended, since nobody knows what comes next."""


class Request(NamedTuple):
    """A request of the transmission phase. ``command`` may be none of `Command`."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int


class Extent(NamedTuple):
    """So many bytes of an export, and whether they are a hole that reads as zeros."""

    length: int
    hole: bool


def unpack_request(header: bytes) -> Request:
    """From `REQUEST.size` bytes. Raises `ProtocolError` for a wrong magic."""
    magic, *fields = REQUEST.unpack(header)
    if magic != REQUEST_MAGIC:
        raise ProtocolError(f"a request begins with {magic:#x}")
    return Request(*fields)


def option_reply(option: int, reply: OptionReply, data: bytes = b"") -> bytes:
    """One reply to an option, header and data."""
    return OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, reply, len(data)) + data


def export_info(size: int, flags: int) -> bytes:
    """The data of an INFO reply: the export's size and transmission flags."""
    return EXPORT_INFO.pack(Info.EXPORT, size, flags)


def block_size_info(preferred: int) -> bytes:
    """The data of an INFO reply: any byte can be addressed; ``preferred`` is the grain; the largest payload."""
    return BLOCK_SIZE_INFO.pack(Info.BLOCK_SIZE, 1, preferred, PAYLOAD_BYTES_MAX)


def text_info(kind: Info, text: str) -> bytes:
    """The data of an INFO reply: a name or a description."""
    return int(kind).to_bytes(2) + text.encode()


def listed(name: str, description: str) -> bytes:
    """The data of a SERVER reply."""
    return len(name.encode()).to_bytes(4) + name.encode() + description.encode()


def simple_reply(cookie: int, error: int = 0) -> bytes:
    """A header; the data of a READ follow it."""
    return SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, error, cookie)


def chunk(cookie: int, kind: int, length: int) -> bytes:
    """The header of a structured reply that is one chunk with ``length`` bytes of payload, which follow."""
    return STRUCTURED_REPLY.pack(STRUCTURED_REPLY_MAGIC, DONE, kind, cookie, length)


def data_chunk(cookie: int, offset: int, length: int) -> bytes:
    """The header of the answer to a READ; the data follow."""
    return chunk(cookie, ReplyType.OFFSET_DATA, 8 + length) + offset.to_bytes(8)


def error_chunk(cookie: int, error: int, message: str) -> bytes:
    """A whole structured reply that says what was wrong."""
    text = message.encode()[:STRING_BYTES_MAX]
    text = text.decode(errors="ignore").encode()  # cut between characters
    payload = error.to_bytes(4) + len(text).to_bytes(2) + text
    return chunk(cookie, ReplyType.ERROR, len(payload)) + payload


def status_chunk(cookie: int, extents: Iterable[Extent]) -> bytes:
    """A whole structured reply with the allocation of consecutive extents."""
    rows = b"".join(extent.length.to_bytes(4) + (HOLE | ZERO if extent.hole else 0).to_bytes(4) for extent in extents)
    return chunk(cookie, ReplyType.BLOCK_STATUS, 4 + len(rows)) + ALLOCATION_ID.to_bytes(4) + rows
