"""An NBD client by hand, which can also say what no client says: one request after the other, or many at once."""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

MAGIC, OPTION_MAGIC, REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED, LIST_CONTEXTS, SET_CONTEXTS = 1, 2, 3, 5, 6, 7, 8, 9, 10
ACK, SERVER, INFO_REPLY, CONTEXT = 1, 2, 3, 4
UNSUP, POLICY, INVALID, TLS_REQD, UNKNOWN, SHUTDOWN = ((1 << 31) + number for number in (1, 2, 3, 5, 6, 7))
READ, WRITE, DISC, FLUSH, TRIM, ZEROES, STATUS = 0, 1, 2, 3, 4, 6, 7
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW, ESHUTDOWN = 1, 5, 22, 28, 75, 108


class Answer(NamedTuple):
    """A reply to a command: whose, the error (0: none), the data or the payload of a chunk, and the chunk's type (None
    of a simple reply)."""

    cookie: int
    error: int
    data: bytes
    kind: int | None

    @property
    def extents(self) -> list[tuple[int, int]]:
        """Length and flags of each, of a block status."""
        assert self.kind == 5 and self.data[:4] == b"\0\0\0\1"
        return list(struct.iter_unpack(">II", self.data[4:]))  # type: ignore[arg-type]


class Client:
    """A connection to the server that a URI names. ``flags`` are the client's in the greeting."""

    def __init__(self, uri: str, flags: int = 3, timeout: float = 60.0) -> None:
        parts = urlsplit(uri)
        self.name = unquote(parts.path[1:])
        if "unix" in parts.scheme:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(parse_qs(parts.query)["socket"][0])
        else:
            self.socket = socket.create_connection((parts.hostname, parts.port), timeout)
        self.greeting = self.receive(18)
        assert self.greeting == MAGIC + OPTION_MAGIC + b"\0\3"
        self.structured = False
        self.size = self.flags = 0
        self._cookie = 0
        self._sent: dict[int, tuple[int, int]] = {}  # cookie -> command, length
        self.socket.sendall(flags.to_bytes(4))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def receive(self, count: int) -> bytes:
        """Exactly so many bytes. Raises `ConnectionError` if the server leaves before."""
        found = bytearray()
        while len(found) < count:
            part = self.socket.recv(min(count - len(found), 1 << 20))
            if not part:
                raise ConnectionError(f"the server has left, {len(found)} of {count} bytes came")
            found += part
        return bytes(found)

    def left(self) -> bool:
        """Whether the server leaves, without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    # ---- negotiation

    def send_option(self, option: int, data: bytes = b"") -> None:
        self.socket.sendall(OPTION_MAGIC + struct.pack(">II", option, len(data)) + data)

    def option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Every reply to an option, up to the final one: its type and data."""
        self.send_option(option, data)
        found = []
        while not found or found[-1][0] in (SERVER, INFO_REPLY, CONTEXT):
            magic, of, kind, length = struct.unpack(">QIII", self.receive(20))
            assert (magic, of) == (REPLY_MAGIC, option)
            found.append((kind, self.receive(length)))
        return found

    def go(self, name: str | None = None, *, structured: bool = True, contexts: bool = True) -> Self:
        """Chooses an export, by default the URI's. Raises `LookupError` if there is none, with what the server says."""
        name = self.name if name is None else name
        if structured:
            assert self.option(STRUCTURED) == [(ACK, b"")]
            self.structured = True
            if contexts:
                assert self.option(SET_CONTEXTS, contexts_data(name, "base:allocation"))[-1] == (ACK, b"")
        replies = self.option(GO, chosen_data(name))
        if replies[-1][0] != ACK:
            raise LookupError(replies[-1])
        (info,) = (data for kind, data in replies if kind == INFO_REPLY and data[:2] == b"\0\0")
        self.size, self.flags = struct.unpack(">QH", info[2:])
        return self

    # ---- transmission

    def request(
        self, command: int, offset: int = 0, length: int = 0, data: bytes = b"", flags: int = 0, magic: int = 0x25609513
    ) -> int:
        """Sends a request and does not wait; its cookie."""
        self._cookie += 1
        self._sent[self._cookie] = (command, length)
        header = struct.pack(">IHHQQI", magic, flags, command, self._cookie, offset, length)
        self.socket.sendall(header + data)
        return self._cookie

    def answer(self) -> Answer:
        """The next reply, whosever it is."""
        (magic,) = struct.unpack(">I", self.receive(4))
        if magic == 0x67446698:
            error, cookie = struct.unpack(">IQ", self.receive(12))
            command, length = self._sent.pop(cookie)
            assert command != READ or not self.structured
            return Answer(cookie, error, self.receive(length) if command == READ and not error else b"", None)
        assert magic == 0x668E33EF and self.structured
        flags, kind, cookie, length = struct.unpack(">HHQI", self.receive(16))
        payload = self.receive(length)
        assert flags == 1
        _, wanted = self._sent.pop(cookie)
        if kind & 1 << 15:
            error, told = struct.unpack(">IH", payload[:6])
            return Answer(cookie, error, payload[6 : 6 + told], kind)
        if kind == 1:
            assert len(payload) == 8 + wanted
            payload = payload[8:]
        return Answer(cookie, 0, payload, kind)

    def answers(self, count: int) -> Iterator[Answer]:
        for _ in range(count):
            yield self.answer()

    def call(self, command: int, offset: int = 0, length: int = 0, data: bytes = b"", flags: int = 0) -> Answer:
        """One request and its reply."""
        cookie = self.request(command, offset, length, data, flags)
        answer = self.answer()
        assert answer.cookie == cookie
        return answer

    def read(self, offset: int, length: int, flags: int = 0) -> bytes:
        return self._good(self.call(READ, offset, length, flags=flags)).data

    def write(self, offset: int, data: bytes, flags: int = 0) -> None:
        self._good(self.call(WRITE, offset, len(data), data, flags))

    def zero(self, offset: int, length: int, command: int = ZEROES, flags: int = 0) -> None:
        self._good(self.call(command, offset, length, flags=flags))

    def trim(self, offset: int, length: int, flags: int = 0) -> None:
        self.zero(offset, length, TRIM, flags)

    def flush(self) -> None:
        self._good(self.call(FLUSH))

    def status(self, offset: int, length: int, flags: int = 0) -> list[tuple[int, int]]:
        return self._good(self.call(STATUS, offset, length, flags=flags)).extents

    @staticmethod
    def _good(answer: Answer) -> Answer:
        if answer.error:
            raise OSError(answer.error, answer.data.decode())
        return answer


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return len(data).to_bytes(4) + data


def chosen_data(name: str, *infos: int) -> bytes:
    """The data of INFO and GO."""
    return string(name) + len(infos).to_bytes(2) + b"".join(info.to_bytes(2) for info in infos)


def contexts_data(name: str, *queries: str) -> bytes:
    """The data of LIST_META_CONTEXT and SET_META_CONTEXT."""
    return string(name) + len(queries).to_bytes(4) + b"".join(map(string, queries))
