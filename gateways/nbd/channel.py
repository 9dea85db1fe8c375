"""One client's connection as bytes that come and go, with or without TLS; nobody waits for a client for ever."""

import asyncio
import ssl
from collections.abc import Callable

from tidelog.gateways.nbd.watch import Watch, never

# What is read ahead of who asks for it, at most twice that.
READ_AHEAD = 128 << 10
_HANDSHAKE_TIMEOUT = 10.0
_IN_THE_MIDDLE = "in the middle of a message"


class Gone(Exception):
    """The client has left, or is left because it stands still; with a text if that is worth telling."""


class Channel:
    """Made by `channel_of` for each connection. Methods raise `Gone`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._plain: asyncio.StreamWriter | None = None  # under TLS; kept, since a writer that is freed closes
        self._sending = asyncio.Lock()
        self._gathered: list[bytes] = []  # what `send_now` was given since the loop last turned
        self.encrypted = False

    async def read(self, count: int) -> bytes:
        """Exactly so many bytes, whenever they come."""
        try:
            return await self._reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            raise Gone(_IN_THE_MIDDLE if error.partial else "") from None
        except OSError:
            raise Gone from None

    async def payload(self, count: int, pressed: Callable[[], bool]) -> bytes:
        """Exactly so many bytes, which were announced: they have to keep coming. See `Watch`."""
        parts: list[bytes] = []
        came = 0
        with Watch(lambda: came, pressed, self.abort) as watch:
            while came < count:
                try:
                    part = await self._reader.read(count - came)
                except OSError:
                    part = b""
                if not part:
                    why = f"nothing to speak of came for {watch.over:g} s" if watch.over else _IN_THE_MIDDLE
                    raise Gone(why)
                parts.append(part)
                came += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def send(self, *parts: bytes, pressed: Callable[[], bool] = never) -> None:
        """Sends the parts in one go, one caller after the other, and waits while the client is behind, which has to
        keep taking. See `Watch`."""
        async with self._sending:
            self._write(parts)
            with Watch(lambda: -self._unsent, pressed, self.abort) as watch:
                try:
                    await self._writer.drain()
                except OSError:
                    if watch.over is None:
                        raise Gone from None
            if watch.over is not None:
                raise Gone(f"it took nothing to speak of for {watch.over:g} s")

    def send_now(self, *parts: bytes) -> bool:
        """The same if nothing is on its way to the client; False, and nothing is sent, if it is behind, or gone. All
        that is sent so in one turn of the loop goes out at its end, together: the answers to what came together."""
        if self._sending.locked() or self._unsent or self._writer.transport.is_closing():
            return False
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._send_gathered)
        self._gathered += parts
        return True

    def _send_gathered(self) -> None:
        if self._gathered and not self._writer.transport.is_closing():
            self._write(())

    @property
    def _unsent(self) -> int:
        """Bytes that wait for the client; of TLS both those to be encrypted and those that are."""
        writers = (self._writer,) if self._plain is None else (self._writer, self._plain)
        return sum(writer.transport.get_write_buffer_size() for writer in writers)

    def _write(self, parts: tuple[bytes, ...]) -> None:
        if self._writer.transport.is_closing():  # asyncio would complain of each answer
            raise Gone
        gathered, self._gathered = self._gathered, []
        parts = (*gathered, *parts)
        self._writer.write(parts[0] if len(parts) == 1 else b"".join(parts))

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """From here on all is encrypted. What came before the handshake, and is not read, is forgotten: whoever sends
        in plain text what would be read as encrypted is no client."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_AHEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport = await loop.start_tls(
                self._writer.transport, protocol, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_TIMEOUT
            )
        except OSError as error:
            raise Gone(f"no TLS: {error}") from None
        if transport is None:
            raise Gone("in the middle of the TLS handshake")
        protocol.connection_made(transport)
        self._plain = self._writer
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        self.encrypted = True

    async def close(self) -> None:
        """Sends what is on its way, and ends."""
        self._send_gathered()
        self._writer.close()
        try:
            async with asyncio.timeout(_HANDSHAKE_TIMEOUT):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.abort()

    def abort(self) -> None:
        """Ends at once."""
        self._writer.transport.abort()
