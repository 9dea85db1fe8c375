"""An NBD server on a thread of this process: what the fixture `tidelog_nbd` gives, usable without pytest too."""

import asyncio
import ssl
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tidelog.consumers.deployment import Deployment
from tidelog.errors import TidelogError
from tidelog.gateways.nbd.address import Address, Listening, UnixAddress
from tidelog.gateways.nbd.catalogue import Catalogue
from tidelog.gateways.nbd.server import CONNECTIONS_MAX, TOTAL_BYTES_MAX, NbdServer
from tidelog.gateways.nbd.writer import Writer
from tidelog.producers.group import Group
from tidelog.testing.servers import ServerError

_ENDS_WITHIN_S = 60.0


class RunningNbd:
    """Serves a group's exports at a site for as long as the context lasts, by default on a unix socket in a folder of
    its own. With ``group``, which stays open, live volumes are written to by its session; without, copies and clones
    are all there is. ``say`` is told what the server says."""

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        site: str,
        group: Group | Writer | None = None,
        *,
        address: Address | None = None,
        tls: ssl.SSLContext | None = None,
        read_only: bool = False,
        connections_max: int = CONNECTIONS_MAX,
        total_bytes: int = TOTAL_BYTES_MAX,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tidelog-nbd-")
        writer = Writer(group) if isinstance(group, Group) else group
        self.group, self.site = name, site
        self._catalogue = Catalogue(deployment, name, site, writer, read_only=read_only)
        self.address = address or UnixAddress(Path(self._folder.name) / "nbd.sock")
        self.error: TidelogError | None = None  # what has ended the server before its time
        self._connections_max, self._total_bytes = connections_max, total_bytes
        self._tls, self._say = tls, say
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: NbdServer | None = None
        self._thread: threading.Thread | None = None
        self._listening: Listening | None = None

    def uri(self, export: str) -> str:
        """How a client names an export: ``ledger``, ``ledger@nightly``, ``ledger@clone:drill``."""
        return self.address.uri(export, tls=self._tls is not None)

    @property
    def running(self) -> bool:
        """Whether it still serves."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def in_flight(self) -> int:
        """Bytes that its connections hold."""
        return 0 if self._server is None else self._server.in_flight

    def start(self) -> None:
        """Returns when clients can connect. Raises `UsageError` for an address that cannot be, what has ended the
        server, or `ServerError` if it does not answer; then nothing of it is left."""
        with ExitStack() as failing:
            failing.callback(self.close)
            self._start()
            failing.pop_all()

    def _start(self) -> None:
        listening = self.address.listen()
        self.address, self._listening = listening.address, listening
        ready = threading.Event()

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._server = NbdServer(
                self._catalogue,
                listening,
                tls=self._tls,
                say=self._say,
                connections_max=self._connections_max,
                total_bytes=self._total_bytes,
            )
            ready.set()
            await self._server.run()

        def run() -> None:
            try:
                asyncio.run(serve())
            except TidelogError as error:
                self.error = error
            finally:
                ready.set()

        self._thread = threading.Thread(target=run, name="tidelog-nbd", daemon=True)
        self._thread.start()
        if not ready.wait(_ENDS_WITHIN_S) or not self._thread.is_alive():
            raise self.error or ServerError(f"the NBD server did not start within {_ENDS_WITHIN_S:.0f} s")

    def close(self) -> None:
        """Ends the server in order: what was taken is carried out. Raises `ServerError` if it does not end; the rest of
        it is let go of all the same."""
        with ExitStack() as ending:
            ending.callback(self._folder.cleanup)
            if self._listening is not None:
                ending.callback(self._listening.close)
            ending.callback(self._catalogue.close)
            ending.callback(self._end)

    def _end(self) -> None:
        if self._thread is None:
            return
        if self._loop is not None and self._server is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.stop)
        self._thread.join(_ENDS_WITHIN_S)
        if self._thread.is_alive():
            raise ServerError(f"the NBD server did not end within {_ENDS_WITHIN_S:.0f} s")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
