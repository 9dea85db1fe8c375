"""One client's connection as bytes that come and go, with or without TLS; nobody waits for a client for ever."""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from tidelog.gateways.nbd.watch import Watch, never

# What is read ahead of who asks for it, at most twice that; and what each connection has for the kernel to fill.
READ_AHEAD = 128 << 10
# What is handed to the kernel at once, without waiting until the client takes it.
AT_ONCE_BYTES_MAX = 256 << 10
# A handshake, and a client that takes the last answers, may last so long (seconds).
_PATIENCE = 10.0
IN_THE_MIDDLE = "in the middle of a message"


class Gone(Exception):
    """The client has left, or is left because it stands still; with a text if that is worth telling."""


class Channel(asyncio.BufferedProtocol):
    """Made by the event loop for each connection, of which it tells ``accepted``. Methods raise `Gone`. Who takes is
    told where the bytes come in: a command costs one turn of the loop, which streams would make three."""

    def __init__(self, accepted: "Callable[[Channel], None]") -> None:
        self._accepted = accepted
        self._into = memoryview(bytearray(READ_AHEAD))
        self._came = bytearray()
        self._wanted = 0  # how many bytes who takes is waiting for
        self._listener: Callable[[], None] | None = None
        self._listening = False  # the listener is being called
        self._paused = self._ended = False
        self._transport: asyncio.Transport
        self._plain: asyncio.Transport | None = None  # under TLS
        self._writable, self._lost = asyncio.Event(), asyncio.Event()
        self._writable.set()
        self._sending = asyncio.Lock()
        self._gathered: list[bytes] = []  # what `send_now` was given since the loop last turned
        self._gathered_bytes = 0

    @property
    def encrypted(self) -> bool:
        """Whether all that goes and comes is, from the handshake on."""
        return self._plain is not None

    # ---- what comes

    @property
    def untaken(self) -> int:
        """How many bytes have come and are not taken."""
        return len(self._came)

    def lacks(self, count: int) -> bool:
        """Whether so many bytes have not come, and never will."""
        return self._ended and len(self._came) < count

    def take(self, count: int) -> bytes | None:
        """Exactly so many bytes, or None while not all of them have come; what listens is told when more have."""
        came = self._came
        if len(came) < count:
            if self._ended:
                raise Gone(IN_THE_MIDDLE if came else "")
            self._wanted = count
            self._pace()
            return None
        with memoryview(came) as view:
            taken = bytes(view[:count])
        del came[:count]
        self._wanted = 0
        if self._paused:
            self._pace()
        return taken

    async def read(self, count: int) -> bytes:
        """Exactly so many bytes, whenever they come."""
        more = asyncio.Event()
        self.listen(more.set)
        try:
            while (taken := self.take(count)) is None:
                await more.wait()
                more.clear()
        finally:
            self.listen(None)
        return taken

    def forget(self) -> None:
        """What has come, and is not taken, and that more was wanted."""
        self._came.clear()
        self._wanted = 0
        self._pace()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Who is told whenever more bytes have come, or none will any more; it raises nothing."""
        self._listener = listener

    def _tell(self) -> None:
        if self._listener is not None:
            self._listening = True
            try:
                self._listener()
            finally:
                self._listening = False
                self._send_gathered()

    def _pace(self) -> None:
        """Reads on, or not."""
        if self._transport is self._plain:  # in the middle of the handshake: what comes is TLS's
            return
        enough = len(self._came) >= max(self._wanted, READ_AHEAD)
        if enough is not self._paused:
            self._paused = enough
            (self._transport.pause_reading if enough else self._transport.resume_reading)()

    # ---- what goes

    async def send(self, *parts: bytes, pressed: Callable[[], bool] = never) -> None:
        """Sends the parts in one go, one caller after the other, and waits while the client is behind, which has to
        keep taking. See `Watch`."""
        async with self._sending:
            self._write(parts)
            if self._writable.is_set():
                return
            with Watch(lambda: -self._unsent, pressed, self.abort) as watch:
                await self._writable.wait()
            if watch.over is not None:
                raise Gone(f"it took nothing to speak of for {watch.over:g} s")
            if self._lost.is_set():
                raise Gone

    def send_now(self, *parts: bytes) -> bool:
        """The same if nothing is on its way to the client, and it is not much; False, and nothing is sent, if it is, or
        nobody is there. All that is sent so in one turn of the loop goes out at its end, together: the answers to what
        came together."""
        gathered = self._gathered_bytes + sum(map(len, parts))
        if gathered > AT_ONCE_BYTES_MAX or self._sending.locked() or self._unsent or self._closing:
            return False
        self._gathered_bytes = gathered
        if not self._gathered and not self._listening:
            asyncio.get_running_loop().call_soon(self._send_gathered)
        self._gathered += parts
        return True

    def _send_gathered(self) -> None:
        if self._gathered and not self._closing:
            self._write(())

    @property
    def _closing(self) -> bool:
        """Whether nothing can be sent any more; TLS itself notices late that its connection is lost."""
        return self._transport.is_closing() or (self._plain is not None and self._plain.is_closing())

    @property
    def _unsent(self) -> int:
        """Bytes that wait for the client; of TLS both those to be encrypted and those that are."""
        plain = 0 if self._plain is None else self._plain.get_write_buffer_size()
        return plain + self._transport.get_write_buffer_size()

    def _write(self, parts: tuple[bytes, ...]) -> None:
        if self._closing:  # asyncio would complain of each answer
            raise Gone
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        parts = (*gathered, *parts)
        self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    # ---- TLS, and the end

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """From here on all is encrypted. What came before the handshake, and is not taken, is forgotten: whoever sends
        in plain text what would be read as encrypted is no client."""
        self.forget()
        self._plain = self._transport
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._plain, self, context, server_side=True, ssl_handshake_timeout=_PATIENCE
            )
        except OSError as error:
            raise Gone(f"no TLS: {error}") from None
        if transport is None:
            raise Gone("in the middle of the TLS handshake")
        self._transport = transport
        self._pace()

    async def close(self) -> None:
        """Sends what is on its way, and ends."""
        self._send_gathered()
        self._transport.close()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._lost.wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Ends at once."""
        self._transport.abort()

    # ---- asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        self._accepted(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """See `asyncio.BufferedProtocol`."""
        return self._into

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._came += self._into[:nbytes]
        self._tell()
        self._pace()

    def eof_received(self) -> bool:
        """See `asyncio.BufferedProtocol`. What has come is answered yet; TLS cannot."""
        self._ended = True
        self._tell()
        return not self.encrypted

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """See `asyncio.BaseProtocol`."""
        self._ended = True
        self._lost.set()
        self._writable.set()
        self._tell()
