"""One client, from the greeting to the end."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from tidelog.gateways.nbd.channel import Channel, Gone
from tidelog.gateways.nbd.exports import Export, LiveExport
from tidelog.gateways.nbd.negotiation import Agreed, Exports, Negotiation
from tidelog.gateways.nbd.threads import Threads
from tidelog.gateways.nbd.transmission import Means, Transmission
from tidelog.gateways.nbd.wire import ProtocolError

# A client that has not chosen an export by then is left (seconds).
NEGOTIATION_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Shared:
    """What all connections of a server have in common. What makes live volumes wait takes no thread and no room of
    ``stored`` copies and clones, nor they of it; an export is opened and closed on threads (``opening``) of its own."""

    exports: Exports
    live: Means
    stored: Means
    opening: Threads
    tls: ssl.SSLContext | None
    say: Callable[[str], None]


class Connection:
    """Serves one client."""

    def __init__(self, channel: Channel, shared: Shared) -> None:
        self._channel, self._shared = channel, shared
        self._transmission: Transmission | None = None
        self._stopped = False

    @property
    def export(self) -> Export | None:
        """What the client has chosen."""
        return None if self._transmission is None else self._transmission.export

    @property
    def reserved(self) -> int:
        """Bytes that it holds beside the total."""
        return 0 if self._transmission is None else self._transmission.share.reserved

    async def run(self) -> None:
        """Until the client has left, or is left. What it did wrong is said, and ends nothing else."""
        try:
            agreed = await self._negotiated()
            if agreed is not None:
                await self._transmitted(agreed)
            await self._channel.close()
        except Gone as gone:
            if str(gone):
                self._shared.say(f"a client is gone: {gone}")
            else:  # it may be reading yet
                await self._channel.close()
        except ProtocolError as error:
            self._shared.say(f"a client is left, since it speaks no NBD: {error}")
        except Exception as error:  # the other clients are served on
            self._shared.say(f"unexpected {type(error).__name__} with a client, which is left: {error}")
        finally:
            self._channel.abort()

    def stop(self) -> None:
        """Ends it, after the commands that were taken."""
        self._stopped = True
        if self._transmission is None:
            self._channel.abort()
        else:
            self._transmission.stop()

    def abort(self) -> None:
        """Ends it at once, as far as the client is concerned."""
        self._channel.abort()

    async def _negotiated(self) -> Agreed | None:
        timer = asyncio.get_running_loop().call_later(NEGOTIATION_TIMEOUT, self._channel.abort)
        try:
            shared = self._shared
            return await Negotiation(self._channel, shared.exports, shared.opening, shared.tls, shared.say).run()
        finally:
            timer.cancel()

    async def _transmitted(self, agreed: Agreed) -> None:
        shared = self._shared
        means = shared.live if isinstance(agreed.export, LiveExport) else shared.stored
        try:
            if not self._stopped:
                self._transmission = Transmission(self._channel, agreed, means, shared.say)
                await self._transmission.run()
        finally:
            await shared.opening.run(agreed.export.close)
