"""A network that tests can cut, heal and slow down: a proxy on loopback in front of each server.

A `Link` stands for the cable between clients and one server. Cut, it behaves as a network that loses packets: no
connection ends, none hears anything more, and what was on its way arrives when it is healed.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from tidelog.testing.ports import available_port
from tidelog.testing.servers import ServerError

HOST = "127.0.0.1"
# What may be under way in each direction of a connection, as in a kernel's buffers: chunks of at most so many bytes.
CHUNK_BYTES, CHUNKS_MAX = 64 * 1024, 64
CALL_TIMEOUT_S = 10.0
_Result = TypeVar("_Result")


@dataclass(eq=False)
class _State:
    """Touched in the loop's thread only."""

    passes: asyncio.Event = field(default_factory=asyncio.Event)
    delay_s: float = 0.0
    target: tuple[str, int] | None = None
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)


class Link:
    """A proxy at `address` that passes all on to a server; whole and without delay at first. Thread-safe."""

    def __init__(self, network: "Network", name: str, port: int) -> None:
        self.name, self.port = name, port
        self._network, self._state = network, _State()
        self._state.passes.set()
        self._is_cut = False

    @property
    def address(self) -> str:
        """ "host:port" for clients."""
        return f"{HOST}:{self.port}"

    @property
    def is_cut(self) -> bool:
        """From `cut` to `heal`."""
        return self._is_cut

    def lead_to(self, port: int) -> None:
        """New connections go to that port of this machine. Until this is called they are closed at once."""
        self._network.call(lambda: setattr(self._state, "target", (HOST, port)))

    def cut(self) -> None:
        """Nothing passes any more, in either direction. Connections stay open; new ones are made and hear nothing."""
        self._is_cut = True
        self._network.call(self._state.passes.clear)

    def heal(self) -> None:
        """Everything passes, without delay; what was under way first."""
        self._is_cut = False
        self._network.call(self._heal)

    def delay(self, seconds: float) -> None:
        """Everything arrives so much later, in each direction: a round trip takes twice as long."""
        if seconds < 0:
            raise ValueError(f"a delay of {seconds:g} s")
        self._network.call(lambda: setattr(self._state, "delay_s", seconds))

    def _heal(self) -> None:
        self._state.delay_s = 0.0
        self._state.passes.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state = self._state
        task = asyncio.current_task()
        assert task is not None
        state.tasks.add(task)
        try:
            if state.target is None:
                return
            try:
                there, back = await asyncio.open_connection(*state.target)
            except OSError:
                return  # the server is down, which its clients see as they would without this
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pass_on(state, reader, back))
                    group.create_task(_pass_on(state, there, writer))
            except* OSError:
                pass  # one end has gone: so has the other now
            finally:
                back.close()
        finally:
            writer.close()
            state.tasks.discard(task)


async def _pass_on(state: _State, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction of one connection, its end included."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_MAX)

    async def deliver() -> None:
        while True:
            sent_at, data = await under_way.get()
            while (left := sent_at + state.delay_s - loop.time()) > 0:
                await asyncio.sleep(left)
            await state.passes.wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(deliver())
        while True:
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                data = b""  # reset: the other end hears of it when it hears anything
            await under_way.put((loop.time(), data))
            if not data:
                return


class Network:
    """Links on one thread of this process; ends them when closed."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tidelog-network", daemon=True)
        self._thread.start()

    def link(self, name: str) -> Link:
        """A new link of that name, listening, that leads nowhere yet."""
        if name in self.links:
            raise ServerError(f"there is a link {name} already")
        link = Link(self, name, available_port())
        self._servers.append(self._run(self._listen(link)))
        self.links[name] = link
        return link

    def heal(self) -> None:
        """All links, as `Link.heal`."""
        for link in self.links.values():
            link.heal()

    def call(self, change: Callable[[], object]) -> None:
        """Does it in the loop's thread; returns when it is done."""

        async def changed() -> None:
            change()

        self._run(changed())

    def close(self) -> None:
        """Ends all links, their connections too."""
        if self._thread.is_alive():
            self._run(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_TIMEOUT_S)
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _listen(self, link: Link) -> asyncio.Server:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, link.port))
        return await asyncio.start_server(link._serve, sock=listener)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for link in self.links.values() for task in link._state.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, coroutine: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_TIMEOUT_S)
