"""What the data of a client's options say. Pure."""

from typing import NamedTuple

from tidelog.gateways.nbd.wire import ALLOCATION, STRING_BYTES_MAX


class InvalidOption(ValueError):
    """The data of an option are not what they must be: answered, and the connection goes on."""


class Chosen(NamedTuple):
    """Of INFO and GO: an export's name, and what is to be told of it."""

    name: str
    wanted: frozenset[int]


class Queried(NamedTuple):
    """Of LIST_META_CONTEXT and SET_META_CONTEXT: an export's name and queries."""

    name: str
    queries: list[str]


class _Fields:
    """Fields one after the other."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def take(self, count: int) -> bytes:
        if count > len(self._rest):
            raise InvalidOption("the data end too early")
        found, self._rest = self._rest[:count], self._rest[count:]
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def string(self) -> str:
        return as_text(self.take(self.number(4)))

    def end(self) -> None:
        if self._rest:
            raise InvalidOption(f"{len(self._rest)} bytes too many")


def as_text(data: bytes) -> str:
    """A string of the protocol. Raises `InvalidOption` for one that is too long, or no UTF-8 without NUL."""
    if len(data) > STRING_BYTES_MAX:
        raise InvalidOption(f"a string of {len(data)} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidOption("a string that is no UTF-8") from None
    if "\0" in text:
        raise InvalidOption("a string with a NUL in it")
    return text


def chosen(data: bytes) -> Chosen:
    """The data of INFO and GO. Raises `InvalidOption`."""
    fields = _Fields(data)
    name = fields.string()
    wanted = frozenset(fields.number(2) for _ in range(fields.number(2)))
    fields.end()
    return Chosen(name, wanted)


def queried(data: bytes) -> Queried:
    """The data of the two options about metadata contexts. Raises `InvalidOption`."""
    fields = _Fields(data)
    name = fields.string()
    count = fields.number(4)
    queries = []
    for _ in range(count):  # each takes four bytes at least, so the data end before a large count does
        queries.append(fields.string())
    fields.end()
    for query in queries:
        if ":" not in query:
            raise InvalidOption(f"the query {query!r} has no namespace")
    return Queried(name, queries)


def lists_allocation(queries: list[str]) -> bool:
    """Whether LIST_META_CONTEXT finds `ALLOCATION`: no query asks for all, ``base:`` for all that begins so."""
    return not queries or bool({ALLOCATION, "base:"} & set(queries))


def selects_allocation(queries: list[str]) -> bool:
    """Whether SET_META_CONTEXT selects it: by its full name alone."""
    return ALLOCATION in queries
