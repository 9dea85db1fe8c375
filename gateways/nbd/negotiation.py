"""The first phase of a connection: fixed newstyle negotiation, until an export is chosen.

With TLS configured it is required (the protocol's FORCEDTLS): before it, nothing else is answered.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from tidelog.errors import NotFound, TidelogError
from tidelog.gateways.nbd.catalogue import Listed
from tidelog.gateways.nbd.channel import Channel
from tidelog.gateways.nbd.commands import Terms
from tidelog.gateways.nbd.exports import Export
from tidelog.gateways.nbd.options import (
    InvalidOption,
    as_text,
    chosen,
    lists_allocation,
    queried,
    selects_allocation,
)
from tidelog.gateways.nbd.threads import Threads
from tidelog.gateways.nbd.wire import (
    ALLOCATION,
    ALLOCATION_ID,
    CLIENT_FLAGS,
    GREETING,
    GREETING_MAGIC,
    OLD_EXPORT,
    OLD_PADDING,
    OPTION,
    OPTION_MAGIC,
    PREFERRED_BLOCK,
    ExportFlag,
    HandshakeFlag,
    Info,
    Option,
    OptionReply,
    ProtocolError,
    block_size_info,
    export_info,
    listed,
    option_reply,
    text_info,
)

# The data of no option that anybody sends are longer.
OPTION_BYTES_MAX = 64 << 10
_KNOWN_FLAGS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES


class Exports(Protocol):
    """What can be chosen from. Every method may wait for servers."""

    def listed(self) -> list[Listed]:
        """Each export that is there now."""

    def open(self, name: str) -> Export:
        """One of them. Raises `TidelogError`."""

    def describe(self, name: str) -> str:
        """A line about it."""


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a negotiation has come to. Whoever has it closes the export."""

    export: Export
    terms: Terms


class Negotiation:
    """One client's. It is not to be cancelled, as an export may be being opened: end the channel instead."""

    def __init__(
        self,
        channel: Channel,
        exports: Exports,
        threads: Threads,
        tls: ssl.SSLContext | None,
        say: Callable[[str], None],
    ) -> None:
        self._channel, self._exports, self._threads, self._tls, self._say = channel, exports, threads, tls, say
        self._no_zeroes = False
        self._structured = False
        self._allocation_of: str | None = None  # the export that the context was selected for
        self._answers: dict[int, Callable[[bytes], Awaitable[None]]] = {
            Option.LIST: self._list,
            Option.INFO: self._describe,
            Option.STRUCTURED_REPLY: self._structured_reply,
            Option.LIST_META_CONTEXT: self._list_contexts,
            Option.SET_META_CONTEXT: self._set_contexts,
        }

    async def run(self) -> Agreed | None:
        """What was agreed on; None if the client has left, or is to be. Raises `Gone`, `ProtocolError`."""
        await self._greet()
        while True:
            magic, option, length = OPTION.unpack(await self._channel.read(OPTION.size))
            if magic != OPTION_MAGIC:
                raise ProtocolError(f"an option begins with {magic:#x}")
            if length > OPTION_BYTES_MAX:
                raise ProtocolError(f"option {option} has {length} bytes of data")
            data = await self._channel.read(length) if length else b""
            if option == Option.EXPORT_NAME:
                return await self._export_name(data)
            if option == Option.ABORT:
                await self._reply(option, OptionReply.ACK)
                return None
            try:
                agreed = await self._answer(option, data)
            except InvalidOption as error:
                await self._reply(option, OptionReply.ERR_INVALID, str(error).encode())
                continue
            if agreed is not None:
                return agreed

    async def _greet(self) -> None:
        await self._channel.send(GREETING.pack(GREETING_MAGIC, OPTION_MAGIC, _KNOWN_FLAGS))
        (flags,) = CLIENT_FLAGS.unpack(await self._channel.read(CLIENT_FLAGS.size))
        if flags & ~_KNOWN_FLAGS:
            raise ProtocolError(f"flags {flags:#x} in the greeting")
        if self._tls is not None and not flags & HandshakeFlag.FIXED_NEWSTYLE:
            raise ProtocolError("the client cannot be asked for TLS")
        self._no_zeroes = bool(flags & HandshakeFlag.NO_ZEROES)

    async def _answer(self, option: int, data: bytes) -> Agreed | None:
        if option == Option.STARTTLS:
            await self._start_tls(data)
            return None
        if self._wants_tls:
            await self._reply(option, OptionReply.ERR_TLS_REQD, b"this server is spoken to over TLS alone")
            return None
        if option == Option.GO:
            return await self._go(data)
        answer = self._answers.get(option)
        if answer is None:
            await self._reply(option, OptionReply.ERR_UNSUP)
        else:
            await answer(data)
        return None

    @property
    def _wants_tls(self) -> bool:
        return self._tls is not None and not self._channel.encrypted

    async def _export_name(self, data: bytes) -> Agreed | None:
        """The old way to choose: it cannot be answered with an error. One is said here alone, and ends it."""
        if self._wants_tls:
            raise ProtocolError("an export was chosen before TLS")
        try:
            name = as_text(data)
        except InvalidOption as error:
            raise ProtocolError(str(error)) from None
        try:
            export = await self._threads.run(self._exports.open, name)
        except TidelogError as error:
            self._say_refused(name, error)
            return None
        padding = b"" if self._no_zeroes else OLD_PADDING
        async with self._closed_unless_agreed(export):
            await self._channel.send(OLD_EXPORT.pack(export.info.size, self._flags(export)) + padding)
        return Agreed(export, self._terms(name, export))

    @asynccontextmanager
    async def _closed_unless_agreed(self, export: Export) -> AsyncIterator[None]:
        """While the client is told of it: one that has left meanwhile keeps nothing open."""
        try:
            yield
        except BaseException:
            await self._threads.run(export.close)
            raise

    async def _start_tls(self, data: bytes) -> None:
        _require_none(data)
        if self._tls is None:
            await self._reply(Option.STARTTLS, OptionReply.ERR_POLICY, b"this server has no certificate")
            return
        if self._channel.encrypted:
            raise InvalidOption("TLS has begun")
        await self._reply(Option.STARTTLS, OptionReply.ACK)
        await self._channel.start_tls(self._tls)
        self._structured, self._allocation_of = False, None  # what was said before, anybody may have said

    async def _list(self, data: bytes) -> None:
        _require_none(data)
        try:
            found = await self._threads.run(self._exports.listed)
        except TidelogError as error:
            await self._refuse(Option.LIST, "the list of exports", error)
            return
        for one in found:
            await self._reply(Option.LIST, OptionReply.SERVER, listed(*one))
        await self._reply(Option.LIST, OptionReply.ACK)

    async def _describe(self, data: bytes) -> None:
        agreed = await self._inform(Option.INFO, data)
        if agreed is not None:
            await self._threads.run(agreed.export.close)

    async def _go(self, data: bytes) -> Agreed | None:
        return await self._inform(Option.GO, data)

    async def _inform(self, option: Option, data: bytes) -> Agreed | None:
        """Tells of an export; it is open then, unless None is given back."""
        name, wanted = chosen(data)
        try:
            export = await self._threads.run(self._exports.open, name)
        except TidelogError as error:
            await self._refuse(option, name, error)
            return None
        infos = [export_info(export.info.size, self._flags(export))]
        if Info.NAME in wanted:
            infos.append(text_info(Info.NAME, name))
        if Info.DESCRIPTION in wanted:
            infos.append(text_info(Info.DESCRIPTION, self._exports.describe(name)))
        if Info.BLOCK_SIZE in wanted:
            infos.append(block_size_info(max(PREFERRED_BLOCK, export.info.block_size)))
        async with self._closed_unless_agreed(export):
            for info in infos:
                await self._reply(option, OptionReply.INFO, info)
            await self._reply(option, OptionReply.ACK)
        return Agreed(export, self._terms(name, export))

    async def _structured_reply(self, data: bytes) -> None:
        _require_none(data)
        self._structured = True
        await self._reply(Option.STRUCTURED_REPLY, OptionReply.ACK)

    async def _list_contexts(self, data: bytes) -> None:
        await self._contexts(Option.LIST_META_CONTEXT, data, lists_allocation, 0)

    async def _set_contexts(self, data: bytes) -> None:
        self._allocation_of = None  # also if this fails
        name = await self._contexts(Option.SET_META_CONTEXT, data, selects_allocation, ALLOCATION_ID)
        self._allocation_of = name

    async def _contexts(
        self, option: Option, data: bytes, has_it: Callable[[list[str]], bool], number: int
    ) -> str | None:
        """The export's name, if the one context that there is was found."""
        name, queries = queried(data)
        if not self._structured:
            raise InvalidOption("structured replies must be agreed on first")
        found = has_it(queries)
        if found:
            await self._reply(option, OptionReply.META_CONTEXT, number.to_bytes(4) + ALLOCATION.encode())
        await self._reply(option, OptionReply.ACK)
        return name if found else None

    def _flags(self, export: Export) -> int:
        flags = ExportFlag.HAS_FLAGS | ExportFlag.CAN_MULTI_CONN
        if self._structured:
            flags |= ExportFlag.SEND_DF
        if export.read_only:
            return flags | ExportFlag.READ_ONLY
        flags |= ExportFlag.SEND_FLUSH | ExportFlag.SEND_FUA | ExportFlag.SEND_TRIM
        return flags | ExportFlag.SEND_WRITE_ZEROES | ExportFlag.SEND_FAST_ZERO

    def _terms(self, name: str, export: Export) -> Terms:
        return Terms(export.info.size, export.read_only, self._structured, self._allocation_of == name)

    async def _refuse(self, option: Option, what: str, error: TidelogError) -> None:
        """Most clients show the kind alone, and no text: only of what is not there it may be that there is no such
        export. Of the other kinds this is the one after which a client may come again."""
        kind = OptionReply.ERR_UNKNOWN if isinstance(error, NotFound) else OptionReply.ERR_SHUTDOWN
        if kind == OptionReply.ERR_SHUTDOWN:
            self._say_refused(what, error)
        await self._reply(option, kind, _why(error).encode())

    def _say_refused(self, what: str, error: TidelogError) -> None:
        self._say(f"a client is refused {what or 'an export without a name'}: {_why(error)}")

    async def _reply(self, option: int, reply: OptionReply, data: bytes = b"") -> None:
        await self._channel.send(option_reply(option, reply, data))


def _why(error: TidelogError) -> str:
    return f"{error} ({error.hint})" if error.hint else str(error)


def _require_none(data: bytes) -> None:
    if data:
        raise InvalidOption("this option has no data")
