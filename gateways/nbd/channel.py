"""One client's connection as bytes that come and go, with or without TLS; nobody waits for a client for ever."""

import asyncio
import ssl

# What is read ahead of who asks for it, at most twice that.
READ_AHEAD = 128 << 10
# A client that takes none of what it has asked for, or does not send what it has announced, is left (seconds).
STALL_TIMEOUT = 60.0
_HANDSHAKE_TIMEOUT = 10.0


class Gone(Exception):
    """The client has left, or is left because it stands still; with a text if that is worth telling."""


class Channel:
    """Made by `channel_of` for each connection. Methods raise `Gone`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._plain: asyncio.StreamWriter | None = None  # under TLS; kept, since a writer that is freed closes
        self._sending = asyncio.Lock()
        self.encrypted = False

    async def read(self, count: int, within: float | None = None) -> bytes:
        """Exactly so many bytes; ``within`` so many seconds, or whenever they come."""
        try:
            if within is None:
                return await self._reader.readexactly(count)
            async with asyncio.timeout(within):
                return await self._reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            raise Gone("in the middle of a message" if error.partial or within else "") from None
        except TimeoutError:
            self.abort()
            raise Gone(f"what it had announced did not come within {within:g} s") from None
        except OSError:
            raise Gone from None

    async def send(self, *parts: bytes) -> None:
        """Sends the parts in one go, one caller after the other, and waits while the client is behind."""
        try:
            async with self._sending, asyncio.timeout(STALL_TIMEOUT):
                self._writer.write(parts[0] if len(parts) == 1 else b"".join(parts))
                await self._writer.drain()
        except TimeoutError:
            self.abort()
            raise Gone(f"it took nothing for {STALL_TIMEOUT:g} s") from None
        except OSError:
            raise Gone from None

    def send_now(self, *parts: bytes) -> bool:
        """The same if nothing is on its way to the client; False, and nothing is sent, if it is behind."""
        if self._sending.locked() or self._writer.transport.get_write_buffer_size():
            return False
        self._writer.write(parts[0] if len(parts) == 1 else b"".join(parts))
        return True

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
        self._writer.close()
        try:
            async with asyncio.timeout(_HANDSHAKE_TIMEOUT):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.abort()

    def abort(self) -> None:
        """Ends at once."""
        self._writer.transport.abort()
